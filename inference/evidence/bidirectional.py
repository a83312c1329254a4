"""Bidirectional Monte Carlo: the evidence between a bound from below and one from above."""

import abc
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from pyro.poutine import Trace
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.inference.annealing.simulate import simulate
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.annealed_chains import ChainSums
from pyro_vae.inference.evidence.method import (
    Advance,
    Estimator,
    Method,
    UnitEstimates,
    Workload,
    last,
)
from pyro_vae.inference.evidence.missed_copies import Missed
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.program.bound_program import BoundProgram

CHECKS = {"annealed": checks.instance(Annealed, "a method of annealing, Annealed(...)")}


@dataclass(frozen=True)
class TwoSided(Method):
    """Anneal forward for the lower figure, and in reverse for the upper one."""

    annealed: Annealed = field(default_factory=Annealed)

    num_particles = Annealed.num_particles

    def __post_init__(self) -> None:
        checks.check_arguments(CHECKS, vars(self))

    def program(self, program: Any) -> Any:
        return self.annealed.program(program)

    def estimator(self, example: BoundProgram, work: Workload) -> Estimator:
        annealed = self.annealed
        annealed.sampler(example, work)
        compiler = annealed.compiler(work)

        def estimate(bound_program: BoundProgram, advance: Advance) -> Iterator[TwoSidedEstimate]:
            bound_program, latents = self.posterior_draw(bound_program)
            sampler = annealed.sampler(bound_program, work, compiler)
            step_sizes = annealed.step_sizes(sampler)
            half: Advance = lambda share: advance(share / 2)  # noqa: E731
            below = last(annealed.anneal(sampler, step_sizes, work.num_particles, half))
            end = below.resampled_end()
            if latents is not None:
                end = sampler.path.coordinates_of(latents)
            above = last(annealed.anneal(sampler, step_sizes, work.num_particles, half, end))
            yield TwoSidedEstimate(below, above, None if latents is None else bound_program)

        return estimate

    def notes(self, estimates: UnitEstimates, example: BoundProgram) -> tuple[str, ...]:
        return self.annealed.notes(estimates, example)

    def missed(self, example: BoundProgram, num_particles: int) -> Missed | None:
        return self.annealed.missed(example, num_particles)

    @abc.abstractmethod
    def posterior_draw(self, bound_program: BoundProgram) -> tuple[BoundProgram, Trace | None]:
        """Return a call on the data to estimate, and an exact draw of their posterior, if there is one."""


@dataclass(frozen=True)
class Bidirectional(TwoSided):
    """Bound log p(x) from both sides, on data drawn from the model.

    Latents and data are drawn together, (z, x) ~ p, so z is an exact draw of p(z | x). Annealing forward
    gives weights whose mean is unbiased for p(x), and so log (1/K) sum_k w_k, whose expectation is at
    most log p(x). Annealing in reverse, K chains from this z, gives weights v unbiased for 1 / p(x), and
    -log (1/K) sum_k v_k, whose expectation is at least log p(x). The expected gap bounds the bias of
    each, so a small one certifies annealing with these settings, for data as the model draws them; real
    data may be harder.

    The data that are passed give the number of draws, and what the model does not generate (lengths,
    labels); their observed values are not used. The drawn data are the result's ``simulated``.

    Source: R. B. Grosse, Z. Ghahramani, R. P. Adams, "Sandwiching the marginal likelihood using
    bidirectional Monte Carlo", 2015, https://arxiv.org/abs/1511.02543; Y. Wu, Y. Burda,
    R. Salakhutdinov, R. Grosse, "On the quantitative analysis of decoder-based generative models",
    2017, https://arxiv.org/abs/1611.04273.

    Args:
        annealed: how the chains move.

    Raises:
        InputError: when used, where the model cannot draw its data: ``obs`` is computed from the
            arguments, or a distribution depends on observed data.

    >>> from pyro_vae import log_evidence
    >>> from pyro_vae.models import FactorAnalysis
    >>> model, method = FactorAnalysis((3,), 1), Bidirectional(Annealed(num_temperatures=20))
    >>> log_evidence(model, torch.zeros(50, 3), method=method, seed=0).mean_gap < 0.1
    True
    """

    @property
    def description(self) -> str:
        return f"bidirectional, {self.annealed.description}, and back from an exact draw"

    def posterior_draw(self, bound_program: BoundProgram) -> tuple[BoundProgram, Trace | None]:
        return simulate(bound_program)


