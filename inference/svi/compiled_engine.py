"""SVI's step without Python: for which batches a graph is worth making, and what happens without one."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor

from pyro_vae.data import Batch
from pyro_vae.errors import InputError, first_line
from pyro_vae.inference.compiling.fx_capture import CannotCapture
from pyro_vae.inference.compiling.inductor import Compile, by_inductor
from pyro_vae.inference.compiling.onednn import use_onednn
from pyro_vae.inference.compiling.precision import (
    Precision,
    check_precision,
    multiplying_in,
    use_bfloat16,
)
from pyro_vae.inference.svi.engine import EagerEngine, Engine
from pyro_vae.inference.svi.minibatching import Minibatching
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.inference.svi.step_graph import StepCapture, StepGraph, without_checks

BFLOAT16_TOLERANCE = 0.1  # of gradients through several layers, with 8 binary digits each

replayed_by_cuda = partial(by_inductor, cuda_graphs=True)


@dataclass
class CompiledEngine(Engine):
    """Run a graph for each shape of batch, where that is possible and worth it, and Python elsewhere.

    Args:
        eager: the engine to replace.
        capture: makes graphs of its loss, and compares them with Pyro.
        mode: "on" raises where "auto" notes a reason and goes on in Python.
        expected: batches like those of the run, each with the number of steps for batches of its size.
        control: how many steps are worth a graph.
        inductor: compiles a graph.
    """

    eager: EagerEngine
    capture: StepCapture
    mode: Compile
    expected: Sequence[tuple[Batch, int]] = ()
    control: RunControl = field(default_factory=RunControl)
    inductor: Callable[..., Callable[..., Any]] = replayed_by_cuda
    notes: list[str] = field(default_factory=list)
    graphs: dict[tuple[Any, ...], StepGraph | None] = field(default_factory=dict)

    @property
    def is_rounded(self) -> bool:
        return self.eager.precision == "bf16"

    def __call__(self, batch: Batch, beta: float) -> Tensor:
        graph = self._graph(batch)
        validating = is_validation_enabled()
        if graph is None or (validating and not graph.is_checked):
            return self.eager(batch, beta)
        with multiplying_in(self.eager.precision):
            weight = self.capture.weight(beta)
            loss, passed, *gradients = graph(weight, batch, validating)
        for parameter, gradient in zip(self.eager.parameters.values(), gradients, strict=True):
            parameter.grad = gradient
        return torch.where(passed, loss, torch.nan) if validating else loss

    def prepare(self) -> list[str]:
        """Make the graphs for the expected batches, and say in sentences how they run.

        Raises:
            InputError: with mode "on" or in bfloat16, there is no graph for one.
        """
        for batch, _ in self.expected:
            self._graph(batch)
        return self.notes

    def _graph(self, batch: Batch) -> StepGraph | None:
        """Return the graph for batches of this shape; None for Python."""
        shapes = tuple((column.shape, column.stride(), column.dtype) for column in batch)
        if shapes not in self.graphs:
            self.graphs[shapes] = self._make_graph(batch)
        graph = self.graphs[shapes]
        if graph is not None and not graph.is_valid:
            graph = self.graphs[shapes] = None
        return graph

    def _make_graph(self, batch: Batch) -> StepGraph | None:
        rows = _num_rows(batch)
        steps = sum(steps for other, steps in self.expected if _num_rows(other) == rows)
        batches = f"batches of {rows}" if batch else "calls with these arguments"
        is_worth_it = steps >= self.control.steps_worth_a_graph
        if self.mode == "auto" and not is_worth_it and not self.is_rounded:
            self.notes.append(f"{batches} are not compiled: {steps} steps save less than it takes")
            return None
        started = time.monotonic()
        use_inductor = self.mode == "on" or steps >= self.control.steps_worth_inductor
        try:
            graph, kind = self._build(batch, use_inductor)
        except CannotCapture as reason:
            if self.is_rounded or self.mode == "on":
                raise self._refusal(reason) from reason
            self.notes.append(f"{batches} run step by step in Python: {reason}")
            return None
        seconds = time.monotonic() - started
        self.notes.append(f"{batches} run {kind}, made in {seconds:.1f} s")
        return graph

    def _refusal(self, reason: CannotCapture) -> InputError:
        if self.is_rounded:
            problem = f"precision='bf16' needs the step as a graph: {reason}"
            return InputError(problem, subject="precision", remedy="take precision='float32'")
        problem = f"compile='on': the step cannot be compiled: {reason}"
        return InputError(problem, subject="compile", remedy="take compile='auto'")

    def _build(self, batch: Batch, use_inductor: bool) -> tuple[StepGraph, str]:
        """Return a graph that agrees with Pyro, and a phrase about it, or raise CannotCapture."""
        capture, rounded = self.capture, self.is_rounded
        with capture.isolated():
            capture.check_python(batch)
            graph, plain = capture.capture(batch)
            capture.compare(plain, batch, tolerance=1e-5)
            if rounded:
                use_bfloat16(graph.module)
            use_onednn(graph.module)
            capture.compare(plain, batch, BFLOAT16_TOLERANCE if rounded else 1e-4, rounded)
            plain = replace(plain, unchecked=without_checks(graph.module))
            if not use_inductor:
                return plain, "as a graph, without Pyro"
            try:
                code = self.inductor(graph, capture.weight(1.0), *batch)
                compiled = replace(plain, code=code, unchecked=None)
                capture.compare(compiled, batch, BFLOAT16_TOLERANCE if rounded else 1e-3, rounded)
            except Exception as error:
                reason = f"Inductor could not compile it: {first_line(error)}"
                if self.mode == "on":
                    raise CannotCapture(reason) from error
                return plain, f"as a graph, without Pyro ({reason})"
            return compiled, "compiled by Inductor"


def _num_rows(batch: Batch) -> int:
    return len(batch[0]) if batch else 1


def check_modes(mode: Compile, precision: Precision, device: torch.device) -> None:
    """Check that a device runs steps in such a way.

    Raises:
        InputError: it does not.
    """
    if mode == "off" and precision == "bf16":
        raise InputError(
            "precision='bf16' needs the step as a graph",
            subject="precision",
            remedy="leave compile='off' out",
        )
    check_precision(precision, device)


def expected_batches(
    first: Batch, minibatching: Minibatching, epochs: int
) -> list[tuple[Batch, int]]:
    """Return a batch of each size that a run takes, and its steps: the last of an epoch may be smaller."""
    full, rest = divmod(minibatching.num_rows, minibatching.batch_size)
    sizes = {minibatching.batch_size: full * epochs, rest: epochs}
    return [
        (tuple(column[:rows] for column in first), steps)
        for rows, steps in sizes.items()
        if rows and steps
    ]
