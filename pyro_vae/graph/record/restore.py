"""A run that leaves the objects of a user's program as it found them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyro
from pyro.ops.special import _log_factorial_cache
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from pyro_vae.program.closures import reached
from pyro_vae.program.isolation import as_found, tensors_as_found


@contextmanager
def restored(
    function: Callable[..., Any], modules: Mapping[str, nn.Module], values: bool
) -> Iterator[None]:
    """Restore the objects, containers, generators and tensors that a function reaches, after the block.

    Args:
        function: a model or guide.
        modules: the program's modules.
        values: whether the run computes on values; a run on shapes cannot change a tensor.
    """
    things = [thing for _, thing in reached(function)]
    roots = [*modules.values(), *(thing for thing in things if isinstance(thing, nn.Module))]
    tensors = [thing for thing in things if isinstance(thing, Tensor)]
    tensors += [p for module in roots for p in module.parameters()]
    tensors += pyro.get_param_store()._params.values()
    with (
        as_found(modules, function),
        _cleared(_log_factorial_cache),
        tensors_as_found(tensors, values),
    ):
        yield


@contextmanager
def _cleared(cache: dict[int, Any]) -> Iterator[None]:
    """Empty a cache that Pyro keys by a tensor's identity: it must not hold results of a run on shapes."""
    before = dict(cache)
    cache.clear()
    try:
        yield
    finally:
        cache.clear()
        cache.update(before)


def copies(given: Any, values: bool) -> Any:
    """Return the arguments of a call for one run, which may write to them.

    Without ``values`` the run cannot write to a tensor, so an alias is enough.
    """

    def copied(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            return leaf.copy()
        if type(leaf) is not Tensor:
            return leaf
        copy = leaf.detach().clone() if values else leaf.detach()
        return copy.requires_grad_() if values and leaf.requires_grad else copy

    return tree_map_only((Tensor, np.ndarray), copied, given)
