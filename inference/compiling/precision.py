"""Cheaper matrix products for training; memory and everything else stay float32."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, fx

from pyro_vae.errors import InputError

Precision = Literal["float32", "tf32", "bf16"]

aten = torch.ops.aten
PRODUCTS = {
    aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default,
    aten.convolution.default, aten.convolution_backward.default,
}  # fmt: skip


def check_precision(precision: str, device: torch.device) -> None:
    """Check that a device has a precision.

    Raises:
        InputError: it has not.
    """
    if precision == "tf32" and device.type != "cuda":
        raise InputError(
            f"precision='tf32' is a format of CUDA devices, and this one is the {device.type}",
            subject="precision",
            expected="'float32' or 'bf16'",
            remedy="take 'bf16'",
        )
    if precision == "bf16" and not has_bfloat16(device):
        raise InputError(
            "precision='bf16' would be slower here: the processor does not multiply bfloat16 numbers",
            subject="precision",
            expected="'float32'",
            remedy="take 'float32'",
        )


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 numbers and sums the products in float32.

    Without AVX-512, torch multiplies them on a CPU by loops that are slow and round the sums, too.
    """
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


def use_bfloat16(module: fx.GraphModule) -> None:
    """Round inputs and outputs of a graph's float32 products and convolutions, as autocast does."""
    graph = module.graph

    def cast(node: Any, dtype: torch.dtype) -> Any:
        to = graph.call_function(aten._to_copy.default, (node,), {"dtype": dtype})
        to.meta = {"val": node.meta["val"].to(dtype)} if "val" in node.meta else {}
        return to

    for node in list(graph.nodes):
        if node.target not in PRODUCTS or not all(map(is_float32, node.all_input_nodes)):
            continue
        with graph.inserting_before(node):
            rounded = {n: cast(n, torch.bfloat16) for n in node.all_input_nodes}
        users = list(node.users)
        node.args = fx.map_arg(node.args, rounded.__getitem__)
        outputs = [(node, users)]
        if node.target is aten.convolution_backward.default:  # three gradients, taken by index
            outputs = [(user, list(user.users)) for user in users]
        for output, readers in outputs:
            with graph.inserting_after(output):
                wide = cast(output, torch.float32)
            for reader in readers:
                reader.replace_input_with(output, wide)
    module.recompile()


def is_float32(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dtype == torch.float32


def multiplying_in(precision: Precision) -> AbstractContextManager[None]:
    """Return a context for steps in a precision; only TF32 is a setting of the device."""
    return on_cuda("tf32") if precision == "tf32" else nullcontext()


@contextmanager
def on_cuda(fp32_precision: Literal["tf32", "ieee"]) -> Iterator[None]:
    """Set what CUDA devices make of float32 products and convolutions, where torch's defaults differ."""
    cudnn: Any = torch.backends.cudnn
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = fp32_precision
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
