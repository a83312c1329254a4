"""Cheaper matrix products for training; memory and all else stay float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

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
    """:raises InputError: there is no such precision there."""
    if precision not in get_args(Precision):
        raise InputError(f"precision must be one of {get_args(Precision)}, not {precision!r}")
    if precision == "tf32" and device.type != "cuda":
        raise InputError(f"TF32 is a format of CUDA devices: on the {device.type} take 'bf16'")


def use_bfloat16(module: fx.GraphModule) -> None:
    """Rounds what a graph's products and convolutions of float32 take and give, as autocast does."""
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
        if (
            node.target is aten.convolution_backward.default
        ):  # three gradients, each taken by number
            outputs = [(user, list(user.users)) for user in users]
        else:
            outputs = [(node, users)]
        for output, takers in outputs:
            with graph.inserting_after(output):
                back = cast(output, torch.float32)
            for taker in takers:
                taker.replace_input_with(output, back)
    module.recompile()


def is_float32(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dtype == torch.float32


@contextmanager
def on_cuda(fp32_precision: Literal["tf32", "ieee"]) -> Iterator[None]:
    """What products and convolutions of CUDA devices make of float32, where torch's default differs."""
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
