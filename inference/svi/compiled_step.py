"""SVI's step without Python: which batches are worth a graph, what runs it, and whether it is right."""

import copy
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, get_args

import pyro.infer
import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor, fx

from pyro_vae.errors import InputError
from pyro_vae.inference.compiling.fx_capture import (
    CannotCapture,
    Checks,
    Graph,
    capture,
    same_value,
    side_effect,
    tensors_of,
    unchecked,
    without_item,
)
from pyro_vae.inference.compiling.onednn import use_onednn
from pyro_vae.inference.compiling.precision import Precision, check_precision, on_cuda, use_bfloat16
from pyro_vae.inference.objectives import TraceELBO
from pyro_vae.inference.svi.step import Batch, Step
from pyro_vae.inference.svi.training_loop import Settings
from pyro_vae.program.isolation import as_found, rng_state, set_rng_state

Compile = Literal["auto", "on", "off"]
Outcome = tuple[Tensor, list[Tensor | None]]  # a loss and its gradients

# Tracing and checking cost what some hundred steps save, Inductor what some thousands save; both grow
# with the program as the savings do. Counted in steps, not seconds, so that a run can be repeated.
WORTH_A_GRAPH, WORTH_INDUCTOR = 1000, 10_000
BFLOAT16 = 0.1  # what gradients through several layers may differ by, of 8 binary digits each


@dataclass(frozen=True)
class Engine:
    """A graph, or what Inductor made of it."""

    run: Callable[..., Any]
    tensors: list[Tensor]
    is_checked: bool  # does it say whether the values pass Pyro's checks?
    fixed: Sequence[tuple[Tensor, int]] = ()  # what it takes for constants, with their versions

    def __call__(self, beta: Tensor, batch: Batch) -> tuple[Any, ...]:
        """(loss, whether all checks passed, a gradient for each parameter)."""
        with torch.no_grad():
            return tuple(self.run(*self.tensors, beta, *batch))

    @property
    def holds(self) -> bool:
        """Nobody has written to what Python was told the value of."""
        return all(tensor._version == version for tensor, version in self.fixed)


