"""One step of SVI: a batch in, the parameters moved, the batch's ELBO out."""

import copy
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.optim import Optimizer

from pyro_vae.errors import InputError
from pyro_vae.inference.objectives import Tempered, TraceELBO
from pyro_vae.inference.objectives.objective import Scheduled
from pyro_vae.inference.svi.optimizer_update import Update
from pyro_vae.inference.svi.rows import Rows
from pyro_vae.program.contract import Program
from pyro_vae.program.examination import Examination, examine
from pyro_vae.program.parameters import hidden_parameters
from pyro_vae.program.trace import first_line, run, sample_sites

Batch = tuple[Tensor, ...]
OptimizerFactory = Callable[[Iterable[Tensor]], Optimizer]


class Step:
    """Maximises an ELBO of a program, per unit, by one optimizer over all its parameters.

    The loss is minus the ELBO divided by the number of units it stands for, so that a learning rate
    or a clipping norm means the same at every batch size.
    """

    def __init__(
        self,
        examined: Examination,
        rows: Rows,
        parameters: Mapping[str, Tensor],
        elbo: Any,  # a Pyro ELBO; their base class declares no methods
        optimizer: OptimizerFactory,
        clip_norm: float | None,
    ) -> None:
        self.rows, self.elbo, self.clip_norm = rows, copy.copy(elbo), clip_norm
        self.program, self.structure = examined.program, examined.structure
        elbo = self.elbo  # a copy: a person's own stays as it is
        if not isinstance(getattr(elbo, "max_plate_nesting", 0), int):
            # Pyro would run the program once more to find it out
            in_a_plate = elbo.vectorize_particles and elbo.num_particles > 1
            elbo.max_plate_nesting = self.structure.max_plate_nesting + in_a_plate
        self.parameters = {n: p for n, p in parameters.items() if p.requires_grad}
        if not self.parameters:
            raise InputError(
                "nothing to train: neither the model nor the guide has a parameter that requires a "
                "gradient (networks of a plain function are registered by `pyro.module`)"
            )
        try:
            self.optimizer = fused(optimizer(list(self.parameters.values())))
        except (ValueError, TypeError) as error:
            raise InputError(f"the optimizer cannot be made: {error}") from error
        self.update = Update(self.optimizer)
        self.products: Callable[[], AbstractContextManager[None]] = nullcontext
        self.backward: Callable[[Batch, float], Tensor] = self.eagerly
        if needs_closure(self.optimizer):
            raise InputError(
                f"{type(self.optimizer).__name__} evaluates the loss several times a step, with other "
                "noise each time: use a first-order optimizer such as Adam"
            )

    def loss(self, batch: Batch, beta: float | Tensor = 1.0) -> Tensor:
        """Minus the ELBO per unit with the KL term weighted by ``beta``, in nats, shape ``|``.

        For an objective with a scheduled number of its own, ``beta`` is that.
        """
        elbo, model, guide = self.weighted(beta, batch)
        elbo = elbo if hasattr(elbo, "differentiable_loss") else TraceELBO()
        return elbo.differentiable_loss(model, guide, *batch) / self.units(batch)

    def eagerly(self, batch: Batch, beta: float) -> Tensor:
        """:meth:`loss`, with its gradient left in the parameters."""
        self.optimizer.zero_grad(set_to_none=True)
        if hasattr(self.elbo, "differentiable_loss"):
            loss = self.loss(batch, beta)
            if loss.requires_grad:
                loss.backward()
            return loss.detach()
        # RenyiELBO, TraceGraph_ELBO and ReweightedWakeSleep go backward themselves, summed over units
        units = self.units(batch)
        elbo, *pair = self.weighted(beta, batch)
        loss = elbo.loss_and_grads(*map(with_a_parameter, pair), *batch)
        for parameter in self.parameters.values():
            if parameter.grad is not None:
                parameter.grad /= units
        # wake-sleep has a loss for the guide beside that of the model, which is the bound
        return torch.as_tensor((loss[0] if isinstance(loss, tuple) else loss) / units)

    def weighted(
        self, beta: float | Tensor, batch: Batch
    ) -> tuple[Any, Callable[..., Any], Callable[..., Any]]:
        """The ELBO, and model and guide with the KL term weighted, a batch counting for all rows."""
        program = self.rows.scale(self.program, batch)
        model, guide = program.model, program.guide
        if isinstance(self.elbo, Scheduled):
            return self.elbo.at(beta), model, guide
        is_one = not isinstance(beta, Tensor) and beta == 1  # what a tensor holds, nobody asks
        if is_one:
            return self.elbo, model, guide
        return self.elbo, Tempered(beta)(model), Tempered(beta)(guide)

    def units(self, batch: Batch) -> int:
        """How many units the ELBO of a batch stands for."""
        if self.rows.is_whole or not batch:
            return self.structure.size
        return self.structure.units_of(len(batch[0]))

    def __call__(self, batch: Batch, beta: float = 1.0, check: bool = True) -> Tensor:
        """One update; returns the ELBO per unit before it.

        :param check: stop at a loss that is not finite, before it reaches the parameters. The host
            then waits for the device.
        """
        generator = torch.get_rng_state() if check else None
        loss = self.attempt(self.backward, batch, beta, generator)
        if generator is not None and not is_finite(loss) and self.backward != self.eagerly:
            torch.set_rng_state(generator)  # the same again, by what can say why
            loss = self.attempt(self.eagerly, batch, beta, generator)
        if generator is not None and not is_finite(loss):
            torch.set_rng_state(generator)
            raise InputError(first_not_finite(self.program, batch) or "the loss is not finite")
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), self.clip_norm)
        self.update()
        return -loss

    def attempt(
        self,
        backward: Callable[[Batch, float], Tensor],
        batch: Batch,
        beta: float,
        generator: Tensor | None,
    ) -> Tensor:
        """``backward``, with errors explained by running the program again with the same noise."""
        try:
            with self.products():
                return backward(batch, beta)
        except NotImplementedError as error:
            raise InputError(f"{type(self.elbo).__name__} cannot be used here: {error}") from error
        except Exception as error:  # one of Pyro's or torch's checks, or of a person's own code
            if generator is not None:
                torch.set_rng_state(generator)
            raise self.explain(batch, error) from error

    def explain(self, batch: Batch, error: Exception) -> InputError:
        """What was wrong, with its site where that can be found."""
        if isinstance(error, InputError):  # Pyro has written its trace below the sentence
            return InputError(str(error).split("\n")[0])
        try:
            with pyro.validation_enabled(False):
                message = first_not_finite(self.program, batch)
            for strict in (True, False):  # data outside a support, say
                if message is None:
                    examine(self.program, *batch, strict=strict)
        except InputError as explained:
            return explained
        except Exception:
            return InputError(
                f"the program does not fit a batch of {self.units(batch)} data: "
                f"{first_line(error)} (a guide with parameters of its own for each "
                "datum, as AutoGuides have them, needs batch_size to be the number of data)"
            )
        if isinstance(error, KeyError):
            return InputError(
                f"model and guide did not draw the same latents in this step: {error} is on one side only"
            )
        said = f"{type(self.elbo).__name__} raised {type(error).__name__}: {first_line(error)}"
        return InputError(message or said)

    def check_everything_trains(self, batch: Batch) -> list[str]:
        """Refuses a program with a parameter in its loss that no update would move.

        That is what Pyro does, silently, to a network that no ``pyro.module`` registers. What is
        registered and hidden (``poutine.block``) stays as it is, as in Pyro's SVI; a note names it.
        """
        mine = {id(p) for p in self.parameters.values()}
        try:
            loss = self.loss(batch)
        except Exception as error:
            raise self.explain(batch, error) from error
        others = [leaf for leaf in leaves(loss) if id(leaf) not in mine]
        hidden = hidden_parameters(others)
        lost = [leaf for leaf in others if not any(leaf is p for p in hidden.values())]
        if lost:
            shapes = ", ".join(str(tuple(leaf.shape)) for leaf in lost[:4])
            raise InputError(
                f"{len(lost)} parameters of the model or guide would never be trained (shapes "
                f"{shapes}{', ...' if len(lost) > 4 else ''}): register their network by "
                "`pyro.module(name, network)` in the function that uses it, or make it part of the "
                "program's module, or freeze it by `requires_grad_(False)`"
            )
        if not hidden:
            return []
        names = ", ".join(map(repr, hidden))
        return [f"parameters that the program hides (poutine.block) stay as they are: {names}"]


