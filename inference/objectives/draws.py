"""Draws from a guide that gradients go through, and what guide and model say of them, per unit."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.contract import Program
from pyro_vae.program.log_prob import unit_log_prob
from pyro_vae.program.particles import particle_plate, score_model, with_values
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import (
    Site,
    drawn_sites,
    plate_scale,
    proposal_sites,
    sample_sites,
    with_plate_sizes,
)

Calls = tuple[tuple[Any, ...], dict[str, Any]]  # the arguments of model and guide


@dataclass(frozen=True)
class Plan:
    """How a program is drawn from.

    ``vectorized``: all draws under one plate; else one run after another, of the same units.
    ``is_weighted``: whether sites count by ``poutine.scale``, too, and not by their plates alone.
    ``num_data``: how many units there are in all, of which a batch is a part, where that is known.
    """

    structure: Structure
    vectorized: bool = False
    num_data: int | None = None
    is_weighted: bool = True


class Cut(Messenger):
    """Values without a gradient: what depends on a draw no longer depends on what drew it.

    Entered around the handler that records a trace, as that takes what outer handlers leave.
    """

    def _pyro_post_sample(self, msg: Any) -> None:
        if not msg["is_observed"] and isinstance(msg["value"], Tensor):
            msg["value"] = msg["value"].detach()


class _Stop(torch.autograd.Function):
    """A copy that can be differentiated by, with nothing behind it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> None:
        return None


@dataclass(frozen=True)
class Scored:
    """Log-probabilities of K draws for each of U units, in nats, each (K, U).

    Of the model's sites and the guide's, under their own masks and scales but for what a unit counts.
    """

    log_likelihood: Tensor
    log_prior: Tensor
    log_guide: Tensor

    @property
    def log_joint(self) -> Tensor:
        """log p(x, z)."""
        return self.log_likelihood + self.log_prior

    @property
    def log_weights(self) -> Tensor:
        """log p(x, z) - log q(z | x)."""
        return self.log_joint - self.log_guide

    @property
    def rate(self) -> Tensor:
        """log q(z | x) - log p(z)."""
        return self.log_guide - self.log_prior