@dataclass
class Compiled:
    """:meth:`Step.eagerly` by an engine for each shape of batch, where that is possible and worth it.

    Args:
        step: the step to take over.
        mode: "on" makes an error of what "auto" says and goes on without.
        steps: how many steps are to be taken with a batch of so many rows.
        tempered: whether the KL weight is ever another than 1.
        precision: of the matrix products; "bf16" needs a graph, whatever it is worth.
    """

    step: Step
    mode: Compile
    steps: Mapping[int, int]
    tempered: bool
    precision: Precision = "float32"
    notes: list[str] = field(default_factory=list)
    engines: dict[tuple[Any, ...], Engine | None] = field(default_factory=dict)

    def __call__(self, batch: Batch, beta: float) -> Tensor:
        """Minus the ELBO per unit, with its gradient left in the parameters; NaN if a check failed."""
        engine = self.engine(batch)
        validating = is_validation_enabled()
        if engine is None or (validating and not engine.is_checked):
            return self.step.eagerly(batch, beta)
        loss, passed, *gradients = engine(self.weight(beta), batch)
        for parameter, gradient in zip(self.step.parameters.values(), gradients, strict=True):
            parameter.grad = gradient
        return torch.where(passed, loss, torch.nan) if validating else loss

    def engine(self, batch: Batch) -> Engine | None:
        """What runs batches like this one; None is Python."""
        key = tuple((column.shape, column.stride(), column.dtype) for column in batch)
        if key not in self.engines:
            self.engines[key] = self.prepare(batch)
        engine = self.engines[key]
        if engine is not None and not engine.holds:
            engine = self.engines[key] = None
        return engine

    def __post_init__(self) -> None:
        parameter = next(iter(self.step.parameters.values()))
        self.device, self.dtype = parameter.device, parameter.dtype
        program = self.step.program
        self.owners = {"model": program.model, "guide": program.guide, **program.modules}

    @property
    def is_rounded(self) -> bool:
        return self.precision == "bf16"

    def weight(self, beta: float) -> Tensor:
        return torch.full((), beta, dtype=self.dtype, device=self.device)

    def prepare(self, batch: Batch) -> Engine | None:
        rows = len(batch[0]) if batch else 1
        steps = self.steps.get(rows, 0)
        batches = f"batches of {rows}" if batch else "calls with these arguments"
        if self.mode == "auto" and steps < WORTH_A_GRAPH and not self.is_rounded:
            self.notes.append(f"{batches} are not compiled: {steps} steps save less than it takes")
            return None
        started = time.monotonic()
        try:
            engine, how = self.build(batch, self.mode == "on" or steps >= WORTH_INDUCTOR)
        except CannotCapture as reason:
            if self.is_rounded:
                raise InputError(
                    f"precision='bf16' needs the step as a graph: {reason}"
                ) from reason
            if self.mode == "on":
                raise InputError(f"the step cannot be compiled: {reason}") from reason
            self.notes.append(f"{batches} run step by step in Python: {reason}")
            return None
        seconds = time.monotonic() - started
        self.notes.append(f"{batches} run {how}, made in {seconds:.1f} s")
        return engine

    def build(self, batch: Batch, inductor: bool) -> tuple[Engine, str]:
        """The engine for such batches, found to be right, and what it is.

        :raises CannotCapture: there is none.
        """
        arguments = (self.weight(1.0), *batch)
        # tracing, too, writes to tensors that the program writes to
        with warnings.catch_warnings(), kept(tensors_of(self.owners)), unchecked():
            warnings.simplefilter("ignore")
            self.refuse_what_no_graph_shows(batch)
            checks = Checks()
            graph = capture(self.function(checks), *arguments)
            plain = Engine(graph.module, graph.tensors, checks.complete, graph.fixed)
            self.compare(plain, batch, tolerance=1e-5)
            if self.is_rounded:
                use_bfloat16(graph.module)
            use_onednn(graph.module)
            self.compare(plain, batch, BFLOAT16 if self.is_rounded else 1e-4, self.is_rounded)
            if not inductor:
                return plain, "as a graph, without Pyro"
            try:
                engine = replace(plain, run=by_inductor(graph, *arguments))
                self.compare(engine, batch, BFLOAT16 if self.is_rounded else 1e-3, self.is_rounded)
            except Exception as error:
                reason = f"Inductor could not compile it: {first_line(error)}"
                if self.mode == "on":
                    raise CannotCapture(reason) from error
                return plain, f"as a graph, without Pyro ({reason})"
            return engine, "compiled by Inductor"

    def refuse_what_no_graph_shows(self, batch: Batch) -> None:
        step = self.step
        if not hasattr(step.elbo, "differentiable_loss"):
            raise CannotCapture(f"{type(step.elbo).__name__} runs the backward pass itself")
        for name, parameter in step.parameters.items():
            if getattr(parameter, "_post_accumulate_grad_hooks", None):
                raise CannotCapture(f"parameter {name!r} has a hook that waits for its gradient")
        with as_found(step.program.modules):  # in training mode, as every step is
            try:
                effect = side_effect(lambda: step.loss(batch), self.owners)
            except Exception as error:  # the step itself will say it better
                raise CannotCapture(f"{type(error).__name__}: {first_line(error)}") from error
        if effect is not None:
            raise CannotCapture(effect)

    def function(self, checks: Checks) -> Callable[..., tuple[Any, ...]]:
        """(KL weight, *batch) -> (loss, checks passed, *gradients)."""
        parameters = list(self.step.parameters.values())

        def loss_and_gradients(beta: Tensor, *batch: Tensor) -> tuple[Any, ...]:
            checks.passed.clear()
            with checks, without_item(self.step.elbo):
                loss = self.step.loss(batch, beta if self.tempered else 1.0)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            laid_out = map(_laid_out_like, gradients, parameters)
            return (loss.detach(), checks.all_passed(loss), *laid_out)

        return loss_and_gradients

    def compare(
        self, engine: Engine, batch: Batch, tolerance: float, as_a_whole: bool = False
    ) -> None:
        """The engine's loss, gradients, buffers and noise are Pyro's own.

        Then once more with other data, noise and parameters (a step further on, as Adam would set it).

        :param as_a_whole: whether gradients may be off by the tolerance of the largest of all, and not
            each of its own: rounded to 8 digits, what nearly cancels in a sum is lost.
        :raises CannotCapture: they are not, up to rounding.
        """
        other = tuple(column.flip(0) if column.dim() else column for column in batch)
        parameters = list(self.step.parameters.values())
        moves: list[Tensor | None] = [None] * len(parameters)
        for skipped, data, beta in ((0, batch, 1.0), (5, other, 0.5 if self.tempered else 1.0)):
            outcomes = []
            for run in (self.by_pyro, partial(self.by_engine, engine)):
                fixed = [tensor for tensor, _ in engine.fixed]
                with kept(engine.tensors + fixed), moved(parameters, moves), unwritten(fixed):
                    torch.rand(skipped, device=self.device)
                    loss, gradients = run(data, beta)
                    noise = torch.rand((), device=self.device)  # the next that anybody would draw
                    held = [t.detach().clone() for t in engine.tensors if not t.requires_grad]
                    outcomes.append((loss, gradients, held, noise))
            moves = outcomes[0][1]
            scale = max(map(_largest, moves)) if as_a_whole else 0.0
            _check_same(outcomes[0], outcomes[1], self.step.parameters, tolerance, scale)

    def by_pyro(self, batch: Batch, beta: float) -> Outcome:
        step = self.step
        elbo, model, guide = step.weighted(beta, batch)
        kind = pyro.infer.Trace_ELBO if isinstance(elbo, TraceELBO) else type(elbo)
        loss = kind.differentiable_loss(elbo, model, guide, *batch) / step.units(batch)
        parameters = list(step.parameters.values())
        return loss.detach(), list(torch.autograd.grad(loss, parameters, allow_unused=True))

    def by_engine(self, engine: Engine, batch: Batch, beta: float) -> Outcome:
        loss, _, *gradients = engine(self.weight(beta), batch)
        return loss, gradients


