"""Draws from a guide that gradients go through, with their log-probabilities per unit."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from pyro import poutine
from pyro.distributions.transforms import BatchNorm
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from pyro_vae.errors import InputError
from pyro_vae.program.bound_program import BoundProgram, particle_plate
from pyro_vae.program.contract import Program
from pyro_vae.program.log_prob import unit_log_prob
from pyro_vae.program.particles import LogProbs, score_model, with_values
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import (
    Site,
    drawn_sites,
    observed_sites,
    plate_scale,
    proposal_sites,
    sample_sites,
)

Arguments = tuple[tuple[Any, ...], dict[str, Any]]  # the arguments of model and guide


@dataclass(frozen=True)
class DrawPlan:
    """Hold how to draw from a program."""

    structure: Structure
    vectorized: bool = False  # all draws under one plate, or one run each, of the same units
    num_data: int | None = None  # all units, where that is known
    is_weighted: bool = True  # do sites count by ``poutine.scale``, too, and not by plates alone?


class Detach(Messenger):
    """Detach the values that are drawn: what depends on one no longer depends on the guide's parameters.

    It encloses the handler that records a trace, which takes what outer handlers leave.
    """

    def _pyro_post_sample(self, msg: Any) -> None:
        if not msg["is_observed"] and isinstance(msg["value"], Tensor):
            msg["value"] = msg["value"].detach()


class PassedOn:
    """Hold by which factor copies pass their gradient on; None for none of it."""

    factor: Tensor | None = None  # (K, U)


class _Copy(torch.autograd.Function):
    """Copy a tensor to differentiate by, and pass on as much of its gradient as was asked for by then."""

    @staticmethod
    def forward(value: Tensor, passed_on: PassedOn, expand: Callable[[Tensor], Tensor]) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.passed_on, ctx.expand = inputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None]:
        factor = ctx.passed_on.factor
        return None if factor is None else gradients[0] * ctx.expand(factor), None, None


@dataclass(frozen=True)
class GuideDraws:
    """Hold K draws for each unit; model and guide are scored at them on demand.

    Log-probabilities are under the sites' own masks and scales, except the scale of a unit.
    """

    bound_program: BoundProgram
    plan: DrawPlan
    num_particles: int
    guides: list[poutine.Trace]  # one of all draws, or one for each
    passed_on: PassedOn = field(default_factory=PassedOn)  # from copies to what they are copies of

    @cached_property
    def structure(self) -> Structure:
        """Return the structure of this batch.

        Raises:
            InputError: the plan is of another program.
        """
        structure = self.plan.structure
        sites = sample_sites(self.guides[0]).values() or sample_sites(self.models[0]).values()
        frames = (f for site in sites for f in site["cond_indep_stack"] if f.name == structure.unit)
        frame = next(frames, None)
        if structure.unit is None:
            return structure
        if frame is None:
            raise InputError(
                f"this objective has been used with another program, whose unit was {structure.unit!r}",
                subject=structure.unit,
                remedy="make a new objective for each program",
            )
        return replace(structure, num_units=frame.size, size=frame.full_size or frame.size)

    @cached_property
    def models(self) -> list[poutine.Trace]:
        """Return the model's traces at these draws."""
        return [self.bound_program.joint(self._draws_per_trace, guide) for guide in self.guides]

    @cached_property
    def scale(self) -> float:
        """Return the scale of a unit: N / B where its plate is subsampled, and one that all sites share."""
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
        """Return how many units the batch stands for."""
        return self.scale * self.structure.num_units

    @cached_property
    def log_probs(self) -> LogProbs:
        """Return the log-probabilities, with all their gradients."""
        models = [self._score_model(trace) for trace in self.models]
        likelihoods, priors = zip(*models, strict=True)
        return LogProbs(torch.cat(likelihoods), torch.cat(priors), self.log_guide)

    @cached_property
    def log_guide(self) -> Tensor:
        return torch.cat([self._score(proposal_sites(trace).values()) for trace in self.guides])

    @cached_property
    def copies(self) -> "GuideDraws":
        """Return the same values as tensors of their own, in guide and model.

        Gradients are taken with respect to the copies, and none reaches the guide through them.
        """
        passed_on = PassedOn()
        guides = [
            with_values(trace, partial(self._copied, number=number, passed_on=passed_on))
            for number, trace in enumerate(self.guides)
        ]
        if len(drawn_sites(guides[0])) > 1:  # a site's distribution may depend on another's value
            replays = [partial(poutine.replay, trace=trace) for trace in guides]
            guides = [self.bound_program.guide(self._draws_per_trace, replay) for replay in replays]
        return replace(self, guides=guides, passed_on=passed_on)

    def _copied(self, site: Site, number: int, passed_on: PassedOn) -> Tensor:
        """Return a copy of a site's value, in the trace of that number."""
        value: Tensor = site["value"]
        if not value.requires_grad:
            return value.detach()
        each, structure = self._draws_per_trace, self.structure
        plates = [1] * structure.max_plate_nesting
        if structure.unit is not None:
            plates[structure.dim] = structure.num_units
        shape = [each, *plates] if self.bound_program.vectorized else plates
        event_dim = site["fn"].event_dim
        shape = shape[len(shape) - (value.dim() - event_dim) :] + [1] * event_dim

        def expand(factor: Tensor) -> Tensor:
            return factor[number * each : (number + 1) * each].reshape(shape)

        passed: Tensor = _Copy.apply(value, passed_on, expand)
        return passed

    @property
    def mixes_rows(self) -> bool:
        """Return whether a layer computes with several rows at once: a draw moves others' densities."""
        modules = (
            m for root in self.bound_program.program.modules.values() for m in root.modules()
        )
        return any(isinstance(m, _BatchNorm | BatchNorm) and m.training for m in modules)

    def pathwise(self, objective: Tensor) -> Tensor:
        """Return a tensor with the pathwise gradient of ``objective``: through the draws alone.

        Args:
            objective: a function of :attr:`copies`, ``|``.
        """
        values, copies = [], []
        for guide, copied_guide in zip(self.guides, self.copies.guides, strict=True):
            copied = drawn_sites(copied_guide)
            for name, site in drawn_sites(guide).items():
                if copied[name]["value"].requires_grad:
                    values.append(site["value"])
                    copies.append(copied[name]["value"])
        if not copies:
            return objective.new_zeros(())
        slopes = torch.autograd.grad(objective, copies, retain_graph=True, allow_unused=True)
        terms = [(s * v).sum() for s, v in zip(slopes, values, strict=True) if s is not None]
        return sum(terms, start=objective.new_zeros(()))

    # --- scoring ------------------------------------------------------------------------------

    @property
    def _draws_per_trace(self) -> int:
        return self.num_particles // len(self.guides)

    def _score_model(self, trace: poutine.Trace) -> tuple[Tensor, Tensor]:
        if self.structure.enumerated:
            self._check_unweighted(sample_sites(trace))
            return score_model(trace, self.structure, self._draws_per_trace)
        observed, latent = observed_sites(trace), drawn_sites(trace)
        return self._score(observed.values()), self._score(latent.values())

    def _check_unweighted(self, sites: dict[str, Site]) -> None:
        for name, site in sites.items():
            if self.weight(site) is not None:
                raise InputError(
                    f"the model's site {name!r} has its own weight (poutine.scale, or a KL weight), and "
                    f"{self.structure.enumerated[0]!r} is summed out",
                    subject=name,
                    remedy="leave the weight out",
                )

    def _score(self, sites: Iterable[Site]) -> Tensor:
        terms = [self._unit_log_prob(site) for site in sites]
        nothing = torch.zeros((), device=self.structure.device)
        total = sum(terms[1:], start=terms[0]) if terms else nothing
        return total.expand(self._draws_per_trace, self.structure.num_units)

    def _unit_log_prob(self, site: Site) -> Tensor:
        """Return the log-probability, (K or 1, U), times the site's own weight."""
        weight = self.weight(site)
        if weight is None:
            return unit_log_prob(site, self.structure)
        if not isinstance(weight, Tensor) or weight.dim() == 0:
            return weight * unit_log_prob(site, self.structure)
        raise InputError(
            f"site {site['name']!r} is scaled by a tensor of shape {tuple(weight.shape)}",
            subject=site["name"],
            expected="a number",
        )

    def weight(self, site: Site) -> float | Tensor | None:
        """Return a site's scale divided by that of a unit; None for 1."""
        scale = site["scale"] if self.plan.is_weighted else plate_scale(site)
        if isinstance(scale, Tensor):
            return scale / self.scale
        return None if scale == self.scale else float(scale / self.scale)


