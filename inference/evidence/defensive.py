"""Draws from a mixture of the guide, with all copies by the model's symmetries, and the prior.

The prior bounds the weights however narrow the guide is, and the copies show it all modes that are alike.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.program.auxiliary import at_latents, has_auxiliary
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.log_prob import unit_sum
from pyro_vae.program.particles import Particles, score_joint, score_model, with_values
from pyro_vae.program.structure import Structure
from pyro_vae.program.sum_out import sum_out
from pyro_vae.program.support import support_of
from pyro_vae.program.symmetry import Symmetries, copied, copies, names_of
from pyro_vae.program.trace import (
    Site,
    drawn_sites,
    is_point_mass,
    latent_sites,
    observed_sites,
)
from pyro_vae.program.vmap import map_runs

PRIOR_DRAWS_AT_ONCE = 32  # the model computes its likelihood with them


@dataclass(frozen=True)
class Mixture:
    """Say what the guide is mixed with.

    Attributes:
        prior_share: the probability of the prior.
        symmetries: by which the guide's draw is then copied, at random.
    """

    prior_share: float
    symmetries: Symmetries = ()


def draw_defensively(
    bound_program: BoundProgram,
    mixture: Mixture,
    num_particles: int,
    at_once: int | None = None,
) -> Particles:
    """Draw all latents of a unit from the prior, or from the guide and then a copy at random.

    ``log_guide`` of the result is the log-density of that mixture: with all maps s of the symmetries,
    log[a p(z) + (1 - a) mean_s q(s z)].

    Args:
        bound_program: the program on some units.
        mixture: what the guide is mixed with.
        num_particles: K.
        at_once: how many particles the model scores at a time; it changes the memory, never the draws.

    Raises:
        InputError: the guide maps auxiliary draws onto the latents in another way than AutoGuides do, so
            its density at a draw of the prior is not known.
    """
    if bound_program.by_vmap and has_auxiliary(bound_program.guide(1)):
        _draw(bound_program, mixture, 1, 1)  # checks the map
    drawn = bound_program.try_vmap(lambda: _draw_by_vmap(bound_program, mixture, num_particles))
    if drawn is not None:
        return drawn
    sizes = [num_particles] if bound_program.vectorized else [1] * num_particles
    parts = [_draw(bound_program, mixture, size, at_once or size) for size in sizes]
    join = torch.cat if bound_program.vectorized else torch.stack
    latents = {name: join([part.latents[name] for part in parts]) for name in parts[0].latents}
    return Particles(
        torch.cat([part.log_likelihood for part in parts]),
        torch.cat([part.log_prior for part in parts]),
        torch.cat([part.log_guide for part in parts]),
        latents,
    )


def _draw_by_vmap(bound_program: BoundProgram, mixture: Mixture, num_particles: int) -> Particles:
    def one_particle() -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        drawn = _draw(bound_program, mixture, 1, 1)
        return drawn.log_likelihood[0], drawn.log_prior[0], drawn.log_guide[0], drawn.latents

    return Particles(*map_runs(one_particle, num_particles, at_once=PRIOR_DRAWS_AT_ONCE))


def _draw(
    bound_program: BoundProgram, mixture: Mixture, num_particles: int, at_once: int
) -> Particles:
    structure, share = bound_program.structure, mixture.prior_share
    guide = bound_program.guide(num_particles)
    prior, sites = _prior_draws(bound_program, num_particles)
    uniform = torch.rand(num_particles, structure.num_units, device=bound_program.device)
    is_prior, own = uniform < share, drawn_sites(guide)
    moved = _random_copy(bound_program, mixture.symmetries, own, num_particles)

    def choose(site: Site) -> Tensor:
        name = site["name"]
        if name not in prior:  # an auxiliary draw, which follows from the latents
            return site["value"]
        return torch.where(_expand_to_site(is_prior, site, bound_program), prior[name], moved[name])

    mixed = with_values(guide, choose)
    values = {n: s["value"] for n, s in drawn_sites(mixed).items() if n in prior}
    every = copies(mixture.symmetries)
    traces = [
        _guide_at(
            bound_program, guide, copied(values, mixture.symmetries, copy), sites, num_particles
        )
        for copy in every
    ]
    scores = torch.stack([_score_guide(bound_program, trace, own) for trace in traces])
    log_guide = scores.logsumexp(0) - math.log(len(every))
    if has_auxiliary(guide):
        mixed = traces[0]  # the copy that was drawn
    log_likelihood, log_prior = score_joint(
        bound_program, mixed, num_particles, at_once, _score_model
    )
    if share:
        log_guide = torch.logaddexp(log_guide + math.log1p(-share), log_prior + math.log(share))
    latents = {name: site["value"] for name, site in drawn_sites(mixed).items()}
    return Particles(log_likelihood, log_prior, log_guide, latents)


def _random_copy(
    bound_program: BoundProgram,
    symmetries: Symmetries,
    sites: Mapping[str, Site],
    num_particles: int,
) -> dict[str, Tensor]:
    """Return the latents' values, each particle in place of a copy of it that is taken at random."""
    values = {name: site["value"] for name, site in sites.items()}
    every, found = copies(symmetries), dict(values)
    if len(every) == 1:
        return found
    drawn = torch.randint(len(every), (num_particles, 1), device=bound_program.device)
    for number, copy in enumerate(every):
        other = copied(values, symmetries, copy)
        for name in names_of(symmetries):
            chosen = _expand_to_site(drawn == number, sites[name], bound_program)
            found[name] = torch.where(chosen, other[name], found[name])
    return found


