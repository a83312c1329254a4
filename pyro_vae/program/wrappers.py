"""Where a site's log-probability counts."""

from collections.abc import Container, Iterator
from typing import Any, cast

import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.program.trace import Site


def mask_of(site: Site) -> Tensor:
    """Where a site's log-probability counts, by ``poutine.mask`` or its distribution's own masks.

    It broadcasts to the value's shape, ``batch | event``.
    """

    def over_events(mask: Any, event_dim: int) -> Tensor:
        mask = torch.as_tensor(mask, device=site["value"].device)
        return cast(Tensor, mask.reshape(mask.shape + (1,) * event_dim))

    fn = site["fn"]
    mask = over_events(True if site["mask"] is None else site["mask"], fn.event_dim)
    for part in _masked_parts(fn):
        mask = mask & over_events(part._mask, part.event_dim)
    return mask


def has_own_mask(fn: Any) -> bool:
    """Whether a distribution has a mask of its own, whatever it takes out."""
    return any(True for _ in _masked_parts(fn))


def _masked_parts(fn: Any) -> Iterator[Any]:
    """The masked distributions that a distribution is made of, from outside in."""
    while isinstance(fn, dist.Independent | dist.MaskedDistribution):
        if isinstance(fn, dist.MaskedDistribution):
            yield fn
        fn = fn.base_dist


def unmask(site: Site) -> None:
    """Lets a site's log-probability count everywhere."""
    site["mask"], site["fn"] = None, without_masks(site["fn"])


def without_masks(fn: Any) -> Any:
    """A distribution without the masks around it and within its events."""
    if isinstance(fn, dist.MaskedDistribution):
        return without_masks(fn.base_dist)
    if isinstance(fn, dist.Independent):
        return without_masks(fn.base_dist).to_event(fn.reinterpreted_batch_ndims)
    return fn


def unmask_sites(trace: poutine.Trace, names: Container[str]) -> poutine.Trace:
    """A copy of a trace in which some sites count everywhere."""
    copy = trace.copy()
    for name, site in trace.nodes.items():
        if name in names:
            there = cast(Site, dict(site))
            unmask(there)
            copy.nodes[name] = cast(Any, there)
    return copy
