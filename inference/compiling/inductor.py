"""A captured graph compiled by Inductor, torch's compiler."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from pyro_vae.inference.compiling.fx_capture import CapturedGraph


def by_inductor(graph: CapturedGraph, *arguments: Tensor) -> Callable[..., Any]:
    """Return compiled code for a graph, with the same noise: torch's generators, in the same order."""
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx

    module = fx.GraphModule({}, copy.deepcopy(graph.module.graph))
    is_cuda = arguments[0].is_cuda
    options = {"fallback_random": True, **({"triton.cudagraphs": True} if is_cuda else {})}
    with config.patch(options), torch.no_grad():
        compiled: Any = compile_fx(module, [*graph.tensors, *arguments])
    return compiled
