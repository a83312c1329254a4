"""Many draws of the latents, and their log-probabilities by unit."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.log_prob import score
from pyro_vae.program.matching import check_match
from pyro_vae.program.structure import Structure
from pyro_vae.program.sum_out import depends_on_enumerated, sum_out
from pyro_vae.program.trace import Site, drawn_sites, observed_sites, proposal_sites, sample_sites
from pyro_vae.program.vmap import map_runs

ScoreModel = Callable[[poutine.Trace, Structure, int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class LogProbs:
    """Hold log-probabilities of K draws for each of U units, in nats, each (K, U)."""

    log_likelihood: Tensor
    log_prior: Tensor
    log_guide: Tensor

    @property
    def log_joint(self) -> Tensor:
        """Return log p(x, z)."""
        return self.log_likelihood + self.log_prior

    @property
    def log_weights(self) -> Tensor:
        """Return log p(x, z) - log q(z | x)."""
        return self.log_joint - self.log_guide

    @property
    def rate(self) -> Tensor:
        """Return log q(z | x) - log p(z)."""
        return self.log_guide - self.log_prior


@dataclass(frozen=True)
class Particles(LogProbs):
    """Hold K draws from the guide for each of U units, with their log-probabilities.

    Neither ``poutine.scale`` nor subsampling's factors enter them. ``latents`` holds the draws, each
    (K | batch | event).
    """

    latents: dict[str, Tensor]

    @property
    def log_weights(self) -> Tensor:
        """Return the log-weights; minus infinity where the prior has no density."""
        return torch.where(self.log_prior == -math.inf, -math.inf, super().log_weights)


def draw(bound_program: BoundProgram, num_particles: int, at_once: int | None = None) -> Particles:
    """Draw from the guide and weigh, in the way that the call runs many chains.

    Discrete latents that only the model has are summed out.

    Args:
        bound_program: the program and its arguments.
        num_particles: K.
        at_once: how many particles the model scores at a time, which changes memory alone: all are
            drawn together.
    """
    if bound_program.vectorized:
        return _draw_together(bound_program, num_particles, at_once)
    drawn = bound_program.try_vmap(lambda: draw_by_vmap(bound_program, num_particles, at_once))
    return draw_one_by_one(bound_program, num_particles) if drawn is None else drawn


def _draw_together(
    bound_program: BoundProgram, num_particles: int, at_once: int | None
) -> Particles:
    """Draw under a plate: the arguments are not copied, so an encoder reads each datum once."""
    guide_trace = bound_program.guide(num_particles)
    log_guide = score(proposal_sites(guide_trace).values(), bound_program.structure, num_particles)
    log_likelihood, log_prior = score_joint(bound_program, guide_trace, num_particles, at_once)
    return Particles(log_likelihood, log_prior, log_guide, values_of(guide_trace))


def draw_by_vmap(
    bound_program: BoundProgram, num_particles: int, at_once: int | None = None
) -> Particles:
    """Draw by ``vmap`` in place of a plate over particles.

    Each particle is a run by itself: ``X @ w``, ``x.shape[0]``, ``data[t]``, ``theta[group]`` and
    ``torch.stack([a, b])`` mean what they mean for one particle.

    Raises:
        InputError: the program cannot be mapped.
    """

    def propose() -> tuple[dict[str, Tensor], Tensor]:
        guide = bound_program.guide(1)
        return values_of(guide), score(proposal_sites(guide).values(), bound_program.structure, 1)[
            0
        ]

    latents, log_guide = map_runs(propose, num_particles)
    one = bound_program.guide(1)  # for all but the values

    def weigh(values: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        given = with_values(one, lambda site: values[site["name"]])
        log_likelihood, log_prior = score_model(
            bound_program.joint(1, given), bound_program.structure, 1
        )
        return log_likelihood[0], log_prior[0]

    log_likelihood, log_prior = map_runs(weigh, num_particles, latents, at_once=at_once)
    return Particles(log_likelihood, log_prior, log_guide, latents)


def draw_one_by_one(bound_program: BoundProgram, num_particles: int) -> Particles:
    """Draw from a program that takes no further dimension on the left.

    The set of latents may differ from draw to draw; ``latents`` holds those that all draws have.
    """
    draws = []
    for _ in range(num_particles):
        guide_trace = bound_program.guide(1)
        model_trace = bound_program.joint(1, guide_trace)
        check_match(model_trace, guide_trace)
        draws.append(read_particles(model_trace, guide_trace, bound_program.structure, 1))
    first = draws[0].latents
    everywhere = [
        name
        for name in first
        if all(name in d.latents and d.latents[name].shape == first[name].shape for d in draws)
    ]
    return Particles(
        torch.cat([d.log_likelihood for d in draws]),
        torch.cat([d.log_prior for d in draws]),
        torch.cat([d.log_guide for d in draws]),
        {name: torch.stack([d.latents[name] for d in draws]) for name in everywhere},
    )


def with_values(trace: poutine.Trace, value: Callable[[Site], Tensor]) -> poutine.Trace:
    """Return a copy of a trace to replay, whose latents have other values."""
    copy = trace.copy()
    for name, site in drawn_sites(copy).items():
        copy.nodes[name] = cast(Any, {**site, "value": value(site)})
    return copy


def of_particles(site: Site, structure: Structure, some: range | int) -> Tensor:
    """Return some particles of a site's value, or one without its dimension."""
    value: Tensor = site["value"]
    if not is_per_particle(site, structure):
        return value
    return value[some] if isinstance(some, int) else value[some.start : some.stop]


