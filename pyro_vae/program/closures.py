"""The objects that a function reaches: its owner, and those that its variables hold."""

import functools
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any

from pyro.poutine.messenger import _context_wrap
from pyro.poutine.reparam_messenger import ReparamHandler
from torch import nn

DEPTH = 3  # functions that call functions
_FUNCTIONS = (FunctionType, MethodType, functools.partial, ReparamHandler)


def unwrapped(function: Any) -> Any:
    """Return the function inside ``functools.partial`` and Pyro's handlers."""
    while isinstance(function, functools.partial | ReparamHandler):
        if isinstance(function, ReparamHandler):
            function = function.fn
        elif function.func is _context_wrap:
            function = function.args[1]
        else:
            function = function.func
    return function


def reached(function: Callable[..., Any], depth: int = DEPTH) -> Iterator[tuple[str, Any]]:
    """Yield each object with the name of the variable that holds it; a function's owner without one."""
    function = unwrapped(function)
    if not isinstance(function, _FUNCTIONS) and not isinstance(function, nn.Module | type):
        yield from _owner_and_attributes(function)
        function = type(function).__call__ if callable(function) else function
    owner = getattr(function, "__self__", None)
    if owner is not None and not isinstance(owner, ModuleType | type):
        yield from _owner_and_attributes(owner)
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None or depth == 0:
        return
    cells = zip(code.co_freevars, function.__closure__ or (), strict=False)
    values = {name: cell.cell_contents for name, cell in cells if _is_filled(cell)}
    values |= {n: function.__globals__[n] for n in code.co_names if n in function.__globals__}
    for name, value in values.items():
        if isinstance(value, _FUNCTIONS):
            yield from reached(value, depth - 1)
        elif not isinstance(value, ModuleType | type):
            yield from _with_inner_modules(name, value)


def _owner_and_attributes(owner: Any) -> Iterator[tuple[str, Any]]:
    yield "", owner
    if not isinstance(owner, nn.Module):
        for name, value in getattr(owner, "__dict__", {}).items():
            yield from _with_inner_modules(name, value)


def _with_inner_modules(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield a variable's value, and the modules in it if it is a container."""
    yield name, value
    items: Iterable[tuple[Any, Any]] = ()
    if type(value) is dict:
        items = value.items()
    elif type(value) in (list, tuple):
        items = enumerate(value)
    for key, inner in items:
        if isinstance(inner, nn.Module):
            yield f"{name}.{key}", inner


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises
    except ValueError:
        return False
    return True