def fused(optimizer: Optimizer) -> Optimizer:
    """Turns on torch's one-kernel update where the optimizer has one and nothing was chosen."""
    for group in optimizer.param_groups:
        if "fused" in group and not any(group.get(k) for k in ("fused", "foreach", "capturable")):
            group["fused"] = all(p.is_floating_point() for p in group["params"])
    return optimizer


def is_finite(loss: Tensor) -> bool:
    return math.isfinite(loss.item())


def needs_closure(optimizer: Optimizer) -> bool:
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def with_a_parameter(function: Callable[..., Any]) -> Callable[..., Any]:
    """Lets Pyro see a parameter: without one in the trace those ELBOs compute no gradient at all."""

    def registered(*args: Any) -> Any:
        pyro.param("_any", lambda: torch.zeros(()))
        return function(*args)

    return registered


def leaves(loss: Tensor) -> list[Tensor]:
    """The leaf tensors that a loss's gradient would reach."""
    found, seen, stack = [], set(), [loss.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        stack.extend(next_node for next_node, _ in node.next_functions)
    return found


@torch.no_grad()
def first_not_finite(program: Program, batch: Batch) -> str | None:
    """Names the first site whose value or log-probability on ``batch`` is not finite."""
    guide_trace = run("guide", program.guide, batch, {})
    model_trace = run("model", poutine.replay(program.model, guide_trace), batch, {})
    for part, trace in (("guide", guide_trace), ("model", model_trace)):
        for name, site in sample_sites(trace).items():
            try:
                log_prob = site["fn"].log_prob(site["value"])
            except Exception:  # an examination says why
                return None
            for what, tensor in (("value", site["value"]), ("log-probability", log_prob)):
                if not torch.isfinite(tensor).all():
                    return (
                        f"the loss is not finite: the {part}'s site {name!r} is the first whose "
                        f"{what} is not ({tensor[~torch.isfinite(tensor)][0]:g}); a smaller learning "
                        "rate, gradient clipping (clip_norm) or a floor under the scales may help"
                    )
    return None
