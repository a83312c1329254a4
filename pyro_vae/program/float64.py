"""A call in float64, whatever a program's own precision: for what rounding would decide otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_vae.program.bound_program import BoundProgram


@contextmanager
def in_float64(call: BoundProgram) -> Iterator[BoundProgram]:
    """The call with its data, its parameters and buffers, and what torch makes by default in float64.

    What a program holds elsewhere stays as it is, so whether it runs at all has to be tried. Afterwards
    all is as it was.
    """
    modules = call.program.modules.values()
    held = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    held += [parameter for _, parameter in pyro.get_param_store().named_parameters()]
    before = {id(t): (t, t.data) for t in held if t.dtype == torch.float32}
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        for tensor, data in before.values():
            tensor.data = data.double()
        args = tuple(map(_widened, call.args))
        yield replace(call, args=args, kwargs={k: _widened(v) for k, v in call.kwargs.items()})
    finally:
        torch.set_default_dtype(default)
        for tensor, data in before.values():
            tensor.data = data


def _widened(argument: Any) -> Any:
    is_narrow = isinstance(argument, Tensor) and argument.dtype == torch.float32
    return argument.double() if is_narrow else argument
