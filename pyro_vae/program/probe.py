"""Running a program again with other latents, data or order, and saying whose score moved.

One tolerance tells a score that has moved from rounding: a thousandth of a nat, and 1e-5 of the score
itself. Sums of thousands of float32 terms, taken in another order or in a larger matrix product, differ
by less; what moves a unit's figure by less is not seen. Where all is computed in float64 for that purpose
(``fine``), it is a millionth of that, so that what hardly counts at the first parameters is seen, too.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, cast

import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import biject_to

from pyro_vae.errors import InputError
from pyro_vae.program.log_prob import unit_log_prob
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import Site, innermost, latent_sites, sample_sites
from pyro_vae.program.wrappers import without_masks

ABSOLUTE, RELATIVE = 1e-3, 1e-5
TRIES = 30
JITTER = 0.5  # of unconstrained numbers


FINE = 1e-6


def moves(before: Tensor, after: Tensor, fine: bool = False) -> Tensor:
    """Where a score is another one, elementwise; both NaN, or the same infinity, are none."""
    before, after = torch.broadcast_tensors(before, after)
    same = (before == after) | (before.isnan() & after.isnan())
    leeway = (ABSOLUTE + RELATIVE * before.abs()) * (FINE if fine else 1.0)
    return ~(same | (before.isfinite() & ((before - after).abs() <= leeway)))


def site_scores(trace: poutine.Trace, structure: Structure) -> dict[str, Tensor]:
    """The log-probability of each site, (K or 1, U) each, masked, never scaled."""
    return {
        name: unit_log_prob(site, structure).detach() for name, site in sample_sites(trace).items()
    }


def moved_sites(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], fine: bool = False
) -> list[str]:
    """The sites of which a score has moved, or that are on one side only."""
    both = before.keys() & after.keys()
    return [
        name
        for name in dict.fromkeys([*before, *after])
        if name not in both or bool(moves(before[name], after[name], fine).any())
    ]


def all_latents(guide: poutine.Trace, model: poutine.Trace) -> poutine.Trace:
    """Everything that was drawn, to replay: also what the model alone draws, to be summed out."""
    latents = guide.copy()
    for name, site in latent_sites(model).items():
        latents.nodes.setdefault(name, cast(Any, site))
    return latents


def _replaced(fn: Any, value: Tensor, drawn: Tensor, others: Iterable[Tensor]) -> Tensor:
    """Draws with others in the place of those that are the value itself."""
    own = len(innermost(fn).event_shape)  # dimensions of a single draw: a class as a vector, say
    for other in others:
        same = (drawn == value).reshape(*drawn.shape[: drawn.dim() - own], -1).all(-1)
        drawn = torch.where(same.reshape(same.shape + (1,) * own), other, drawn)
    return drawn


def other_value(site: Site) -> Tensor:
    """Another value of a site within its support, of the same shape."""
    value: Tensor = site["value"]
    fn = without_masks(site["fn"])
    with suppress(NotImplementedError, ValueError, RuntimeError):
        drawn: Tensor = fn.sample()
        if fn.support.is_discrete:  # a draw may well be the same once more
            drawn = _replaced(fn, value, drawn, (fn.sample() for _ in range(TRIES)))
            with suppress(NotImplementedError):
                drawn = _replaced(fn, value, drawn, fn.enumerate_support(expand=True))
        if drawn.shape == value.shape:
            return drawn
    try:
        onto = biject_to(fn.support)
        raw = onto.inv(value)
        return onto(raw + JITTER * (1 + torch.rand_like(raw)))
    except (NotImplementedError, ValueError, RuntimeError) as error:
        raise InputError(
            f"site {site['name']!r} ({fn}) can be given no other value, so nothing tells whether other "
            "sites depend on it"
        ) from error
