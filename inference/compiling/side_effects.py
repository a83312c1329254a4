"""What a call changes in Python, which a graph of tensor operations would leave out."""

import pickle
import random
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyro_vae.inference.compiling.fx_capture import same_value

MAX_DEPTH, MAX_LENGTH = 6, 1000  # of objects and containers that are searched


def side_effect(function: Callable[[], Any], owners: Mapping[str, Any]) -> str | None:
    """Return a clause that names what every call of ``function`` changes in Python, or None.

    Parameters and buffers that are written in place do not count: a graph writes to them, too.

    Args:
        function: called three times; the caller restores generators and tensors.
        owners: the objects and functions to search, by name.
    """
    function()  # what only the first call does is no matter
    generators = random.getstate(), _numpy_state()
    before = dict(_held_values(owners))
    for device in {torch.device("cpu"), *(tensor.device for tensor in held_tensors(owners))}:
        torch.rand(8, device=device)  # other noise, so that a draw that is stored is seen to change
    function()
    if random.getstate() != generators[0]:
        return "it draws from Python's `random`"
    if _numpy_state() != generators[1]:
        return "it draws from NumPy's global generator"
    after = dict(_held_values(owners))
    for name in before.keys() | after.keys():
        if name not in before or name not in after or not _same(before[name], after[name]):
            return f"every run changes `{name}`"
    return None


def _numpy_state() -> bytes:
    return pickle.dumps(np.random.get_state())  # noqa: NPY002


def held_tensors(owners: Mapping[str, Any]) -> list[Tensor]:
    """Return the tensors that objects and functions hold."""
    return [value for _, value in _held_values(owners) if isinstance(value, Tensor)]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one is other or same_value(one, other)
    return bool(one is other or (type(one) is type(other) and one == other))


def _held_values(owners: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield paths and values of what objects and functions hold, where values can be compared."""
    visited: set[int] = set()

    def search(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
        if isinstance(value, bool | int | float | complex | str | bytes | None | Tensor):
            yield name, value
            return
        if depth == 0 or id(value) in visited or isinstance(value, type | types.ModuleType):
            return
        visited.add(id(value))
        if isinstance(value, np.ndarray):
            yield name, value.tobytes()
        elif isinstance(value, Mapping | list | tuple | set | frozenset):
            yield f"len({name})", len(value)
            if len(value) <= MAX_LENGTH and not isinstance(value, set | frozenset):
                pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
                for key, part in list(pairs):
                    yield from search(f"{name}[{key!r}]", part, depth - 1)
        else:
            for part_name, part in _parts(value):
                yield from search(f"{name}.{part_name}" if name else part_name, part, depth - 1)

    for name, owner in owners.items():
        yield from search(name, owner, MAX_DEPTH)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield an object's attributes; for a function, its closure and the globals that it names."""
    if isinstance(value, types.MethodType):
        yield from _parts(value.__func__)
        yield "self", value.__self__
    elif isinstance(value, types.FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                yield name, cell.cell_contents
            except ValueError:  # not yet filled
                continue
        for name in value.__code__.co_names:
            if name in value.__globals__:
                yield name, value.__globals__[name]
    elif isinstance(value, nn.Module):
        for path, module in value.named_modules():  # however deep a network is
            for name, part in _attributes(module):
                if name != "_modules":
                    yield f"{path}.{name}" if path else name, part
    else:
        yield from _attributes(value)


def _attributes(value: Any) -> list[tuple[str, Any]]:
    # a transform remembers its last result, to be found again by the identity of its input
    is_transform = isinstance(value, torch.distributions.Transform)
    attributes = list(getattr(value, "__dict__", {}).items())
    return [(n, p) for n, p in attributes if not (is_transform and n.startswith("_cache"))]