def check_modes(mode: Compile, precision: Precision, device: torch.device) -> None:
    """:raises InputError: there is no such way to run a step on that device."""
    if mode not in get_args(Compile):
        raise InputError(f"compile must be 'auto', 'on' or 'off', not {mode!r}")
    check_precision(precision, device)
    if mode == "off" and precision == "bf16":
        raise InputError("precision='bf16' needs the step as a graph: leave compile='off' out")


def use_compiled(
    step: Step,
    mode: Compile,
    precision: Precision,
    batch: Batch,
    num_units: int,
    settings: Settings,
) -> list[str]:
    """Makes the engines for a run before it starts, and has the step use them; says which in sentences.

    :param batch: the first of the run; the last one of each epoch may be smaller.
    :raises InputError: with mode "on" or in bfloat16, there is no engine for it.
    """
    if precision == "tf32":
        step.products = partial(on_cuda, "tf32")
    if mode == "off":
        return []
    full, rest = divmod(num_units, step.rows.batch_size)
    steps = {step.rows.batch_size: full * settings.epochs, rest: settings.epochs}
    tempered = settings.beta != 1 or settings.kl_warmup > 0
    steps = {rows: n for rows, n in steps.items() if rows and n}
    run = Compiled(step, mode, steps, tempered, precision)
    for rows in run.steps:
        run.engine(tuple(column[:rows] for column in batch))
    step.backward = run
    return run.notes


@contextmanager
def kept(tensors: list[Tensor]) -> Iterator[None]:
    """Leaves the generators, and the values of tensors that are not trained, as they were."""
    held = [(t, t.detach().clone()) for t in tensors if not t.requires_grad]
    generators = rng_state()
    try:
        yield
    finally:
        set_rng_state(generators)
        with torch.no_grad():
            for tensor, value in held:
                if not same_value(tensor, value):  # not all that write say so in the version
                    tensor.copy_(value)


@contextmanager
def moved(parameters: list[Tensor], gradients: list[Tensor | None]) -> Iterator[None]:
    """With parameters down their gradients, as far as Adam's first step takes them."""
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
def unwritten(tensors: list[Tensor]) -> Iterator[None]:
    """:raises CannotCapture: what passes for a constant is another one afterwards."""
    before = [tensor.detach().clone() for tensor in tensors]
    yield
    if not all(map(same_value, tensors, before)):
        raise CannotCapture("Python needs to know a tensor's value, which every run changes")


def first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _laid_out_like(gradient: Tensor | None, parameter: Tensor) -> Tensor | None:
    """Fused optimizers read memory in order, whatever the strides say."""
    if gradient is None or gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _check_same(
    pyros: Any, ours: Any, parameters: Mapping[str, Tensor], tolerance: float, scale: float
) -> None:
    if not torch.isfinite(pyros[0]):
        raise CannotCapture("the first loss is not finite")
    # a loss in nats that is near 0 is a difference of larger numbers, whose rounding it keeps
    if not (pyros[0] - ours[0]).abs() <= tolerance * max(1.0, pyros[0].abs()):
        raise CannotCapture(f"its loss would be {ours[0]:g} where Pyro's is {pyros[0]:g}")
    for (name, parameter), expected, gradient in zip(
        parameters.items(), pyros[1], ours[1], strict=True
    ):
        if expected is None and gradient is None:
            continue
        if expected is None or gradient is None or not _close(expected, gradient, tolerance, scale):
            raise CannotCapture(f"its gradient for {name!r} would not be Pyro's")
        if gradient.stride() != parameter.stride():
            raise CannotCapture(f"its gradient for {name!r} would lie in memory in another order")
    if any(not _close(a, b, tolerance) for a, b in zip(pyros[2], ours[2], strict=True)):
        raise CannotCapture("it would leave other values in a buffer")
    if pyros[3] != ours[3]:
        raise CannotCapture("it would draw its noise in another way")


def _close(one: Tensor, other: Tensor, tolerance: float, scale: float = 0.0) -> bool:
    """Equal up to ``tolerance`` of the largest element, or of ``scale``."""
    if one.shape != other.shape:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    return bool(((one - other).abs() <= tolerance * max(scale, _largest(one))).all())


def _largest(x: Tensor | None) -> float:
    return 0.0 if x is None or not x.numel() else float(x.abs().max())


# --- Inductor -----------------------------------------------------------------------------------


def by_inductor(graph: Graph, *arguments: Tensor) -> Callable[..., Any]:
    """What Inductor makes of a graph, with the same noise: torch's generators, in the same order."""
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx

    module = fx.GraphModule({}, copy.deepcopy(graph.module.graph))
    is_cuda = arguments[0].is_cuda
    options = {"fallback_random": True, **({"triton.cudagraphs": True} if is_cuda else {})}
    with config.patch(options), torch.no_grad():
        run: Any = compile_fx(module, [*graph.tensors, *arguments])
    return run