def _guide_at(
    bound_program: BoundProgram,
    guide: poutine.Trace,
    values: Mapping[str, Tensor],
    priors: Mapping[str, Site],
    num_particles: int,
) -> poutine.Trace:
    """Return the guide's trace where its latents have given values."""
    if has_auxiliary(guide):
        return at_latents(bound_program, guide, values, priors, num_particles)
    given = with_values(guide, lambda site: values.get(site["name"], site["value"]))
    return bound_program.guide(num_particles, lambda guide: poutine.replay(guide, given))


def _score_guide(
    bound_program: BoundProgram, guide: poutine.Trace, own: Mapping[str, Site]
) -> Tensor:
    scores = [
        _score_within(s, own[n]["value"], bound_program) for n, s in drawn_sites(guide).items()
    ]
    return sum(scores, start=torch.zeros((), device=bound_program.device))


def guide_at_copies(bound_program: BoundProgram, symmetries: Symmetries) -> Tensor:
    """Return log q at all copies of one draw of the guide, itself first."""
    single = bound_program.single()
    guide = single.guide(1)
    own, priors = drawn_sites(guide), latent_sites(single.model(1, sum_out=True))
    values = {name: site["value"] for name, site in own.items() if name in priors}
    traces = (
        _guide_at(single, guide, copied(values, symmetries, copy), priors, 1)
        for copy in copies(symmetries)
    )
    return torch.stack([_score_guide(single, trace, own).reshape(()) for trace in traces])


def _prior_draws(
    bound_program: BoundProgram, num_particles: int
) -> tuple[dict[str, Tensor], dict[str, Site]]:
    """Return draws of the prior by site, and the sites."""
    draws: dict[str, list[Tensor]] = {}
    for first in range(0, num_particles, PRIOR_DRAWS_AT_ONCE):
        sites = latent_sites(bound_program.model(min(PRIOR_DRAWS_AT_ONCE, num_particles - first)))
        for name, site in sites.items():
            draws.setdefault(name, []).append(site["value"])
    joined = {name: torch.cat(v) if bound_program.vectorized else v[0] for name, v in draws.items()}
    return joined, sites


def _expand_to_site(per_unit: Tensor, site: Site, bound_program: BoundProgram) -> Tensor:
    """Return (K, U) with the dimensions of a site's value, to broadcast against it."""
    structure, fn = bound_program.structure, site["fn"]
    plates = [1] * structure.max_plate_nesting
    if structure.unit is not None:
        plates[structure.dim] = structure.num_units
    inner = plates[structure.max_plate_nesting - (len(fn.batch_shape) - bound_program.vectorized) :]
    outer = [len(per_unit)] if bound_program.vectorized else []
    return per_unit.reshape((*outer, *inner, *[1] * fn.event_dim))  # () of a single number


def _score_within(site: Site, own_draw: Tensor, bound_program: BoundProgram) -> Tensor:
    """Return the guide's log-density, which is minus infinity outside of its support.

    Args:
        site: of the guide, with a value of guide or prior.
        own_draw: of the guide; some densities raise outside of their support.
        bound_program: the program on some units.
    """
    fn, value = site["fn"], site["value"]
    if is_point_mass(fn):  # of a value that the guide has just computed
        return unit_sum(site, fn.log_prob(value), bound_program.structure)
    within = support_of(fn).check(value)
    safe = torch.where(within.reshape(within.shape + (1,) * fn.event_dim), value, own_draw)
    return unit_sum(
        site, torch.where(within, fn.log_prob(safe), -torch.inf), bound_program.structure
    )


def _score_model(
    trace: poutine.Trace, structure: Structure, num_particles: int
) -> tuple[Tensor, Tensor]:
    log_likelihood, log_prior = score_model(trace, structure, num_particles)
    if structure.enumerated:  # latents that depend on an enumerated one belong to the prior
        log_joint = log_likelihood + log_prior
        for name in observed_sites(trace):
            trace.remove_node(name)
        log_prior = sum_out(trace, structure).expand(num_particles, -1)
        log_likelihood = log_joint - log_prior
    return log_likelihood, log_prior
