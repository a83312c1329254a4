"""Many draws of the latents at once, and what each says of each unit's log-probabilities."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from pyro_vae.program import Layout, Program, Site, latent_sites, run, sample_sites


@dataclass(frozen=True)
class Particles:
    """K draws from the guide for each of U units; log-probabilities in nats, each (K, U).

    They are the program's own: neither ``poutine.scale`` nor subsampling's factors enter.
    ``latents`` holds the draws themselves, each (K | batch | event).
    """

    log_likelihood: Tensor
    log_prior: Tensor
    log_guide: Tensor
    latents: dict[str, Tensor]

    @property
    def log_weights(self) -> Tensor:
        """log p(x, z) - log q(z | x), shape (K, U)."""
        return self.log_likelihood + self.log_prior - self.log_guide


def draw(
    program: Program, layout: Layout, num_particles: int, *args: Any, **kwargs: Any
) -> Particles:
    """Draws under a plate over particles, left of every plate of the program's own.

    The arguments are not copied, so an encoder sees each datum once.
    """
    plate = pyro.plate("_particles", num_particles, dim=-1 - layout.nesting)
    guide_trace = run("guide", plate(program.guide), args, kwargs)
    model_trace = run("model", plate(poutine.replay(program.model, guide_trace)), args, kwargs)
    return read_particles(model_trace, guide_trace, layout, num_particles)


def draw_one_by_one(
    program: Program, layout: Layout, num_particles: int, *args: Any, **kwargs: Any
) -> Particles:
    """The same for a program that takes no further dimension on the left."""
    draws = []
    for _ in range(num_particles):
        guide_trace = run("guide", program.guide, args, kwargs)
        model_trace = run("model", poutine.replay(program.model, guide_trace), args, kwargs)
        draws.append(read_particles(model_trace, guide_trace, layout, 1))
    return Particles(
        torch.cat([d.log_likelihood for d in draws]),
        torch.cat([d.log_prior for d in draws]),
        torch.cat([d.log_guide for d in draws]),
        {name: torch.stack([d.latents[name] for d in draws]) for name in draws[0].latents},
    )


def draws_together(program: Program, layout: Layout, *args: Any, **kwargs: Any) -> bool:
    """Whether two particles drawn together score as they do when replayed one at a time.

    A program that, say, averages over dimension 0 runs under a particle plate without complaint and
    says something else; so it is tried.
    """
    plate = pyro.plate("_particles", 2, dim=-1 - layout.nesting)
    try:
        guide_trace = run("guide", plate(program.guide), args, kwargs)
        model_trace = run("model", plate(poutine.replay(program.model, guide_trace)), args, kwargs)
        together = read_particles(model_trace, guide_trace, layout, 2)
    except (ValueError, RuntimeError):
        return False
    apart = []
    for k in range(2):
        one = guide_trace.copy()
        for name, site in latent_sites(one).items():
            one.nodes[name] = cast(Any, {**site, "value": _particle(site, layout, k)})
        guide_again = run("guide", poutine.replay(program.guide, one), args, kwargs)
        model_again = run("model", poutine.replay(program.model, one), args, kwargs)
        apart.append(read_particles(model_again, guide_again, layout, 1).log_weights)
    return torch.allclose(torch.cat(apart), together.log_weights, rtol=1e-3, atol=1e-3)


def _particle(site: Site, layout: Layout, k: int) -> Tensor:
    value = site["value"]
    is_drawn_per_particle = value.dim() - site["fn"].event_dim > layout.nesting
    return value[k] if is_drawn_per_particle else value


def read_particles(
    model_trace: poutine.Trace, guide_trace: poutine.Trace, layout: Layout, num_particles: int
) -> Particles:
    """Sums each trace's log-probabilities over everything but particles and units."""
    shape = (num_particles, layout.num_units)

    def total(sites: Iterable[Site]) -> Tensor:
        zero = torch.zeros(())
        return sum((unit_log_prob(site, layout) for site in sites), start=zero).expand(shape)

    scored = sample_sites(model_trace).values()
    return Particles(
        log_likelihood=total(site for site in scored if site["is_observed"]),
        log_prior=total(site for site in scored if not site["is_observed"]),
        log_guide=total(sample_sites(guide_trace).values()),
        latents={name: site["value"] for name, site in latent_sites(guide_trace).items()},
    )


def unit_log_prob(site: Site, layout: Layout) -> Tensor:
    """A site's log-probability summed to (K or 1, U), masked but never scaled."""
    log_prob = scale_and_mask(site["fn"].log_prob(site["value"]), 1.0, site["mask"])
    dims = layout.nesting + 1
    log_prob = log_prob.reshape((1,) * (dims - log_prob.dim()) + log_prob.shape)
    unit = dims + layout.dim if layout.unit else None
    rest = [d for d in range(1, dims) if d != unit]
    summed = log_prob.sum(rest) if rest else log_prob
    return summed if layout.unit else summed.reshape(-1, 1)
