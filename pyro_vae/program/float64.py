"""A call in float64, for figures that rounding in float32 would decide."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_vae.program.bound_program import BoundProgram


@contextmanager
def in_float64(bound_program: BoundProgram) -> Iterator[BoundProgram]:
    """Give the call with its data, parameters, buffers and torch's default in float64; then restore all.

    Tensors that a program holds elsewhere keep their precision, so it may not run.
    """
    modules = bound_program.program.modules.values()
    held = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    held += [parameter for _, parameter in pyro.get_param_store().named_parameters()]
    before = {id(t): (t, t.data) for t in held if t.dtype == torch.float32}
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        for tensor, data in before.values():
            tensor.data = data.double()
        args = tuple(map(_in_float64, bound_program.args))
        yield replace(
            bound_program,
            args=args,
            kwargs={k: _in_float64(v) for k, v in bound_program.kwargs.items()},
        )
    finally:
        torch.set_default_dtype(default)
        for tensor, data in before.values():
            tensor.data = data


def _in_float64(argument: Any) -> Any:
    is_narrow = isinstance(argument, Tensor) and argument.dtype == torch.float32
    return argument.double() if is_narrow else argument