def draw(
    program: Program, plan: DrawPlan, num_particles: int, arguments: Arguments, detach: bool = False
) -> GuideDraws:
    """Return ``num_particles`` draws from the guide for each unit, detached or with gradients."""
    together = plan.vectorized and num_particles > 1 and _can_add_plate(plan.structure)
    args, kwargs = arguments
    bound_program = BoundProgram(program, plan.structure, together, args, kwargs)
    guides: list[poutine.Trace] = []
    with Detach() if detach else nullcontext():
        for _ in range(1 if together else num_particles):
            # the same units in all runs, if the program itself chooses them
            units = partial(poutine.replay, trace=_subsamples(guides[0])) if guides else None
            guides.append(bound_program.guide(num_particles if together else 1, units))
    return GuideDraws(bound_program, plan, num_particles, guides)


def _can_add_plate(structure: Structure) -> bool:
    """Return whether no plate around this call, as of an evidence's particles, takes the dimension."""
    try:
        with poutine.block(), particle_plate(2, structure):
            return True
    except ValueError:
        return False


def _subsamples(trace: poutine.Trace) -> poutine.Trace:
    only = trace.copy()
    for name, site in trace.nodes.items():
        if not isinstance(site.get("fn"), _Subsample):
            only.remove_node(name)
    return only
