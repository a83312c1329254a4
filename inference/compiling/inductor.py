"""A captured graph compiled by Inductor, torch's compiler."""

import copy
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, fx
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode

from pyro_vae.inference.compiling.fx_capture import CapturedGraph
from pyro_vae.inference.compiling.softplus import use_fast_softplus

Compile = Literal["auto", "on", "off"]


def by_inductor(
    graph: CapturedGraph, *arguments: Tensor, cuda_graphs: bool = False
) -> Callable[..., Any]:
    """Return compiled code for a graph, with the same noise: torch's generators, in the same order.

    A library that a killed process left half-written in Inductor's cache is compiled again.

    Args:
        graph: the operations.
        arguments: its arguments; the code holds for their shapes.
        cuda_graphs: whether a GPU replays the code's kernels as one, which saves the time of launching
            them. The results then hold until the next call only.
    """
    try:
        return _compile(graph, arguments, cuda_graphs)
    except Exception as error:
        half_written = re.search(r"(/\S+\.so): (file too short|invalid ELF header)", str(error))
        if half_written is None:
            raise
        Path(half_written[1]).unlink(missing_ok=True)
        return _compile(graph, arguments, cuda_graphs)


def _compile(
    graph: CapturedGraph, arguments: Sequence[Tensor], cuda_graphs: bool
) -> Callable[..., Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about its own code
        from torch._inductor import config
        from torch._inductor.compile_fx import compile_fx
        from torch.fx.experimental.symbolic_shapes import ShapeEnv

        module = fx.GraphModule({}, copy.deepcopy(graph.module.graph))
        use_fast_softplus(module)
        options = {"fallback_random": True}
        if cuda_graphs and arguments[0].is_cuda:
            options["triton.cudagraphs"] = True
        # without an environment of shapes Inductor would not look for code that it has compiled before
        mode = FakeTensorMode(shape_env=ShapeEnv())
        inputs = [mode.from_tensor(x, static_shapes=True) for x in (*graph.tensors, *arguments)]
        with config.patch(options), torch.no_grad(), tracing(TracingContext(mode)):
            compiled: Any = compile_fx(module, inputs)
    return compiled


class SharedCode:
    """Compile graphs by Inductor, once for all graphs of the same operations and shapes."""

    def __init__(self) -> None:
        self._codes: dict[Any, Callable[..., Any]] = {}

    def __call__(self, graph: CapturedGraph, *arguments: Tensor) -> Callable[..., Any]:
        key = (graph.module.code, *map(layout, (*graph.tensors, *arguments)))
        if key not in self._codes:
            self._codes[key] = by_inductor(graph, *arguments)
        return self._codes[key]


def layout(tensor: Tensor) -> tuple[Any, ...]:
    """Return what code for a tensor depends on."""
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device
