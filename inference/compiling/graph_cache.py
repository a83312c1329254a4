"""Functions that are called again and again: in Python at first, then by a graph of their own."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from pyro_vae.inference.compiling.fx_capture import CapturedGraph, capture_once
from pyro_vae.inference.compiling.inductor import SharedCode
from pyro_vae.inference.compiling.simplification import optimize

Tensors = tuple[Tensor, ...]
# calls, which cost about as much as tracing; counted, not timed, so that a run can be repeated
CALLS_WORTH_A_GRAPH = 200
TRIAL_CALLS = 2  # which graph and function both answer, and must agree on


class GraphedFunction:
    """Call a function from tensors to tensors, and its graph once it has one.

    Everything else that the function reads must stay the same: what follows from that alone is computed
    once. A graph holds for arguments of one shape. It takes over after as many calls with them as it is
    worth, if it agrees with the function; if not, the function goes on.

    Args:
        function: maps tensors to tensors.
        compiler: compiles its graphs; without one their operations run one by one.
    """

    def __init__(
        self, function: Callable[..., Tensors], compiler: SharedCode | None = None
    ) -> None:
        self.function, self.compiler = function, compiler
        self.calls: Counter[Any] = Counter()
        self.graphs: dict[Any, Callable[..., Tensors]] = {}

    def __call__(self, *arguments: Tensor) -> Tensors:
        shapes = tuple((a.shape, a.stride(), a.dtype) for a in arguments)
        self.calls[shapes] += 1
        on_trial = self.calls[shapes] - CALLS_WORTH_A_GRAPH in range(TRIAL_CALLS)
        if shapes in self.graphs and not on_trial:
            return self.graphs[shapes](*arguments)
        result = self.function(*arguments)
        if on_trial:
            self._try_graph(shapes, arguments, result)
        return result

    def _try_graph(self, shapes: Any, arguments: Tensors, result: Tensors) -> None:
        try:
            if self.calls[shapes] == CALLS_WORTH_A_GRAPH:
                graph = optimize(capture_once(self.function, *arguments, all_fixed=True))
                self.graphs[shapes] = self._code(graph, arguments)
            code = self.graphs.get(shapes)
            if code is not None and not agree(code(*arguments), result):
                del self.graphs[shapes]
        except Exception:  # whatever it was, Python can do without a graph
            self.graphs.pop(shapes, None)

    def _code(self, graph: CapturedGraph, arguments: Tensors) -> Callable[..., Tensors]:
        code: Callable[..., Any] = graph.module
        if self.compiler is not None:
            with suppress(Exception):  # the graph needs no compiler
                code = self.compiler(graph, *arguments)
        return bound_code(code, graph.tensors)


def bound_code(code: Callable[..., Any], tensors: list[Tensor]) -> Callable[..., Tensors]:
    """Return code for a graph as a function of the graph's arguments alone."""

    def run(*arguments: Tensor) -> Tensors:
        with torch.no_grad():
            return tuple(code(*tensors, *arguments))

    return run


def agree(results: Tensors, expected: Tensors) -> bool:
    """Return whether results are equal up to rounding of the largest element."""
    return all(
        torch.allclose(a, b, rtol=0, atol=1e-4 * largest(b), equal_nan=True)
        for a, b in zip(results, expected, strict=True)
    )


def largest(x: Tensor) -> float:
    return float(x.abs().nan_to_num(0, 0, 0).max()) if x.numel() else 0.0
