"""Torch operations on shapes alone: the result is a meta tensor, and arithmetic is rare.

torch's own meta kernels would do, but the first one imports the compiler stack, which takes a second.
Most operations need none: pointwise ones run on single elements and broadcast, views are free, matrix
products have a formula, and small operations run on constants.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_iter, tree_map_only

SMALL = 1_000_000  # numbers in and out; runs in a millisecond or so


def on_shapes(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Return what ``func`` would return, as meta tensors of the right shapes and dtypes."""
    schema = func._schema
    if all(r.alias_info is not None and r.alias_info.is_write for r in schema.returns):
        return _written(schema, args, kwargs)
    if torch.Tag.pointwise in func.tags:
        return _pointwise(func, args, kwargs)
    name = func.overloadpacket.__name__
    if name in PRODUCTS:
        return PRODUCTS[name](*args)
    if not func.is_view and _num_elements(args, kwargs) <= SMALL:
        try:
            stand_in = tree_map_only(Tensor, _constant, (args, kwargs))
            return tree_map_only(Tensor, as_meta, func(*stand_in[0], **on_cpu(stand_in[1])))
        except RuntimeError:  # a matrix of ones has no Cholesky factor, say
            pass
    if any(a.name == "device" for a in schema.arguments):
        kwargs = {**kwargs, "device": "meta"}
    args, kwargs = tree_map_only(Tensor, as_meta, (args, kwargs))
    return func(*args, **kwargs)


def as_meta(tensor: Tensor) -> Tensor:
    """Return a tensor of the same shape, strides and dtype without numbers."""
    if tensor.device.type == "meta" or tensor.layout != torch.strided:
        return tensor
    return _empty(tensor.shape, tensor.dtype, tensor.stride())


def _empty(shape: Sequence[int], dtype: torch.dtype, stride: Sequence[int] | None = None) -> Tensor:
    if stride is None:
        return torch.empty(shape, dtype=dtype, device="meta")
    return torch.empty_strided(shape, stride, dtype=dtype, device="meta")


def _constant(tensor: Tensor) -> Tensor:
    """Return a CPU tensor of this shape that holds one number: 1, or the index 0."""
    fill = 1 if tensor.is_floating_point() or tensor.is_complex() else 0
    return torch.full((), fill, dtype=tensor.dtype).expand(tensor.shape)


def _pointwise(func: Any, args: Any, kwargs: Any) -> Any:
    tensors = [t for t in tree_iter((args, kwargs)) if isinstance(t, Tensor)]
    shape = np.broadcast_shapes(*(tuple(t.shape) for t in tensors))

    def one(tensor: Tensor) -> Tensor:  # keeps the rank, which decides the type of the result
        return torch.ones((1,) * tensor.dim(), dtype=tensor.dtype)

    args, kwargs = tree_map_only(Tensor, one, (args, kwargs))
    result = func(*args, **on_cpu(kwargs))
    return tree_map_only(Tensor, lambda t: _empty(shape, t.dtype), result)


def _written(schema: Any, args: Any, kwargs: Any) -> Any:
    """Return what an operation writes to, in place or to ``out=``."""
    named = {a.name: value for a, value in zip(schema.arguments, args, strict=False)} | kwargs
    results = tuple(
        named[a.name]
        for a in schema.arguments
        if a.alias_info is not None and a.alias_info.is_write
    )
    return results[0] if len(results) == 1 else results or None


def is_small(args: Any, kwargs: Any) -> bool:
    """Return whether an operation takes no time, and needs no device but the CPU."""
    tensors = (t for t in tree_iter((args, kwargs)) if isinstance(t, Tensor))
    places = {str(kwargs.get("device") or "cpu"), *(t.device.type for t in tensors)}
    return places <= {"cpu", "meta"} and _num_elements(args, kwargs) <= SMALL


def _num_elements(args: Any, kwargs: Any) -> float:
    """Return how many numbers go in, or come out where an argument is a size."""
    counts = [t.numel() for t in tree_iter((args, kwargs)) if isinstance(t, Tensor)]
    sizes = [a for a in args if isinstance(a, list | tuple) and all(type(n) is int for n in a)]
    return sum(counts) + sum(math.prod(size) for size in sizes)


def on_cpu(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of an operation that makes a tensor, with the CPU as its device."""
    return {**kwargs, "device": "cpu"} if "device" in kwargs else kwargs


def _convolution(x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
    _, stride, padding, dilation, transposed, output_padding, groups = rest
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    sizes = []
    for i, (size, kernel) in enumerate(zip(x.shape[2:], weight.shape[2:], strict=True)):
        s, p, d, o = (v[i % len(v)] for v in (stride, padding, dilation, output_padding))
        reach = d * (kernel - 1)
        if transposed:
            sizes.append((size - 1) * s - 2 * p + reach + o + 1)
        else:
            sizes.append((size + 2 * p - reach - 1) // s + 1)
    return _empty((x.shape[0], channels, *sizes), x.dtype)


def _product(a: Tensor, b: Tensor) -> Tensor:
    if a.shape[-1] != b.shape[-2]:
        shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({shapes})")
    return _empty((*a.shape[:-1], b.shape[-1]), a.dtype)


PRODUCTS: dict[str, Callable[..., Tensor]] = {
    "mm": _product,
    "bmm": _product,
    "addmm": lambda bias, a, b: _product(a, b),
    "baddbmm": lambda bias, a, b: _product(a, b),
    "convolution": _convolution,
}
