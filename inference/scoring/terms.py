"""What the score of a row is made of: rate, distortion, and the part of each observed value."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions import Independent

from pyro_vae.inference.evidence.tiles import Tiles
from pyro_vae.inference.scoring.common_draws import TOGETHER
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.log_prob import score, unvalidated
from pyro_vae.program.particles import (
    LogProbs,
    of_particles,
    score_model,
    with_values,
)
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import Site, is_factor, observed_sites, proposal_sites
from pyro_vae.program.wrappers import inside
from pyro_vae.progress import progress_bar

BYTES = 2**26  # of the parts of a block, in float32
ONE_BY_ONE = 64  # runs of a program that takes one particle at a time


@dataclass(frozen=True)
class Terms:
    """Hold what scores are made of, for each of N rows, in nats.

    Attributes:
        rate: E_q [log q(z | x) - log p(z)], (N,).
        distortion: -E_q log p(x | z), (N,).
        rate_error: its Monte-Carlo standard error, (N,).
        distortion_error: likewise.
        parts: by observed site, -log p(x_j | z) of each value j: its mean over the posterior, from weighted
            draws; ``N | event``, or (N,) where the values of a site are not independent given z.
        guide_parts: the same by the mean over the guide.
    """

    rate: Tensor
    distortion: Tensor
    rate_error: Tensor
    distortion_error: Tensor
    parts: Mapping[str, Tensor]
    guide_parts: Mapping[str, Tensor]


def terms_of(tiles: Tiles, num_particles: int, progress: bool | None) -> Terms:
    """Estimate the terms of all rows by draws of the guide."""
    done = []
    with progress_bar(tiles.num_units, progress, "unit", delay=1) as bar:
        for call in tiles:
            done.append(_terms(call, num_particles))
            bar.update(call.structure.num_units)

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(terms, name) for terms in done])

    def parts(name: str) -> dict[str, Tensor]:
        sites = getattr(done[0], name)
        return {site: torch.cat([getattr(t, name)[site] for t in done]) for site in sites}

    return Terms(
        joined("rate"),
        joined("distortion"),
        joined("rate_error"),
        joined("distortion_error"),
        parts("parts"),
        parts("guide_parts"),
    )


@dataclass(frozen=True)
class _Block(LogProbs):
    """Some particles, (K, U), with the log-probability of each value, by site, ``K or 1, U | event``."""

    values: dict[str, Tensor]


def _terms(call: BoundProgram, num_particles: int) -> Terms:
    units = call.structure.num_units
    sums: dict[str, Tensor] = {}
    rates, distortions = [], []
    guide_sums: dict[str, Tensor] = {}
    top = torch.full((units,), -math.inf, dtype=torch.float64, device=call.device)
    total, count = torch.zeros_like(top), 0
    for block in _blocks(call, num_particles):
        log_weights = block.log_weights.double().nan_to_num(nan=-math.inf)
        count += len(log_weights)
        rates.append(block.rate.double())
        distortions.append(-block.log_likelihood.double())
        new_top = torch.maximum(top, log_weights.amax(0))
        shift = torch.where(new_top == -math.inf, 0.0, new_top)
        shrink, weights = (top - shift).exp(), (log_weights - shift).exp()
        top, total = new_top, total * shrink + weights.sum(0)
        for name, value in block.values.items():
            values = value.double().expand(len(weights), *value.shape[1:])
            weighted = torch.einsum("ku...,ku->u...", -values.nan_to_num(), weights)
            plain = -values.sum(0)
            if name in sums:
                weighted = weighted + sums[name] * _like(shrink, weighted)
                plain = plain + guide_sums[name]
            sums[name], guide_sums[name] = weighted, plain
    rate, distortion = torch.cat(rates), torch.cat(distortions)
    return Terms(
        rate.mean(0).cpu(),
        distortion.mean(0).cpu(),
        _error(rate),
        _error(distortion),
        {name: (x / _like(total, x)).cpu() for name, x in sums.items()},
        {name: (x / count).cpu() for name, x in guide_sums.items()},
    )


def _like(x: Tensor, other: Tensor) -> Tensor:
    return x.reshape(-1, *(1,) * (other.dim() - 1))


def _error(draws: Tensor) -> Tensor:
    if len(draws) < 2:
        return torch.zeros_like(draws[0]).cpu()
    return (draws.std(0) / math.sqrt(len(draws))).cpu()


def _blocks(call: BoundProgram, num_particles: int) -> Iterator[_Block]:
    structure = call.structure
    if not call.vectorized:
        for _ in range(min(num_particles, ONE_BY_ONE)):
            yield _weighed(call.single(), call.single().guide(1), 1)
        return
    for first in range(0, num_particles, TOGETHER):
        together = min(TOGETHER, num_particles - first)
        guide = call.guide(together)
        log_guide = score(proposal_sites(guide).values(), structure, together)
        step = max(1, BYTES // (4 * structure.num_units * _values_per_unit(call)))
        for start in range(0, together, step):
            some = range(together)[start : start + step]
            given = with_values(guide, partial(of_particles, structure=structure, some=some))
            yield _weighed(call, given, len(some), log_guide[some.start : some.stop])


def _values_per_unit(call: BoundProgram) -> int:
    examined = call.examined
    if examined is None:
        return 1000
    sites = observed_sites(examined.model).values()
    return max(1, sum(site["value"].numel() for site in sites) // call.structure.num_units)


def _weighed(
    call: BoundProgram, guide: poutine.Trace, count: int, log_guide: Tensor | None = None
) -> _Block:
    structure = call.structure
    if log_guide is None:
        log_guide = score(proposal_sites(guide).values(), structure, count)
    joint = call.joint(count, guide)
    log_likelihood, log_prior = score_model(joint, structure, count)
    observed = {n: s for n, s in observed_sites(joint).items() if not is_factor(s)}
    if structure.enumerated:
        values = {" and ".join(observed): log_likelihood}
    else:
        values = {name: value_log_probs(site, structure) for name, site in observed.items()}
    return _Block(log_likelihood, log_prior, log_guide, values)


def value_log_probs(site: Site, structure: Structure) -> Tensor:
    """Return the log-probability of each value of a site, ``K or 1, U | event``, masked.

    Values that are not independent given the latents have one together, (K or 1, U). A distribution of
    such values may have a method ``by_value(value)`` that divides its log-probability among them.
    """
    fn = site["fn"]
    base = inside(fn, Independent)
    event_dim = fn.event_dim - base.event_dim
    divide = getattr(base, "by_value", None)
    if divide is not None:
        event_dim = fn.event_dim
    with unvalidated(fn):
        log_probs = base.log_prob(site["value"]) if divide is None else divide(site["value"])
    mask = site["mask"]
    if isinstance(mask, Tensor):
        mask = mask.reshape(*mask.shape, *(1,) * event_dim)
    log_probs = scale_and_mask(log_probs, 1.0, mask)
    dims = structure.max_plate_nesting + 1
    batch = log_probs.dim() - event_dim
    log_probs = log_probs.reshape((1,) * (dims - batch) + log_probs.shape)
    unit = dims + structure.dim
    rest = [d for d in range(1, dims) if d != unit]
    return log_probs.sum(rest) if rest else log_probs
