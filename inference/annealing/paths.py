"""The log-densities of both ends of a geometric path.

A path knows its program; the sampler (:mod:`pyro_vae.inference.annealing.hmc`) sees numbers only.
"""

import abc
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.checks.noise import refuse_noise
from pyro_vae.inference.checks.support import check_known
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.log_prob import unit_log_prob
from pyro_vae.program.probe import moves
from pyro_vae.program.structure import check_proper
from pyro_vae.program.sum_out import sum_out
from pyro_vae.program.trace import (
    Site,
    is_factor,
    latent_sites,
    observed_sites,
    sample_sites,
)
from pyro_vae.program.unconstrained import (
    Coordinates,
    Placement,
)
from pyro_vae.program.vmap import map_runs

DRAWS_AT_ONCE, VMAP_DRAWS_AT_ONCE = 8, 64  # of the prior; of a start that is drawn by vmap


class AnnealingPath(abc.ABC):
    """The geometric path p_b(u) ∝ start(u)^(1 - b) end(u)^b between two densities of K chains for U units.

    ``start`` is normalised and can be drawn from; ``end`` is p(x, z), whose integral is the evidence.
    Both are densities of the unconstrained coordinates u, ``K, U, D``, all Jacobians counted.
    """

    bound_program: BoundProgram
    coordinates: Coordinates

    def draw(self, num_chains: int) -> Tensor:
        """Return coordinates (K, U, D) of draws from the start."""
        if not self.coordinates.size:
            return torch.zeros(
                num_chains,
                self.bound_program.structure.num_units,
                0,
                device=self.bound_program.device,
            )
        if self.bound_program.vectorized:
            return self._draw(num_chains)
        if self.bound_program.by_vmap:
            drawn: Tensor = map_runs(
                lambda: self._draw(1)[0], num_chains, at_once=VMAP_DRAWS_AT_ONCE
            )
            return drawn
        return torch.cat([self._draw(1) for _ in range(num_chains)])

    def log_densities(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logs of start and end, (K, U) each, in nats."""
        if self.bound_program.vectorized or len(u) == 1:
            return self._log_densities(u)
        if self.bound_program.by_vmap:
            start, end = map_runs(
                lambda one: [log[0] for log in self._log_densities(one[None])], len(u), u
            )
            return start, end
        pairs = [self._log_densities(one) for one in u.split(1)]
        start, end = (torch.cat(logs) for logs in zip(*pairs, strict=True))
        return start, end

    def latents(self, u: Tensor, at_once: int) -> dict[str, Tensor]:
        """Return the latents at coordinates (K, U, D), ``K | batch | event``, without those summed out.

        Args:
            u: the coordinates.
            at_once: how many chains the program runs at a time; it changes the memory alone.
        """
        if self.bound_program.vectorized:
            parts = [self._latents(some) for some in u.split(at_once)]
            return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        if self.bound_program.by_vmap:
            mapped: dict[str, Tensor] = map_runs(
                lambda one: self._latents(one[None]), len(u), u, at_once=at_once
            )
            return mapped
        rows = [self._latents(one) for one in u.split(1)]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def check(self) -> None:
        """Check that the densities are functions of the latents, without noise."""
        u = self.draw(1)
        for one, other in zip(self.log_densities(u), self.log_densities(u), strict=True):
            refuse_noise(one, other)

    def check_vmap(self) -> None:
        """Run chains one by one where ``vmap`` fails or gives other log-densities."""
        if not self.bound_program.by_vmap:
            return
        try:
            u = self.draw(2)
            mapped = self.log_densities(u)
            single = [self.log_densities(one) for one in u.split(1)]
            same = not any(
                bool(moves(torch.cat(logs), mapped_logs).any())
                for mapped_logs, *logs in zip(mapped, *single, strict=True)
            )
        except Exception:  # one by one works, or gives the better message
            same = False
        self.bound_program = replace(self.bound_program, by_vmap=same)

    @abc.abstractmethod
    def coordinates_of(self, latents: poutine.Trace) -> Tensor:
        """Return the coordinates (1, U, D) of given latents."""

    @abc.abstractmethod
    def _draw(self, num_chains: int) -> Tensor: ...

    @abc.abstractmethod
    def _log_densities(self, u: Tensor) -> tuple[Tensor, Tensor]: ...

    @abc.abstractmethod
    def _trace_at(self, placement: Placement, num_chains: int) -> poutine.Trace:
        """Return a trace that holds the latents' values at given coordinates."""

    def _latents(self, u: Tensor) -> dict[str, Tensor]:
        structure = self.bound_program.structure
        sites = sample_sites(self._trace_at(Placement(self.coordinates, u), len(u)))
        return {
            name: sites[name]["value"]
            for name in structure.latents
            if name not in structure.enumerated
        }

    def _score(self, sites: Mapping[str, Site], num_chains: int) -> Tensor:
        terms = (unit_log_prob(site, self.bound_program.structure) for site in sites.values())
        total = sum(terms, start=torch.zeros((), device=self.bound_program.device))
        return total.expand(num_chains, self.bound_program.structure.num_units)

    def _score_model(self, trace: poutine.Trace, num_chains: int) -> Tensor:
        structure = self.bound_program.structure
        if structure.enumerated and sample_sites(trace):
            return sum_out(trace, structure).expand(num_chains, structure.num_units)
        return self._score(sample_sites(trace), num_chains)


class FromPrior(AnnealingPath):
    """The path from p(z), with enumerated latents summed out, to p(x, z)."""

    def __init__(self, bound_program: BoundProgram) -> None:
        self.bound_program = bound_program
        _check_prior_draws(bound_program)
        trace = bound_program.model(1)
        latents = self._continuous_latents(trace)
        check_known(latents)
        self.coordinates = Coordinates(latents, bound_program.structure, bound_program.vectorized)
        self.check_vmap()

    def coordinates_of(self, latents: poutine.Trace) -> Tensor:
        trace = self.bound_program.model(1, partial(poutine.replay, trace=latents))
        return self.coordinates.of(self._continuous_latents(trace))

    def _draw(self, num_chains: int) -> Tensor:
        # a few at a time: the model computes its likelihood too
        sizes = [
            min(DRAWS_AT_ONCE, num_chains - first) for first in range(0, num_chains, DRAWS_AT_ONCE)
        ]
        draws = [
            self.coordinates.of(self._continuous_latents(self.bound_program.model(size)))
            for size in sizes
        ]
        return torch.cat(draws)

    def _log_densities(self, u: Tensor) -> tuple[Tensor, Tensor]:
        placement = Placement(self.coordinates, u)
        joint = self._trace_at(placement, len(u))
        prior = joint.copy()
        for name in observed_sites(joint):
            prior.remove_node(name)
        log_prior = self._score_model(prior, len(u))
        log_joint = self._score_model(joint, len(u))
        return log_prior + placement.log_jacobian, log_joint + placement.log_jacobian

    def _trace_at(self, placement: Placement, num_chains: int) -> poutine.Trace:
        return self.bound_program.model(num_chains, placement, sum_out=True)

    def _continuous_latents(self, trace: poutine.Trace) -> dict[str, Site]:
        latents = latent_sites(trace)
        return {
            n: site
            for n, site in latents.items()
            if n not in self.bound_program.structure.enumerated
        }


def _check_prior_draws(bound_program: BoundProgram) -> None:
    """Check that draws of the prior follow it: they ignore a mask or a factor that changes it."""
    check_proper(bound_program.structure)
    _, model = bound_program.one()
    improper = [
        n for n, s in latent_sites(model).items() if isinstance(s["fn"], dist.ImproperUniform)
    ]
    factors = [n for n, s in observed_sites(model).items() if is_factor(s)]
    for name in (*bound_program.structure.without_prior, *improper):
        factor = f" {factors[0]!r}" if factors else ""
        raise InputError(
            f"the prior of {name!r} cannot be drawn from: its density is masked, or a factor{factor} of "
            "the model",
            subject=name,
            remedy='anneal from the guide (start="guide"), or estimate the evidence by importance sampling',
        )
