"""The arguments of the one call that stands in place of data."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pyro_vae.errors import InputError


def call_arguments(data: Any, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and named arguments of a call, checked.

    Raises:
        InputError: ``data`` are given too, or nothing is given; ``args`` is not a tuple or ``kwargs`` not
            a mapping; the arguments hold no values.
    """
    if data is not None or (args is None and kwargs is None):
        raise InputError(
            "the program needs either data, or args and kwargs to be called with as they are",
            subject="data",
            remedy="pass one of them (args=() where the program takes none)",
        )
    if args is not None and not isinstance(args, tuple | list):
        raise InputError(
            f"args must be a tuple of the program's arguments, not {type(args).__name__}",
            subject="args",
            expected="a tuple of the program's arguments",
            remedy="pass args=(x,)",
        )
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise InputError(
            f"kwargs must be a mapping of names to arguments, not {type(kwargs).__name__}",
            subject="kwargs",
            expected="a mapping of names to arguments",
            remedy='pass kwargs={"x": x}',
        )
    args, kwargs = tuple(args or ()), dict(kwargs or {})
    tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
    if tensors and not any(tensor.numel() for tensor in tensors):
        raise InputError(
            f"the data hold no values: their shape is {tuple(tensors[0].shape)}", subject="data"
        )
    return args, kwargs
