"""Draws from a mixture of guide and prior, with bounded weights however narrow the guide is."""

import math

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
from pyro_vae.program.trace import (
    Site,
    drawn_sites,
    is_point_mass,
    latent_sites,
    observed_sites,
)
from pyro_vae.program.vmap import map_runs

PRIOR_DRAWS_AT_ONCE = 32  # the model computes its likelihood with them


def draw_defensively(
    bound_program: BoundProgram, prior_share: float, num_particles: int, at_once: int | None = None
) -> Particles:
    """Draw all latents of a unit from the prior with probability ``prior_share``, or from the guide.

    ``log_guide`` of the result is the log-density of that mixture.

    Args:
        bound_program: the program on some units.
        prior_share: the probability of the prior.
        num_particles: K.
        at_once: how many particles the model scores at a time; it changes the memory, never the draws.

    Raises:
        InputError: the guide maps auxiliary draws onto the latents in another way than AutoGuides do, so
            its density at a draw of the prior is not known.
    """
    if bound_program.by_vmap and has_auxiliary(bound_program.guide(1)):
        _draw(bound_program, prior_share, 1, 1)  # checks the map
    drawn = bound_program.try_vmap(lambda: _draw_by_vmap(bound_program, prior_share, num_particles))
    if drawn is not None:
        return drawn
    sizes = [num_particles] if bound_program.vectorized else [1] * num_particles
    parts = [_draw(bound_program, prior_share, size, at_once or size) for size in sizes]
    join = torch.cat if bound_program.vectorized else torch.stack
    latents = {name: join([part.latents[name] for part in parts]) for name in parts[0].latents}
    return Particles(
        torch.cat([part.log_likelihood for part in parts]),
        torch.cat([part.log_prior for part in parts]),
        torch.cat([part.log_guide for part in parts]),
        latents,
    )


def _draw_by_vmap(bound_program: BoundProgram, prior_share: float, num_particles: int) -> Particles:
    def one_particle() -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        drawn = _draw(bound_program, prior_share, 1, 1)
        return drawn.log_likelihood[0], drawn.log_prior[0], drawn.log_guide[0], drawn.latents

    return Particles(*map_runs(one_particle, num_particles, at_once=PRIOR_DRAWS_AT_ONCE))


def _draw(
    bound_program: BoundProgram, prior_share: float, num_particles: int, at_once: int
) -> Particles:
    structure = bound_program.structure
    guide = bound_program.guide(num_particles)
    prior, sites = _prior_draws(bound_program, num_particles)
    is_prior = (
        torch.rand(num_particles, structure.num_units, device=bound_program.device) < prior_share
    )

    def choose(site: Site) -> Tensor:
        name = site["name"]
        if name not in prior:  # an auxiliary draw, which follows from the latents
            return site["value"]
        return torch.where(
            _expand_to_site(is_prior, site, bound_program), prior[name], site["value"]
        )

    mixed, own = with_values(guide, choose), drawn_sites(guide)
    if has_auxiliary(guide):
        values = {n: s["value"] for n, s in drawn_sites(mixed).items() if n in prior}
        mixed = replayed = at_latents(bound_program, guide, values, sites, num_particles)
    else:
        replayed = bound_program.guide(num_particles, lambda guide: poutine.replay(guide, mixed))
    scores = [
        _score_within(s, own[n]["value"], bound_program) for n, s in drawn_sites(replayed).items()
    ]
    log_guide = sum(scores, start=torch.zeros((), device=bound_program.device))
    log_likelihood, log_prior = score_joint(
        bound_program, mixed, num_particles, at_once, _score_model
    )
    log_mixture = torch.logaddexp(
        log_guide + math.log1p(-prior_share), log_prior + math.log(prior_share)
    )
    latents = {name: site["value"] for name, site in drawn_sites(mixed).items()}
    return Particles(log_likelihood, log_prior, log_mixture, latents)


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
