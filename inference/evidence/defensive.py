"""Draws from a mixture of guide and prior, whose weights are bounded however narrow the guide is."""

import contextlib
import math
from functools import partial

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.log_prob import unit_sum
from pyro_vae.program.particles import Particles, of_particles, score_model, with_values
from pyro_vae.program.sum_out import sum_out
from pyro_vae.program.support import support_of
from pyro_vae.program.trace import (
    Site,
    drawn_sites,
    latent_sites,
    observed_sites,
    proposal_sites,
    run,
)
from pyro_vae.program.vmap import map_runs

PRIOR_DRAWS = 32  # at a time: the model computes its likelihood too


def draw_defensively(
    call: BoundProgram, prior_share: float, num_particles: int, at_once: int | None = None
) -> Particles:
    """Draws all latents of a unit from the prior with probability ``prior_share``, else from the guide.

    ``log_guide`` is the log-density of that mixture.

    :param at_once: how many particles the model scores at a time: a matter of memory, never of noise.
    :raises InputError: the guide draws elsewhere and transforms, as AutoGuides do, so that its density
        at a draw of the prior is not known.
    """
    if call.by_vmap:
        with contextlib.suppress(Exception):  # one by one will do, or say what is wrong
            return _draw_by_vmap(call, prior_share, num_particles)
    sizes = [num_particles] if call.vectorized else [1] * num_particles
    parts = [_draw(call, prior_share, size, at_once or size) for size in sizes]
    latents = {
        name: torch.cat([part.latents[name] for part in parts]) if call.vectorized else value
        for name, value in parts[-1].latents.items()
    }
    return Particles(
        torch.cat([part.log_likelihood for part in parts]),
        torch.cat([part.log_prior for part in parts]),
        torch.cat([part.log_guide for part in parts]),
        latents,
    )


def _draw_by_vmap(call: BoundProgram, prior_share: float, num_particles: int) -> Particles:
    def one() -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        drawn = _draw(call, prior_share, 1, 1)
        return drawn.log_likelihood[0], drawn.log_prior[0], drawn.log_guide[0], drawn.latents

    return Particles(*map_runs(one, num_particles, at_once=PRIOR_DRAWS))


def _draw(call: BoundProgram, prior_share: float, num_particles: int, at_once: int) -> Particles:
    structure = call.structure
    guide = call.guide(num_particles)
    _check_sites(guide)
    prior = _prior_draws(call, num_particles)
    is_prior = torch.rand(num_particles, structure.num_units, device=call.device) < prior_share

    def choose(site: Site) -> Tensor:
        return torch.where(_like(is_prior, site, call), prior[site["name"]], site["value"])

    mixed = with_values(guide, choose)
    again = call.guide(num_particles, lambda guide: poutine.replay(guide, mixed))
    drawn = drawn_sites(guide)
    scores = [_score_within(s, drawn[n]["value"], call) for n, s in drawn_sites(again).items()]
    log_guide = sum(scores, start=torch.zeros((), device=call.device))
    log_likelihood, log_prior = (
        torch.cat(parts)
        for parts in zip(
            *(
                _score_model(call, mixed, range(num_particles)[first : first + at_once])
                for first in range(0, num_particles, at_once)
            ),
            strict=True,
        )
    )
    of_guide, of_prior = math.log1p(-prior_share), math.log(prior_share)
    log_mixture = torch.logaddexp(log_guide + of_guide, log_prior + of_prior)
    latents = {name: site["value"] for name, site in drawn_sites(mixed).items()}
    return Particles(log_likelihood, log_prior, log_mixture, latents)


def _check_sites(guide: poutine.Trace) -> None:
    strange = [n for n, s in proposal_sites(guide).items() if s["infer"].get("is_auxiliary")]
    if strange:
        raise InputError(
            f"the guide draws the auxiliary site {strange[0]!r}, and its density at a draw of the prior "
            "is not known: leave prior_share out, or write the guide's sites directly"
        )


def _prior_draws(call: BoundProgram, num_particles: int) -> dict[str, Tensor]:
    draws: dict[str, list[Tensor]] = {}
    for first in range(0, num_particles, PRIOR_DRAWS):
        model = call.chains(call.program.model, min(PRIOR_DRAWS, num_particles - first))
        for name, site in latent_sites(run("model", model, call.args, call.kwargs)).items():
            draws.setdefault(name, []).append(site["value"])
    return {name: torch.cat(v) if call.vectorized else v[0] for name, v in draws.items()}


def _like(per_unit: Tensor, site: Site, call: BoundProgram) -> Tensor:
    """(K, U) with the dimensions of a site's value, to broadcast against it."""
    structure, fn = call.structure, site["fn"]
    plates = [1] * structure.max_plate_nesting
    if structure.unit is not None:
        plates[structure.dim] = structure.num_units
    inner = plates[structure.max_plate_nesting - (len(fn.batch_shape) - call.vectorized) :]
    outer = [len(per_unit)] if call.vectorized else []
    return per_unit.reshape(*outer, *inner, *[1] * fn.event_dim)


def _score_within(site: Site, drawn: Tensor, call: BoundProgram) -> Tensor:
    """The guide's log-density, which is minus infinity where it does not reach.

    :param drawn: values that it does reach, in the place of others: some densities cannot be asked there.
    """
    fn, value = site["fn"], site["value"]
    within = support_of(fn).check(value)
    reached = torch.where(within.reshape(within.shape + (1,) * fn.event_dim), value, drawn)
    return unit_sum(site, torch.where(within, fn.log_prob(reached), -torch.inf), call.structure)


def _score_model(call: BoundProgram, latents: poutine.Trace, some: range) -> tuple[Tensor, Tensor]:
    structure = call.structure
    part = with_values(latents, partial(of_particles, structure=structure, some=some))
    trace = call.joint(len(some), part)
    log_likelihood, log_prior = score_model(trace, structure, len(some))
    if structure.enumerated:  # latents that depend on what is summed out belong to the prior, too
        log_joint = log_likelihood + log_prior
        for name in observed_sites(trace):
            trace.remove_node(name)
        log_prior = sum_out(trace, structure).expand(len(some), -1)
        log_likelihood = log_joint - log_prior
    return log_likelihood, log_prior
