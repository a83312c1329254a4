"""Takes back what a run does to the objects of the person whose program it is."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import pyro
import torch
from pyro.ops.special import _log_factorial_cache
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from pyro_vae.program.closures import reached
from pyro_vae.program.isolation import as_found

DEPTH = 4  # objects in objects
MANY = 1000  # of a longer list the elements are data, not objects that keep something
_CONTAINERS = (list, dict, set)
_CODE = (type, ModuleType, FunctionType, MethodType)
Undo = Callable[[], Any]


@contextmanager
def kept(
    function: Callable[..., Any], modules: Mapping[str, nn.Module], values: bool
) -> Iterator[None]:
    """Objects, containers, generators and tensors that ``function`` reaches are left as they were.

    :param values: whether the run computes on values: only then can it change a tensor's.
    """
    found = {id(thing): thing for _, thing in reached(function)}
    roots = {str(i): thing for i, thing in found.items() if isinstance(thing, nn.Module)}
    roots |= {f"root {name}": module for name, module in modules.items()}
    tensors = [thing for thing in found.values() if isinstance(thing, Tensor)]
    tensors += [p for module in roots.values() for p in module.parameters()]
    tensors += pyro.get_param_store()._params.values()
    with ExitStack() as stack:
        stack.enter_context(as_found(roots))
        stack.enter_context(_cleared(_log_factorial_cache))
        for undo in _of_objects([*found.values(), *modules.values()]):
            stack.callback(undo)
        for tensor in {id(t): t for t in tensors}.values():
            if not nn.parameter.is_lazy(tensor) and not tensor.is_inference():
                stack.callback(_of_tensor(tensor, values))
        yield


@contextmanager
def _cleared(cache: dict[int, Any]) -> Iterator[None]:
    """A cache of Pyro's by a tensor's identity, which must not remember what a run on shapes has made."""
    before = dict(cache)
    cache.clear()
    try:
        yield
    finally:
        cache.clear()
        cache.update(before)


def _of_objects(things: Iterable[Any]) -> Iterator[Undo]:
    """What puts each object back, and the objects that it holds; a module's own state is left out."""
    todo = [(thing, DEPTH) for thing in things]
    seen: set[int] = set()
    while todo:
        thing, depth = todo.pop()
        if id(thing) in seen or isinstance(thing, (*_CODE, Tensor)):
            continue
        seen.add(id(thing))
        yield from _of_generator(thing)
        contents = thing if isinstance(thing, _CONTAINERS) else getattr(thing, "__dict__", None)
        if not isinstance(contents, _CONTAINERS):
            continue
        if not isinstance(thing, nn.Module):
            yield partial(_refill, contents, contents.copy())
        if depth and len(contents) <= MANY:
            inner = contents.values() if isinstance(contents, dict) else contents
            todo += [(each, depth - 1) for each in inner]


def _refill(container: Any, contents: Any) -> None:
    container.clear()
    (container.extend if isinstance(container, list) else container.update)(contents)


def _of_generator(thing: Any) -> Iterator[Undo]:
    if isinstance(thing, torch.Generator):
        yield partial(thing.set_state, thing.get_state())
    elif isinstance(thing, np.random.Generator):
        yield partial(setattr, thing.bit_generator, "state", thing.bit_generator.state)
    elif isinstance(thing, np.random.RandomState):
        yield partial(thing.set_state, thing.get_state())
    elif isinstance(thing, random.Random):
        yield partial(thing.setstate, thing.getstate())


def _of_tensor(tensor: Tensor, values: bool) -> Undo:
    """What puts back a tensor's value, its gradient and whether it wants one."""
    version, wants = tensor._version, tensor.requires_grad
    value = tensor.detach().clone() if values else None
    grad = tensor.grad if tensor.is_leaf else None
    of_grad = None if grad is None else grad.clone()

    def undo() -> None:
        with torch.no_grad():
            if value is not None and tensor._version != version:
                tensor.copy_(value)
            if tensor.is_leaf:
                tensor.requires_grad_(wants)
                tensor.grad = grad
            if grad is not None and of_grad is not None:
                grad.copy_(of_grad)

    return undo


def copies(given: Any, values: bool) -> Any:
    """The arguments of a call for one run, which may write to them.

    Without ``values`` nothing is written to a tensor, and an alias does.
    """

    def copied(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            return leaf.copy()
        if type(leaf) is not Tensor:
            return leaf
        copy = leaf.detach().clone() if values else leaf.detach()
        return copy.requires_grad_() if values and leaf.requires_grad else copy

    return tree_map_only((Tensor, np.ndarray), copied, given)
