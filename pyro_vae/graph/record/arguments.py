"""The arguments of a call, by the function's own names for them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils._pytree import keystr, tree_flatten_with_path

from pyro_vae.errors import InputError
from pyro_vae.graph.graph import Shape


@dataclass(frozen=True)
class TensorArgument:
    """Hold the shape and dtype of a tensor or array among the arguments of a call."""

    name: str
    shape: Shape
    dtype: str


def tensor_arguments(
    function: Callable[..., Any],
    names: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> dict[str, tuple[Any, TensorArgument]]:
    """Return every tensor and array among the arguments, by the argument's name and its place in it."""
    signature = _signature(function)
    if signature is None or any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        function = names
    tensors = {}
    for name, value in _by_name(function, args, kwargs).items():
        for path, leaf in tree_flatten_with_path(value)[0]:
            if isinstance(leaf, Tensor | np.ndarray):
                full = name + keystr(path).replace("'", "")
                tensors[full] = (leaf, TensorArgument(full, tuple(leaf.shape), str(leaf.dtype)))
    return tensors


def _by_name(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments by their names."""
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


def check_arguments(
    role: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Check that the function takes such arguments.

    Raises:
        InputError: it does not.
    """
    signature = _signature(function)
    try:
        if signature is not None:
            signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise InputError(
            f"the {role} {name}{signature} does not take these arguments: {error}",
            subject=role,
            remedy="pass model_args=(...) or model_kwargs={...}",
        ) from error
