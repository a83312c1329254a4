"""SVI's step as a graph, checked against Pyro's own loss and gradients."""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import pyro.infer
import torch
from torch import Tensor, fx

from pyro_vae.data import Batch
from pyro_vae.errors import first_line
from pyro_vae.inference.compiling.fx_capture import (
    CannotCapture,
    CapturedGraph,
    capture,
    same_value,
)
from pyro_vae.inference.compiling.side_effects import held_tensors, side_effect
from pyro_vae.inference.compiling.simplification import simplified
from pyro_vae.inference.compiling.validation_ops import (
    ValidationOps,
    ValuesOnDevice,
    without_validation,
)
from pyro_vae.inference.objectives import TraceELBO
from pyro_vae.inference.svi.batch_loss import BatchLoss
from pyro_vae.inference.svi.optimizer_update import (
    in_memory_of_their_own,
    in_order_of,
    laid_out_like,
)
from pyro_vae.program.generators import generators_as_found
from pyro_vae.program.isolation import as_found
from pyro_vae.program.log_prob import for_compiler
from pyro_vae.program.trace import as_raised


class WrongGraph(CannotCapture):
    """Say where a graph differs from Pyro."""


@dataclass(frozen=True)
class StepGraph:
    """Hold code that computes a step: a graph's, or Inductor's."""

    code: Callable[..., Any]  # of the tensors, the KL weight and the batch
    tensors: list[Tensor]  # parameters, buffers and constants
    is_checked: bool  # does it compute all of Pyro's checks of values?
    constants: Sequence[tuple[Tensor, int]] = ()  # whose values Python has read, with versions
    unchecked: Callable[..., Any] | None = None  # the same without the checks

    def __call__(self, beta: Tensor, batch: Batch, validating: bool = True) -> tuple[Any, ...]:
        """Return the loss, whether all checks passed, and a gradient for each parameter."""
        code = self.unchecked if self.unchecked and not validating else self.code
        with torch.no_grad():
            return tuple(code(*self.tensors, beta, *batch))

    @property
    def is_valid(self) -> bool:
        """Return whether nobody has written to a constant."""
        return all(tensor._version == version for tensor, version in self.constants)


def without_checks(module: fx.GraphModule) -> fx.GraphModule:
    """Return a step's graph that gives None in place of whether all checks passed."""
    graph = copy.deepcopy(module.graph)
    output: Any = graph.output_node()
    loss, _, *gradients = output.args[0]
    output.args = ((loss, None, *gradients),)
    graph.eliminate_dead_code()
    return fx.GraphModule({}, graph)


class _Outcome(NamedTuple):
    loss: Tensor
    gradients: list[Tensor | None]
    buffers: list[Tensor]
    noise: Tensor  # the next number that the generator gives


