"""Distributions inside distributions: events, masks, expansions, transforms and mixtures.

Whatever looks behind a ``base_dist`` does it by these functions.
"""

from collections.abc import Iterator
from typing import Any

import pyro.distributions as dist
from torch.distributions import Independent

Kinds = type | tuple[type, ...]
EVENTS_AND_MASKS = (Independent, dist.MaskedDistribution)  # they keep the shape of a draw
SHAPES_AND_MASKS = (*EVENTS_AND_MASKS, dist.ExpandedDistribution)


def layers(fn: Any, through: Kinds = EVENTS_AND_MASKS) -> Iterator[Any]:
    """Yield a distribution and what its wrappers hold, from outside in.

    Args:
        fn: a distribution.
        through: the kinds of wrapper to look into; ``object`` for all that have a ``base_dist``.

    >>> fn = dist.Normal(0.0, 1.0).expand([3]).mask(False).to_event(1)
    >>> [type(layer).__name__ for layer in layers(fn)]
    ['Independent', 'MaskedDistribution', 'Normal']
    """
    yield fn
    while isinstance(fn, through) and hasattr(fn, "base_dist"):
        fn = fn.base_dist
        yield fn


def inside(fn: Any, through: Kinds = EVENTS_AND_MASKS) -> Any:
    """Return the last of the :func:`layers`: by default, the distribution without events and masks."""
    *_, last = layers(fn, through)
    return last


def innermost(fn: Any) -> Any:
    """Return the distribution that all wrappers are put around, transforms among them."""
    return inside(fn, object)


def parts(fn: Any) -> Iterator[Any]:
    """Yield a distribution and every one that it is made of, with the two of a mixture."""
    yield fn
    for name in ("base_dist", "_component_distribution", "_mixture_distribution"):
        if name in vars(fn):
            yield from parts(vars(fn)[name])


def declared_events(fn: Any) -> int:
    """Return how many of the leftmost event dimensions ``to_event`` made, also around masks."""
    return sum(getattr(layer, "reinterpreted_batch_ndims", 0) for layer in layers(fn))


def rebuilt(fn: Any, other: Any) -> Any:
    """Return the events and masks of ``fn`` around another distribution.

    >>> fn = dist.Normal(0.0, 1.0).expand([3]).to_event(1)
    >>> rebuilt(fn, dist.Laplace(0.0, 1.0).expand([3])).event_shape
    torch.Size([3])
    """
    *wrappers, _ = layers(fn)
    for wrapper in reversed(wrappers):
        if isinstance(wrapper, dist.MaskedDistribution):
            other = other.mask(wrapper._mask)
        else:
            other = other.to_event(wrapper.reinterpreted_batch_ndims)
    return other


def own_masks(fn: Any) -> list[dist.MaskedDistribution]:
    """Return the masked layers of a distribution, whatever they take out."""
    return [layer for layer in layers(fn) if isinstance(layer, dist.MaskedDistribution)]


def without_masks(fn: Any) -> Any:
    """Return a distribution without the masks around it and within its events."""
    return inside(fn).to_event(declared_events(fn)) if own_masks(fn) else fn
