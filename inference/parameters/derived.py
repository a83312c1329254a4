"""What a program derives from its parameters, for a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.contract import Program
from pyro_vae.program.site_layout import labels

METHOD = "derived_parameters"


@dataclass(frozen=True)
class Derived:
    """Hold D numbers that are functions of P unconstrained parameters, in float64.

    Attributes:
        names: of each number, as in ``difficulty[2]``.
        values: (D,).
        jacobian: their derivatives by the parameters, (D, P).
    """

    names: tuple[str, ...]
    values: Tensor
    jacobian: Tensor

    @classmethod
    def of(cls, program: Program, parameters: Sequence[Tensor]) -> "Derived":
        """Return what the program's own method gives; nothing where it has none.

        Raises:
            InputError: the method does not return tensors by name.
        """
        found = program.derived_parameters() if program.derived_parameters is not None else {}
        if not isinstance(found, Mapping) or not all(isinstance(t, Tensor) for t in found.values()):
            raise InputError(
                f"the program's {METHOD} does not return tensors by name",
                subject=METHOD,
                expected='a dict such as {"ratio": self.a / self.b}',
            )
        names = tuple(label for name, value in found.items() for label in labels(name, value.shape))
        values = torch.cat([parameters[0].new_zeros(0), *(v.reshape(-1) for v in found.values())])
        rows = [_gradient(value, parameters) for value in values]
        size = sum(each.numel() for each in parameters)
        jacobian = torch.stack(rows) if rows else values.new_zeros(0, size)
        return cls(names, values.detach().double(), jacobian.double())


def _gradient(value: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    if not value.requires_grad:
        return torch.cat([torch.zeros_like(each).reshape(-1) for each in parameters])
    gradients = torch.autograd.grad(
        value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.cat([each.reshape(-1) for each in gradients])