@dataclass(frozen=True)
class StepCapture:
    """Capture a batch's loss and gradients as a graph, and compare graphs with Pyro."""

    loss: BatchLoss
    parameters: Mapping[str, Tensor]
    is_tempered: bool  # does the KL weight ever differ from 1?

    @property
    def owners(self) -> dict[str, Any]:
        """Return the objects that a side effect may change, by name."""
        program = self.loss.program
        return {"model": program.model, "guide": program.guide, **program.modules}

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Switch off validation and warnings, and restore tensors: tracing, too, writes to some."""
        found = restored(held_tensors(self.owners))
        with warnings.catch_warnings(), found, without_validation(), for_compiler():
            warnings.simplefilter("ignore")
            yield

    def check_python(self, batch: Batch) -> None:
        """Check that a step does nothing that no graph shows, or raise CannotCapture."""
        if self.loss.elbo_goes_backward:
            raise CannotCapture(f"{type(self.loss.elbo).__name__} runs the backward pass itself")
        for name, parameter in self.parameters.items():
            if getattr(parameter, "_post_accumulate_grad_hooks", None):
                raise CannotCapture(f"parameter {name!r} has a hook that waits for its gradient")
        with as_found(self.loss.program.modules):  # in training mode, as every step is
            try:
                effect = side_effect(lambda: self.loss(batch), self.owners)
            except Exception as error:  # the step itself will say it better
                raised = as_raised(error)
                raise CannotCapture(f"{type(raised).__name__}: {first_line(raised)}") from error
        if effect is not None:
            raise CannotCapture(effect)

    def capture(self, batch: Batch) -> tuple[CapturedGraph, StepGraph]:
        """Return the graph of a step with batches of that shape, or raise CannotCapture."""
        checks, parameters = ValidationOps(), list(self.parameters.values())

        def loss_and_gradients(beta: Tensor, *batch: Tensor) -> tuple[Any, ...]:
            checks.results.clear()
            with checks, ValuesOnDevice():
                loss = self.loss(batch, beta if self.is_tempered else 1.0)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            laid_out = [
                None if gradient is None else laid_out_like(gradient, parameter)
                for gradient, parameter in zip(gradients, parameters, strict=True)
            ]
            return (loss.detach(), checks.all_passed(loss), *in_memory_of_their_own(laid_out))

        graph = capture(loss_and_gradients, self.weight(1.0), *batch)
        try:
            graph = simplified(graph)
        except Exception as error:
            raise CannotCapture(f"its graph cannot be simplified: {first_line(error)}") from error
        return graph, StepGraph(graph.module, graph.tensors, checks.is_complete, graph.constants)

    def weight(self, beta: float) -> Tensor:
        """Return the KL weight as a graph takes it."""
        parameter = next(iter(self.parameters.values()))
        return torch.full((), beta, dtype=parameter.dtype, device=parameter.device)

    def compare(
        self, graph: StepGraph, batch: Batch, tolerance: float, of_largest: bool = False
    ) -> None:
        """Check that a graph's loss, gradients, buffers and noise are Pyro's own, up to rounding.

        They are compared twice, then with other data, noise and parameters, one step further. The tolerance
        is relative to the largest element of each gradient, or with ``of_largest`` of all: in bfloat16 with
        its 8 binary digits, terms that nearly cancel leave nothing of their sum.

        Raises:
            WrongGraph: they differ.
        """
        flipped = tuple(column.flip(0) if column.dim() else column for column in batch)
        parameters = list(self.parameters.values())
        gradients: list[Tensor | None] = [None] * len(parameters)
        for skipped, data, beta in (
            (0, batch, 1.0),
            (5, flipped, 0.5 if self.is_tempered else 1.0),
        ):
            outcomes = []
            for run in (self._by_pyro, partial(self._by_graph, graph)):
                constants = [tensor for tensor, _ in graph.constants]
                with (
                    restored(graph.tensors + constants),
                    one_step_further(parameters, gradients),
                    constant(constants),
                ):
                    torch.rand(skipped, device=parameters[0].device)
                    loss, slopes = run(data, beta)
                    noise = torch.rand((), device=parameters[0].device)
                    buffers = [t.detach().clone() for t in graph.tensors if not t.requires_grad]
                    outcomes.append(_Outcome(loss, slopes, buffers, noise))
            gradients = outcomes[0].gradients
            scale = max(map(_largest, gradients)) if of_largest else 0.0
            _check_same(outcomes[0], outcomes[1], self.parameters, tolerance, scale)

    def _by_pyro(self, batch: Batch, beta: float) -> tuple[Tensor, list[Tensor | None]]:
        elbo, model, guide = self.loss.terms(batch, beta)
        kind = pyro.infer.Trace_ELBO if isinstance(elbo, TraceELBO) else type(elbo)
        loss = kind.differentiable_loss(elbo, model, guide, *batch) / self.loss.num_units(batch)
        parameters = list(self.parameters.values())
        return loss.detach(), list(torch.autograd.grad(loss, parameters, allow_unused=True))

    def _by_graph(
        self, graph: StepGraph, batch: Batch, beta: float
    ) -> tuple[Tensor, list[Tensor | None]]:
        try:
            loss, _, *gradients = graph(self.weight(beta), batch)
        except Exception as error:
            problem = f"the graph raises {type(error).__name__}: {first_line(error)}"
            raise WrongGraph(problem) from error
        return loss, gradients


@contextmanager
def restored(tensors: list[Tensor]) -> Iterator[None]:
    """Restore the generators, and the values of tensors that are not trained, afterwards."""
    before = [(t, t.detach().clone()) for t in tensors if not t.requires_grad]
    try:
        with generators_as_found():
            yield
    finally:
        with torch.no_grad():
            for tensor, value in before:
                if not same_value(tensor, value):  # not all that write say so in the version
                    tensor.copy_(value)


@contextmanager
def one_step_further(parameters: list[Tensor], gradients: list[Tensor | None]) -> Iterator[None]:
    """Move parameters down their gradients for a while, as far as Adam's first step takes them."""
    before = [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.sub_(1e-3 * gradient.sgn())
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)


@contextmanager
def constant(tensors: list[Tensor]) -> Iterator[None]:
    """Check that tensors whose values Python has read keep them, or raise WrongGraph."""
    before = [tensor.detach().clone() for tensor in tensors]
    yield
    if not all(map(same_value, tensors, before)):
        raise WrongGraph("Python needs to know a tensor's value, which every run changes")


def _check_same(
    pyros: _Outcome,
    graphs: _Outcome,
    parameters: Mapping[str, Tensor],
    tolerance: float,
    scale: float,
) -> None:
    if not torch.isfinite(pyros.loss):
        raise WrongGraph("the first loss is not finite")
    # a loss in nats that is near 0 is a difference of larger numbers, and keeps their rounding
    if not (pyros.loss - graphs.loss).abs() <= tolerance * pyros.loss.abs().clamp(min=1.0):
        raise WrongGraph(f"its loss would be {graphs.loss:g} where Pyro's is {pyros.loss:g}")
    taken: set[int] = set()
    pairs = zip(parameters.items(), pyros.gradients, graphs.gradients, strict=True)
    for (name, parameter), expected, gradient in pairs:
        if expected is None and gradient is None:
            continue
        if expected is None or gradient is None or not _close(expected, gradient, tolerance, scale):
            raise WrongGraph(f"its gradient for {name!r} would not be Pyro's")
        if not in_order_of(gradient, parameter):
            raise WrongGraph(f"its gradient for {name!r} would lie in memory in another order")
        memory = gradient.untyped_storage().data_ptr()
        if memory in taken:
            raise WrongGraph(f"its gradient for {name!r} would share memory with another")
        taken |= {memory} - {0}  # which has no elements
    buffers = zip(pyros.buffers, graphs.buffers, strict=True)
    if any(not (same_value(one, other) or _close(one, other, tolerance)) for one, other in buffers):
        raise WrongGraph("it would leave other values in a buffer")
    if pyros.noise != graphs.noise:
        raise WrongGraph("it would draw its noise in another way")


def _close(one: Tensor, other: Tensor, tolerance: float, scale: float = 0.0) -> bool:
    """Return whether tensors are equal up to ``tolerance`` of the largest element, or of ``scale``."""
    if one.shape != other.shape:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    is_near = (one - other).abs() <= tolerance * max(scale, _largest(one))
    return bool((is_near | (one == other)).all())  # infinities are equal, and not near each other


def _largest(x: Tensor | None) -> float:
    finite = torch.zeros(0) if x is None else x[x.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0
