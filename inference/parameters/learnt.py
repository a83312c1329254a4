"""The parameters of a model, as the optimizer moves them and as the model uses them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro.nn import PyroModule
from torch import Tensor
from torch.distributions import transform_to
from torch.distributions.transforms import Transform

from pyro_vae.errors import InputError
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import Program
from pyro_vae.program.parameters import named_parameters, registered
from pyro_vae.program.site_layout import labels

MOST = 2_000  # numbers: their information is a matrix, inverted in one piece
SUFFIX = "_unconstrained"
MODEL = "model."  # before the names of a pair (model, guide)


@dataclass(frozen=True)
class Learnt:
    """Hold one parameter.

    Attributes:
        name: as the user knows it.
        unconstrained: what the optimizer moves.
        transform: from there to the model's value; None where they are the same.
    """

    name: str
    unconstrained: Tensor
    transform: Transform | None

    def value(self, unconstrained: Tensor | None = None) -> Tensor:
        """Return the model's value, of the parameter as it is or of another one."""
        at = self.unconstrained.detach() if unconstrained is None else unconstrained
        value: Tensor = at if self.transform is None else self.transform(at)
        return value.double()

    @property
    def labels(self) -> list[str]:
        """The names of the numbers of the value."""
        return list(labels(self.name, self.value().shape))

    @property
    def is_elementwise(self) -> bool:
        """Whether each number is mapped by itself."""
        transform = self.transform
        return transform is None or transform.domain.event_dim == transform.codomain.event_dim == 0

    def jacobian(self) -> Tensor:
        """Return the derivatives of the value's numbers by the unconstrained ones."""
        found: Any = torch.autograd.functional.jacobian(
            lambda at: self.value(at).reshape(-1), self.unconstrained.detach().double()
        )
        return found.reshape(found.shape[0], -1)


def candidates(example: BoundProgram) -> dict[str, Learnt]:
    """Return all parameters of a program that are trained, of guide and model alike, by name."""
    program, examined = example.program, example.examined
    found = {name: _of_module(program, name, p) for name, p in named_parameters(program).items()}
    if examined is not None:
        constraints = pyro.get_param_store().get_state()["constraints"]
        for name, parameter in registered(program, examined.guide, examined.model).items():
            found[name] = (name, parameter, _transform(constraints.get(name)))
    return {name: Learnt(*parts) for name, parts in found.items() if parts[1].requires_grad}


def _of_module(
    program: Program, name: str, parameter: Tensor
) -> tuple[str, Tensor, Transform | None]:
    """Return a parameter with the constraint that a PyroModule knows of it."""
    if not name.endswith(SUFFIX):
        return name.removeprefix(MODEL), parameter, None
    shown = name.removesuffix(SUFFIX)
    for prefix, root in program.modules.items():
        if not shown.startswith(prefix):
            continue
        path, _, leaf = shown[len(prefix) :].rpartition(".")
        owner = dict(root.named_modules()).get(path)
        if isinstance(owner, PyroModule) and leaf in owner._pyro_params:
            constraint, _ = owner._pyro_params[leaf]
            return shown.removeprefix(MODEL), parameter, _transform(constraint)
    return name, parameter, None


def _transform(constraint: Any) -> Transform | None:
    if constraint is None or constraint is torch.distributions.constraints.real:
        return None
    transform: Transform = transform_to(constraint)
    return transform


def of_model(found: Mapping[str, Learnt], log_likelihood: Tensor) -> list[Learnt]:
    """Return those parameters that the log-likelihood depends on.

    Raises:
        InputError: there are none, or too many.
    """
    parameters = [each.unconstrained for each in found.values()]
    if log_likelihood.requires_grad and parameters:
        gradients = torch.autograd.grad(
            log_likelihood.sum(), parameters, retain_graph=True, allow_unused=True
        )
        pairs = zip(found.values(), gradients, strict=True)
        used = [each for each, gradient in pairs if gradient is not None]
    else:
        used = []
    if not used:
        raise InputError(
            "the model has no parameter to learn: all of its unknowns are latents",
            subject="program",
            remedy="their posterior is what `posterior(program, data)` draws",
        )
    count = sum(each.unconstrained.numel() for each in used)
    if count > MOST:
        largest = max(used, key=lambda each: each.unconstrained.numel())
        raise InputError(
            f"the model has {count:,} parameters, most of them in {largest.name!r}; standard errors "
            f"are for {MOST:,} at most, and a network's weights have none that mean anything",
            subject=largest.name,
            remedy="freeze the network by `requires_grad_(False)` for errors of the others, given it",
        )
    return used
