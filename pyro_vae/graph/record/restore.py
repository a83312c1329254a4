"""Takes back what a run does to the objects of the person whose program it is."""

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
    with (
        as_found(modules, function),
        _cleared(_log_factorial_cache),
        tensors_as_found(tensors, values),
    ):
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
