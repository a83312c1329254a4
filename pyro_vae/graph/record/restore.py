"""Takes back what a run does to the objects of the person whose program it is."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pyro
import torch
from pyro.ops.special import _log_factorial_cache
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from pyro_vae.program.closures import reached
from pyro_vae.program.isolation import Undo, as_found


@contextmanager
def kept(
    function: Callable[..., Any], modules: Mapping[str, nn.Module], values: bool
) -> Iterator[None]:
    """Objects, containers, generators and tensors that ``function`` reaches are left as they were.

    :param values: whether the run computes on values: only then can it change a tensor's.
    """
    things = [thing for _, thing in reached(function)]
    roots = [*modules.values(), *(thing for thing in things if isinstance(thing, nn.Module))]
    tensors = [thing for thing in things if isinstance(thing, Tensor)]
    tensors += [p for module in roots for p in module.parameters()]
    tensors += pyro.get_param_store()._params.values()
    with ExitStack() as stack:
        stack.enter_context(as_found(modules, function))
        stack.enter_context(_cleared(_log_factorial_cache))
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
