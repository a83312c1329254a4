"""Matrix products by oneDNN: larger ones in single precision, on a CPU with AVX-512 that is not Intel's.

It is up to twice as fast there as torch's own choice, but slower to start: MKL has AVX-512 code for Intel's
processors only. On those, MKL is a third faster, and with AVX2 alone a step by MKL takes a seventh less.
"""

import platform
from contextlib import AbstractContextManager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx
from torch._C._functorch import peek_interpreter_stack
from torch.nn import functional

from pyro_vae.inference.compiling.thread_patch import ThreadPatch

WORTH_ONEDNN = 2_000_000  # multiplications


def _onednn_linear(original: Any) -> Any:
    def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
        if _LINEAR.is_active and is_for_onednn(input, weight):
            return product(input, weight, bias)
        return original(input, weight, bias)

    return linear


# a `TorchFunctionMode` would be asked about every call of torch, which costs a twelfth of an evidence
_LINEAR = ThreadPatch(functional, "linear", _onednn_linear)


def linear_by_onednn() -> AbstractContextManager[None]:
    """Let layers inside take oneDNN's product, in this thread and where no gradient is computed."""
    return _LINEAR.active()


def is_for_onednn(input: Tensor, weight: Tensor) -> bool:
    return (
        input.is_cpu
        and input.dtype == weight.dtype == torch.float32
        and input.numel() * len(weight) >= WORTH_ONEDNN
        and weight.dim() == 2
        and input.shape[-1] == weight.shape[1]
        and type(input) is Tensor  # not a subclass
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and peek_interpreter_stack() is None  # functorch's, of vmap
        and is_faster()
    )


def is_faster() -> bool:
    """Return whether oneDNN can be had, and torch's own choice is not MKL with code for this processor."""
    available = torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)
    return available and not (
        torch.backends.mkl.is_available() and (is_intel() or not has_avx512())
    )


@cache
def is_intel() -> bool:
    """Return whether Intel made the processor."""
    with suppress(OSError):
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return "Intel" in platform.processor()


def has_avx512() -> bool:
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def product(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``input @ weight.T + bias``."""
    return torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")


# --- in graphs ----------------------------------------------------------------------------------

torch.library.define("pyro_vae::linear", "(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
torch.library.impl("pyro_vae::linear", "CPU")(product)


@torch.library.register_fake("pyro_vae::linear")  # type: ignore[untyped-decorator]
def _shape(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


def use_onednn(module: fx.GraphModule) -> None:
    """Hand the larger single-precision matrix products of a graph on the CPU to oneDNN."""
    if not is_faster():
        return
    aten, graph = torch.ops.aten, module.graph
    linear = torch.ops.pyro_vae.linear.default

    def transposed(node: Any) -> Any:
        return graph.call_function(aten.t.default, (node,))

    for node in list(graph.nodes):
        if node.target not in (aten.mm.default, aten.addmm.default) or node.kwargs:
            continue
        bias, a, b = node.args if len(node.args) == 3 else (None, *node.args)
        (rows, inner), (_, columns) = (x.meta["val"].shape for x in (a, b))
        like = a.meta["val"]
        small = rows * inner * columns < WORTH_ONEDNN
        if small or not like.is_cpu or like.dtype != torch.float32:
            continue
        if bias is not None and bias.meta["val"].shape != (columns,):
            continue
        with graph.inserting_before(node):
            if bias is None and rows > columns and inner > 500 and like.stride(0) == 1:
                # a gradient of weights: its transpose is faster, by more than the copy costs
                turned = transposed(graph.call_function(linear, (transposed(b), a, None)))
                product = graph.call_function(
                    aten.clone.default, (turned,), {"memory_format": torch.contiguous_format}
                )
            else:
                product = graph.call_function(linear, (a, transposed(b), bias))
        node.replace_all_uses_with(product)
        graph.erase_node(node)
    module.recompile()