@dataclass(frozen=True)
class Sandwich(TwoSided):
    """Bound log p(x) from below, and estimate it from above.

    The lower bound is that of annealing forward. One of the K chains' ends, drawn by weight for each
    unit, then takes the place of a draw of the posterior, and K chains go back from it. From an exact draw
    ``upper`` would be an upper bound in expectation; from this one it is an estimate: it exceeds the lower
    bound by about what annealing loses in the parts of the posterior that it finds, and says nothing of
    the parts that it misses. :class:`Bidirectional` gives a true bound, on simulated data.

    The result's ``indicative`` holds two figures of importance sampling from the start, with the same
    draws: "CUBO", 1/2 log E_q w^2, from the K draws of the start, which is biased low (and with K = 1 the
    ELBO's own sample); "EUBO", E_(p(z | x)) log w, at the resampled ends.

    Source: as for :class:`Bidirectional`; CUBO: A. B. Dieng, D. Tran, R. Ranganath, J. Paisley, D. Blei,
    "Variational inference via chi upper bound minimization", 2017, https://arxiv.org/abs/1611.00328.

    Args:
        annealed: how the chains move.

    >>> from pyro_vae import log_evidence
    >>> from pyro_vae.models import FactorAnalysis
    >>> model, method = FactorAnalysis((3,), 1), Sandwich(Annealed(num_temperatures=20))
    >>> evidence = log_evidence(model, torch.randn(50, 3), method=method, seed=0)
    >>> sorted(evidence.indicative)
    ['CUBO', 'EUBO']
    """

    @property
    def description(self) -> str:
        return f"sandwich, {self.annealed.description}, and back from one of its ends"

    def posterior_draw(self, bound_program: BoundProgram) -> tuple[BoundProgram, Trace | None]:
        return bound_program, None

    def notes(self, estimates: UnitEstimates, example: BoundProgram) -> tuple[str, ...]:
        return (
            *super().notes(estimates, example),
            "the upper figure is an estimate, not a bound: its chains start from a draw that annealing "
            "made, not from the posterior itself; where annealing misses a part of the posterior, lower "
            "and upper figure are both too low, and still close together",
            "indicative only: CUBO is a log of an average of K squared weights, biased low; EUBO takes "
            "the same draw for one of the posterior",
        )


@dataclass(frozen=True)
class TwoSidedEstimate:
    """Hold the chains of one tile in both directions, and its call where its data were simulated."""

    below: ChainSums
    above: ChainSums
    simulated: BoundProgram | None

    @property
    def count(self) -> int:
        return self.below.count

    def unit_estimates(self) -> UnitEstimates:
        estimates = replace(
            self.below.unit_estimates(),
            upper=-self.above.weights.log_mean(),
            upper_error=self.above.weights.standard_error(),
        )
        if self.simulated is not None:
            return replace(
                estimates, simulated=tuple(x for x in self.simulated.args if isinstance(x, Tensor))
            )
        indicative = {"CUBO": _cubo(self.below.ratios), "EUBO": self.above.ratios.mean_log()}
        return replace(estimates, indicative=indicative)


def _cubo(ratios: WeightSums) -> Tensor:
    """Return 1/2 log (1/K) sum_k w_k^2; the effective sample size is (sum w)^2 / sum w^2."""
    return ratios.log_total() - (ratios.ess() * ratios.count).log() / 2
