"""Takes back what a run does to the objects of the person whose program it is."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from pyro_vae.graph.reach import reached
from pyro_vae.isolation import as_found

_CONTAINERS = (list, dict, set)


@contextmanager
def kept(
    function: Callable[..., Any], modules: Mapping[str, nn.Module], values: bool
) -> Iterator[None]:
    """Objects, containers and tensors that ``function`` reaches are afterwards as they were.

    :param values: whether the run computes on values: only then can it change a tensor's.
    """
    things = {id(thing): thing for _, thing in reached(function)}.values()
    found = {str(i): thing for i, thing in enumerate(things) if isinstance(thing, nn.Module)}
    found |= {f"root {name}": module for name, module in modules.items()}
    tensors = [thing for thing in things if isinstance(thing, Tensor)]
    tensors += [p for module in found.values() for p in module.parameters()]
    tensors += pyro.get_param_store()._params.values()
    with ExitStack() as stack:
        stack.enter_context(as_found(found))
        for thing in things:
            if isinstance(thing, _CONTAINERS):
                stack.callback(_refill, thing, thing.copy())
            elif type(getattr(thing, "__dict__", None)) is dict and not _is_code(thing):
                stack.callback(_refill, vars(thing), vars(thing).copy())
                for held in vars(thing).values():
                    if isinstance(held, _CONTAINERS):
                        stack.callback(_refill, held, held.copy())
        for tensor in {id(t): t for t in tensors}.values():
            if not nn.parameter.is_lazy(tensor) and not tensor.is_inference():
                stack.callback(_restore, tensor, *_state(tensor, values))
        yield


def _is_code(thing: Any) -> bool:
    return isinstance(thing, nn.Module | FunctionType | MethodType)


def _refill(container: Any, contents: Any) -> None:
    container.clear()
    (container.extend if isinstance(container, list) else container.update)(contents)


def _state(tensor: Tensor, values: bool) -> tuple[Any, ...]:
    grad = tensor.grad if tensor.is_leaf else None
    value = tensor.detach().clone() if values else None
    return tensor._version, value, tensor.requires_grad, grad, grad is not None and grad.clone()


def _restore(
    tensor: Tensor, version: int, value: Tensor | None, requires_grad: bool, grad: Any, of_grad: Any
) -> None:
    with torch.no_grad():
        if value is not None and tensor._version != version:
            tensor.copy_(value)
        if tensor.is_leaf:
            tensor.requires_grad_(requires_grad)
            tensor.grad = grad
            if grad is not None:
                grad.copy_(of_grad)


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
