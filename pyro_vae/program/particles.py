"""Many draws of the latents, and their log-probabilities by unit."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.program.contract import Program
from pyro_vae.program.log_prob import score
from pyro_vae.program.matching import check_match
from pyro_vae.program.structure import PARTICLES, Structure
from pyro_vae.program.sum_out import depends_on_enumerated, enumerating, sum_out
from pyro_vae.program.trace import Site, drawn_sites, proposal_sites, run, sample_sites
from pyro_vae.program.vmap import map_runs


@dataclass(frozen=True)
class Particles:
    """Hold K draws from the guide for each of U units; log-probabilities in nats, each (K, U).

    Neither ``poutine.scale`` nor subsampling's factors enter them. ``latents`` holds the draws, each
    (K | batch | event).
    """

    log_likelihood: Tensor
    log_prior: Tensor
    log_guide: Tensor
    latents: dict[str, Tensor]

    @property
    def log_weights(self) -> Tensor:
        """log p(x, z) - log q(z | x), shape (K, U); minus infinity where the prior has no density."""
        log_weights = self.log_likelihood + self.log_prior - self.log_guide
        return torch.where(self.log_prior == -math.inf, -math.inf, log_weights)


def particle_plate(size: int, structure: Structure) -> Any:
    """Return a plate over particles, left of every plate of the program."""
    return pyro.plate(PARTICLES, size, dim=-1 - structure.max_plate_nesting)


def draw(
    program: Program,
    structure: Structure,
    num_particles: int,
    *args: Any,
    at_once: int | None = None,
    **kwargs: Any,
) -> Particles:
    """Draw under a plate over particles, left of every plate of the program.

    The arguments are not copied, so an encoder reads each datum once. Discrete latents that only the
    model has are summed out.

    Args:
        program: the model and guide.
        structure: its sites and plates on these arguments.
        num_particles: K.
        args: the program's arguments, and ``kwargs``.
        at_once: how many particles the model scores at a time, which changes memory alone: all are
            drawn together.
    """
    plate = particle_plate(num_particles, structure)
    guide_trace = run("guide", plate(program.guide), args, kwargs)
    log_guide = score(proposal_sites(guide_trace).values(), structure, num_particles)
    # The whole is filled in part by part: kept parts would be scattered over the memory that the next
    # part needs in one piece, and the memory taken would grow with their number.
    scores: tuple[Tensor, ...] = ()
    for first in range(0, num_particles, at_once or num_particles):
        some = range(num_particles)[first : first + (at_once or num_particles)]
        part = with_values(guide_trace, partial(of_particles, structure=structure, some=some))
        model = particle_plate(len(some), structure)(program.model)
        model_trace = replay(model, part, structure, *args, **kwargs)
        rows = score_model(model_trace, structure, len(some))
        scores = scores or tuple(r.new_empty(num_particles, structure.num_units) for r in rows)
        for whole, row in zip(scores, rows, strict=True):
            whole[some.start : some.stop] = row
    log_likelihood, log_prior = scores
    return Particles(log_likelihood, log_prior, log_guide, _values(guide_trace))


def draw_by_vmap(
    program: Program,
    structure: Structure,
    num_particles: int,
    *args: Any,
    at_once: int | None = None,
    **kwargs: Any,
) -> Particles:
    """Draw as :func:`draw` does, by ``vmap`` in place of a plate over particles.

    Each particle is a run by itself: ``X @ w``, ``x.shape[0]``, ``data[t]``, ``theta[group]`` and
    ``torch.stack([a, b])`` mean what they mean for one particle.

    Raises:
        InputError: the program cannot be mapped.
    """

    def propose() -> tuple[dict[str, Tensor], Tensor]:
        guide = run("guide", program.guide, args, kwargs)
        log_guide = score(proposal_sites(guide).values(), structure, 1)[0]
        return _values(guide), log_guide

    latents, log_guide = map_runs(propose, num_particles)
    one = run("guide", program.guide, args, kwargs)  # for all but the values

    def weigh(values: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        given = with_values(one, lambda site: values[site["name"]])
        model = replay(program.model, given, structure, *args, **kwargs)
        log_likelihood, log_prior = score_model(model, structure, 1)
        return log_likelihood[0], log_prior[0]

    log_likelihood, log_prior = map_runs(weigh, num_particles, latents, at_once=at_once)
    return Particles(log_likelihood, log_prior, log_guide, latents)


def draw_one_by_one(
    program: Program,
    structure: Structure,
    num_particles: int,
    *args: Any,
    at_once: int | None = None,
    **kwargs: Any,
) -> Particles:
    """Draw as :func:`draw` does, from a program that takes no further dimension on the left.

    The set of latents may differ from draw to draw; ``latents`` holds those that all draws have.
    """
    draws = []
    for _ in range(num_particles):
        guide_trace = run("guide", program.guide, args, kwargs)
        model_trace = replay(program.model, guide_trace, structure, *args, **kwargs)
        check_match(model_trace, guide_trace)
        draws.append(read_particles(model_trace, guide_trace, structure, 1))
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


def replay(
    model: Callable[..., Any],
    guide_trace: poutine.Trace,
    structure: Structure,
    *args: Any,
    **kwargs: Any,
) -> poutine.Trace:
    """Return the model's trace at the guide's draws, with enumerated latents taking all their values."""
    if structure.enumerated:
        model = enumerating(model, structure.max_plate_nesting)
    return run("model", poutine.replay(model, guide_trace), args, kwargs)


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
    return Particles(log_likelihood, log_prior, log_guide, _values(guide_trace))


def _values(guide_trace: poutine.Trace) -> dict[str, Tensor]:
    return {name: site["value"] for name, site in drawn_sites(guide_trace).items()}


def score_model(
    model_trace: poutine.Trace, structure: Structure, num_particles: int
) -> tuple[Tensor, Tensor]:
    """Return log p(x | z) and log p(z), (K, U) each.

    All sites that depend on enumerated latents count as likelihood.
    """
    sites = sample_sites(model_trace)
    if not structure.enumerated:
        latent = [site for site in sites.values() if not site["is_observed"]]
        observed = [site for site in sites.values() if site["is_observed"]]
        return score(observed, structure, num_particles), score(latent, structure, num_particles)
    given = [sites[name] for name in structure.latents if name not in structure.enumerated]
    free = [site for site in given if not depends_on_enumerated(site, structure)]
    log_prior = score(free, structure, num_particles)
    return sum_out(model_trace, structure).expand(num_particles, -1) - log_prior, log_prior
