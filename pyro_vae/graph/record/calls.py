"""The arguments of a call, by the function's own names for them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils._pytree import keystr, tree_flatten_with_path

from pyro_vae.errors import InputError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Datum:
    """An argument of the call that holds numbers."""

    name: str
    shape: Shape
    dtype: str


def arguments_of(
    function: Callable[..., Any],
    names: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> dict[str, tuple[Any, Datum]]:
    """Every tensor and array among the arguments, by the argument's name and its place in it."""
    signature = _signature(function)
    if signature is None or any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        function = names
    found = {}
    for name, value in _bound(function, args, kwargs).items():
        for path, leaf in tree_flatten_with_path(value)[0]:
            if isinstance(leaf, Tensor | np.ndarray):
                full = name + keystr(path).replace("'", "")
                found[full] = (leaf, Datum(full, tuple(leaf.shape), str(leaf.dtype)))
    return found


def _bound(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments by the function's own names for them."""
    signature = _signature(function)
    if signature is None:
        return {**{f"args[{i}]": arg for i, arg in enumerate(args)}, **kwargs}
    named: dict[str, Any] = {}
    for name, value in signature.bind(*args, **kwargs).arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        else:
            named[name] = value
    return named


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    if isinstance(function, nn.Module):
        function = function.forward
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def check_call(
    part: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    signature = _signature(function)
    try:
        if signature is not None:
            signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise InputError(
            f"the {part} cannot be called like this: {error}. It is {name}{signature}; "
            "give its arguments as model_args=(...) or model_kwargs={...}"
        ) from error
