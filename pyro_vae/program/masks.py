"""Masks: where the log-probability of a site counts."""

from collections.abc import Container
from typing import Any, cast

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.program.trace import Site
from pyro_vae.program.wrappers import own_masks, without_masks


def mask_of(site: Site) -> Tensor:
    """Return where a site's log-probability counts, by ``poutine.mask`` or its distribution's masks.

    The mask broadcasts to the value's shape, ``batch | event``.
    """

    def over_events(mask: Any, event_dim: int) -> Tensor:
        device = site["value"].device
        if isinstance(mask, bool):  # made on the device: a copy to it is waited for
            mask = torch.full((), mask, device=device)
        mask = torch.as_tensor(mask, device=device)
        return cast(Tensor, mask.reshape(mask.shape + (1,) * event_dim))

    fn = site["fn"]
    mask = over_events(True if site["mask"] is None else site["mask"], fn.event_dim)
    for masked in own_masks(fn):
        mask = mask & over_events(masked._mask, masked.event_dim)
    return mask


def has_mask(site: Site) -> bool:
    """Return whether a site is masked, whatever the mask takes out."""
    return site["mask"] is not None or bool(own_masks(site["fn"]))


def unmask(site: Site) -> None:
    """Let a site's log-probability count everywhere."""
    site["mask"], site["fn"] = None, without_masks(site["fn"])


def unmask_sites(trace: poutine.Trace, names: Container[str]) -> poutine.Trace:
    """Return a copy of a trace in which some sites count everywhere."""
    copy = trace.copy()
    for name, site in trace.nodes.items():
        if name in names:
            unmasked = cast(Site, dict(site))
            unmask(unmasked)
            copy.nodes[name] = cast(Any, unmasked)
    return copy