def is_per_particle(site: Site, structure: Structure) -> bool:
    return site["value"].dim() - site["fn"].event_dim > structure.max_plate_nesting


def read_particles(
    model_trace: poutine.Trace, guide_trace: poutine.Trace, structure: Structure, num_particles: int
) -> Particles:
    """Return the log-probabilities and draws that a pair of traces holds."""
    log_likelihood, log_prior = score_model(model_trace, structure, num_particles)
    log_guide = score(proposal_sites(guide_trace).values(), structure, num_particles)
    return Particles(log_likelihood, log_prior, log_guide, values_of(guide_trace))


def values_of(guide_trace: poutine.Trace) -> dict[str, Tensor]:
    return {name: site["value"] for name, site in drawn_sites(guide_trace).items()}


def score_model(
    model_trace: poutine.Trace, structure: Structure, num_particles: int
) -> tuple[Tensor, Tensor]:
    """Return log p(x | z) and log p(z), (K, U) each.

    All sites that depend on enumerated latents count as likelihood.
    """
    if not structure.enumerated:
        observed, latent = observed_sites(model_trace), drawn_sites(model_trace)
        return (
            score(observed.values(), structure, num_particles),
            score(latent.values(), structure, num_particles),
        )
    sites = sample_sites(model_trace)
    given = [sites[name] for name in structure.latents if name not in structure.enumerated]
    free = [site for site in given if not depends_on_enumerated(site, structure)]
    log_prior = score(free, structure, num_particles)
    return sum_out(model_trace, structure).expand(num_particles, -1) - log_prior, log_prior


def score_joint(
    bound_program: BoundProgram,
    guide_trace: poutine.Trace,
    num_particles: int,
    at_once: int | None,
    score_model: ScoreModel = score_model,
) -> tuple[Tensor, Tensor]:
    """Return log p(x | z) and log p(z) of draws, (K, U) each, ``at_once`` particles at a time."""

    def weigh(some: range) -> tuple[Tensor, Tensor]:
        part = with_values(
            guide_trace, partial(of_particles, structure=bound_program.structure, some=some)
        )
        return score_model(bound_program.joint(len(some), part), bound_program.structure, len(some))

    log_likelihood, log_prior = in_parts(weigh, num_particles, at_once)
    return log_likelihood, log_prior


def in_parts(
    weigh: Callable[[range], tuple[Tensor, ...]], num_particles: int, at_once: int | None
) -> tuple[Tensor, ...]:
    """Return what ``weigh`` gives for all particles, (K, U) each, computed for ``at_once`` at a time.

    The whole is filled in part by part: kept parts would be scattered over the memory that the next part
    needs in one piece, and the memory taken would grow with their number.
    """
    whole: tuple[Tensor, ...] = ()
    step = at_once or num_particles
    for first in range(0, num_particles, step):
        some = range(num_particles)[first : first + step]
        rows = weigh(some)
        whole = whole or tuple(row.new_empty(num_particles, row.shape[-1]) for row in rows)
        for all_rows, row in zip(whole, rows, strict=True):
            all_rows[some.start : some.stop] = row
    return whole