@dataclass(frozen=True)
class Draws:
    """K draws for each unit; model and guide are scored at them when that is asked for.

    ``guides``: one trace, of all draws, or a trace for each.
    """

    program: Program
    plan: Plan
    arguments: Calls
    num_particles: int
    guides: list[poutine.Trace]

    @cached_property
    def structure(self) -> Structure:
        """That of this very batch."""
        structure = self.plan.structure
        sites = sample_sites(self.guides[0]).values() or sample_sites(self.models[0]).values()
        frames = (f for site in sites for f in site["cond_indep_stack"] if f.name == structure.unit)
        frame = next(frames, None)
        if structure.unit is None:
            return structure
        if frame is None:
            raise InputError(
                f"this objective has been used with another program, whose unit was {structure.unit!r}: "
                "make a new one for each program"
            )
        return replace(structure, num_units=frame.size, size=frame.full_size or frame.size)

    @cached_property
    def models(self) -> list[poutine.Trace]:
        """The model at these draws."""
        model, sums_out = self.program.model, bool(self.plan.structure.enumerated)
        return [self._run(model, guide, sums_out) for guide in self.guides]

    @cached_property
    def scale(self) -> float:
        """What a unit counts: N / B where its plate is subsampled, and any scale that all sites share."""
        traces = (self.models[0], self.guides[0])
        sites = [*sample_sites(traces[0]).values(), *proposal_sites(traces[1]).values()]
        if not self.plan.is_weighted:
            return self.structure.size / self.structure.num_units
        scales = {site["scale"] for site in sites}
        if len(scales) == 1 and not any(isinstance(scale, Tensor) for scale in scales):
            return float(scales.pop())
        return self.structure.size / self.structure.num_units

    @property
    def count(self) -> float:
        """How many units the batch stands for."""
        return self.scale * self.structure.num_units

    @cached_property
    def scored(self) -> Scored:
        """What the sites say, with all their gradients."""
        models = [self._score_model(trace) for trace in self.models]
        likelihoods, priors = zip(*models, strict=True)
        return Scored(torch.cat(likelihoods), torch.cat(priors), self.log_guide)

    @cached_property
    def log_guide(self) -> Tensor:
        return torch.cat([self._score(proposal_sites(trace).values()) for trace in self.guides])

    @cached_property
    def copies(self) -> "Draws":
        """The same values, as tensors of their own, in guide and model: no gradient reaches the guide
        by them, and one can be had with respect to them."""
        guides = [with_values(trace, _copied) for trace in self.guides]
        program = self.program
        if len(drawn_sites(guides[0])) > 1:  # a site's distribution may depend on another's value
            guides = [self._run(program.guide, trace) for trace in guides]
        return replace(self, guides=guides)

    def pulled(self, objective: Tensor) -> Tensor:
        """A tensor whose gradient is that of ``objective`` by way of the draws, and nothing else.

        :param objective: a function of :attr:`copies`, ``|``.
        """
        values, copies = [], []
        for ours, theirs in zip(self.guides, self.copies.guides, strict=True):
            at_copies = drawn_sites(theirs)
            for name, site in drawn_sites(ours).items():
                if at_copies[name]["value"].requires_grad:
                    values.append(site["value"])
                    copies.append(at_copies[name]["value"])
        if not copies:
            return objective.new_zeros(())
        slopes = torch.autograd.grad(objective, copies, retain_graph=True, allow_unused=True)
        terms = [(s * v).sum() for s, v in zip(slopes, values, strict=True) if s is not None]
        return sum(terms, start=objective.new_zeros(()))

    # --- running and scoring ------------------------------------------------------------------

    @property
    def _each(self) -> int:
        """Draws in a trace."""
        return self.num_particles // len(self.guides)

    def _run(
        self, function: Callable[..., Any], values: poutine.Trace, sums_out: bool = False
    ) -> poutine.Trace:
        args, kwargs = self.arguments
        inside = in_particle_plate(function, self.plan, self._each)
        if sums_out:
            inside = poutine.enum(
                inside, first_available_dim=-2 - self.plan.structure.max_plate_nesting
            )
        return with_plate_sizes(
            poutine.trace(poutine.replay(inside, values)).get_trace(*args, **kwargs)
        )

    def _score_model(self, trace: poutine.Trace) -> tuple[Tensor, Tensor]:
        sites = sample_sites(trace)
        if self.structure.enumerated:
            self._check_unweighted(sites)
            return score_model(trace, self.structure, self._each)
        observed = [site for site in sites.values() if site["is_observed"]]
        return self._score(observed), self._score(drawn_sites(trace).values())

    def _check_unweighted(self, sites: dict[str, Site]) -> None:
        for name, site in sites.items():
            if self.weight(site) is not None:
                raise InputError(
                    f"the model's site {name!r} has a weight of its own (poutine.scale, or a KL weight) "
                    f"beside {self.structure.enumerated[0]!r}, which is summed out: leave the weight out"
                )

    def _score(self, sites: Iterable[Site]) -> Tensor:
        terms = [self._unit_log_prob(site) for site in sites]
        total = sum(terms[1:], start=terms[0]) if terms else torch.zeros(())
        return total.expand(self._each, self.structure.num_units)

    def _unit_log_prob(self, site: Site) -> Tensor:
        """(K or 1, U), times what the site is scaled by beyond what its unit counts."""
        weight = self.weight(site)
        if weight is None:
            return unit_log_prob(site, self.structure)
        if not isinstance(weight, Tensor) or weight.dim() == 0:
            return weight * unit_log_prob(site, self.structure)
        raise InputError(
            f"site {site['name']!r} is scaled by a tensor of shape {tuple(weight.shape)}: only "
            "numbers can weigh a site under this objective"
        )

    def weight(self, site: Site) -> float | Tensor | None:
        """What a site is scaled by beyond what its unit counts; None for 1."""
        scale = site["scale"] if self.plan.is_weighted else plate_scale(site)
        if isinstance(scale, Tensor):
            return scale / self.scale
        return None if scale == self.scale else float(scale / self.scale)


def in_particle_plate(
    function: Callable[..., Any], plan: Plan, num_particles: int
) -> Callable[..., Any]:
    """``function`` under a plate over particles, left of all its own."""
    if num_particles == 1:
        return function
    wrapped: Callable[..., Any] = particle_plate(num_particles, plan.structure)(function)
    return wrapped


def has_room(plan: Plan) -> bool:
    """Whether no plate around this very call, such as that of an evidence's particles, is in the way."""
    try:
        with poutine.block(), in_particle_plate(nullcontext, plan, 2)():
            return True
    except ValueError:
        return False


def draw(
    program: Program, plan: Plan, num_particles: int, arguments: Calls, cut: bool = False
) -> Draws:
    """``num_particles`` draws from the guide; the arguments are not copied for them.

    :param cut: without gradients through the values.
    """
    args, kwargs = arguments
    runs = 1 if plan.vectorized and has_room(plan) else num_particles
    guide = in_particle_plate(program.guide, plan, num_particles // runs)
    guides: list[poutine.Trace] = []
    for _ in range(runs):
        if guides:  # the same units in all runs, if the program itself chooses them
            guide = poutine.replay(program.guide, _subsamples(guides[0]))
        with Cut() if cut else nullcontext():
            guides.append(with_plate_sizes(poutine.trace(guide).get_trace(*args, **kwargs)))
    return Draws(program, plan, arguments, num_particles, guides)


def _subsamples(trace: poutine.Trace) -> poutine.Trace:
    only = trace.copy()
    for name, site in trace.nodes.items():
        if not isinstance(site.get("fn"), _Subsample):
            only.remove_node(name)
    return only


def _copied(site: Site) -> Tensor:
    value: Tensor = site["value"]
    return _Stop.apply(value) if value.requires_grad else value.detach()
