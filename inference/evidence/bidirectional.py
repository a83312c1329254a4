"""Bidirectional Monte Carlo: the evidence between a bound from below and one from above."""

import abc
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from pyro.poutine import Trace
from torch import Tensor

from pyro_vae.inference.annealing.simulate import simulate
from pyro_vae.inference.evidence.annealed import Annealed, counts
from pyro_vae.inference.evidence.chains import Walks, walk
from pyro_vae.inference.evidence.method import Estimator, Figures, Method, Tick, complete
from pyro_vae.inference.evidence.tiles import UNITS
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.program.bound_program import BoundProgram


@dataclass(frozen=True)
class BothSides(Method):
    """Annealing forward for what lies below, and in reverse for what lies above."""

    annealed: Annealed = field(default_factory=Annealed)

    num_particles = Annealed.num_particles
    tile = UNITS

    def estimator(
        self, example: BoundProgram, num_particles: int, max_memory: int | None
    ) -> Estimator:
        self.annealed.sampler(example, max_memory)

        def estimate(call: BoundProgram, tick: Tick) -> Iterator[Sides]:
            call, latents = self.posterior_draw(call)
            sampler = self.annealed.sampler(call, max_memory)
            steps = self.annealed.steps(sampler)
            half: Tick = lambda share: tick(share / 2)  # noqa: E731
            below = complete(self.annealed.forward(sampler, steps, num_particles, half))
            exact = None if latents is None else sampler.path.at(latents)
            ends = below.chosen() if exact is None else exact
            above = Walks(num_particles, call)
            for count in counts(call, num_particles):
                u = ends.expand(count, -1, -1)
                share = count / num_particles / self.annealed.num_temperatures
                betas = self.annealed.betas[::-1]
                above.add(walk(sampler, u, betas, steps, partial(half, share)))
            yield Sides(below, above, None if latents is None else call)

        return estimate

    def notes(self, figures: Figures, example: BoundProgram) -> tuple[str, ...]:
        return self.annealed.notes(figures, example)

    @abc.abstractmethod
    def posterior_draw(self, call: BoundProgram) -> tuple[BoundProgram, Trace | None]:
        """The data to bound the evidence of, and a draw of their posterior where one is known."""


@dataclass(frozen=True)
class Bidirectional(BothSides):
    """Bounds log p(x) from both sides on data that the model itself draws.

    Latents and data are drawn together, (z, x) ~ p, so z is an exact draw of p(z | x). Annealing forward
    gives weights whose mean is unbiased for p(x), and so log (1/K) sum_k w_k, whose expectation is at
    most log p(x). Annealing in reverse, K chains from this z, gives weights v unbiased for 1 / p(x), and
    -log (1/K) sum_k v_k, whose expectation is at least log p(x). The expected gap bounds the bias of
    each, so a small one certifies annealing with these settings, for data as the model draws them; real
    data may be harder.

    The data that are passed say how many to draw, and hold what the model does not generate (lengths,
    labels); their observed values are not used. What was drawn is the result's ``simulated``.

    Source: R. B. Grosse, Z. Ghahramani, R. P. Adams, "Sandwiching the marginal likelihood using
    bidirectional Monte Carlo", 2015, https://arxiv.org/abs/1511.02543; Y. Wu, Y. Burda,
    R. Salakhutdinov, R. Grosse, "On the quantitative analysis of decoder-based generative models",
    2017, https://arxiv.org/abs/1611.04273.

    :param annealed: how the chains walk.
    :raises InputError: when used, where the model cannot draw its data, because ``obs`` is computed from
        the arguments or a distribution depends on observed data.

    >>> from pyro_vae import log_evidence
    >>> from pyro_vae.models import FactorAnalysis
    >>> model = FactorAnalysis((3,), 1)
    >>> log_evidence(model, torch.zeros(50, 3), method=Bidirectional(), seed=0).mean_gap < 0.1
    True
    """

    @property
    def described(self) -> str:
        return f"bidirectional, {self.annealed.described}, and back from an exact draw"

    def posterior_draw(self, call: BoundProgram) -> tuple[BoundProgram, Trace | None]:
        return simulate(call)


@dataclass(frozen=True)
class Sandwich(BothSides):
    """A lower bound on log p(x) of given data, and an estimate from above.

    The lower bound is that of annealing forward. One of the K chains' ends, drawn by weight for each
    unit, then stands in for a draw of the posterior, and K chains walk back from it. Were it one, what
    they give would be an upper bound in expectation; as it is, ``upper`` is an estimate: it exceeds the
    lower one by about what annealing loses where it sees the posterior, and knows nothing of what it does
    not see. :class:`Bidirectional` gives a true bound, on simulated data.

    The result's ``indicative``, both of importance sampling from the start with the same draws: "CUBO",
    1/2 log E_q w^2, from the K draws of the start, which is biased low (and with K = 1 the ELBO's own
    sample); "EUBO", E_(p(z | x)) log w, at the chosen ends.

    Source: as for :class:`Bidirectional`; CUBO: A. B. Dieng, D. Tran, R. Ranganath, J. Paisley, D. Blei,
    "Variational inference via chi upper bound minimization", 2017, https://arxiv.org/abs/1611.00328.

    :param annealed: how the chains walk.

    >>> from pyro_vae import log_evidence
    >>> from pyro_vae.models import FactorAnalysis
    >>> model = FactorAnalysis((3,), 1)
    >>> evidence = log_evidence(model, torch.randn(50, 3), method=Sandwich(), seed=0)
    >>> sorted(evidence.indicative)
    ['CUBO', 'EUBO']
    """

    @property
    def described(self) -> str:
        return f"sandwich, {self.annealed.described}, and back from one of its ends"

    def posterior_draw(self, call: BoundProgram) -> tuple[BoundProgram, Trace | None]:
        return call, None

    def notes(self, figures: Figures, example: BoundProgram) -> tuple[str, ...]:
        return (
            *super().notes(figures, example),
            "the upper figure is an estimate, not a bound: its chains set out from a draw that annealing "
            "made, not from the posterior itself; where annealing misses a part of the posterior, lower "
            "and upper are both too low, and close together all the same",
            "indicative only: CUBO is a log of an average of K squared weights, biased low; EUBO takes "
            "the same draw for one of the posterior",
        )


@dataclass(frozen=True)
class Sides:
    """Both walks of one tile, and its call where the data in it were simulated."""

    below: Walks
    above: Walks
    simulated: BoundProgram | None

    @property
    def count(self) -> int:
        return self.below.count

    def figures(self) -> Figures:
        upper = {
            "upper": -self.above.weights.log_mean(),
            "upper_error": self.above.weights.standard_error(),
        }
        if self.simulated is not None:
            data = {f"simulated.{i}": value for i, value in enumerate(self.simulated.args)}
            return self.below.figures() | upper | data
        indicative = {
            "indicative.CUBO": _cubo(self.below.ratios),
            "indicative.EUBO": self.above.ratios.mean_log(),
        }
        return self.below.figures() | upper | indicative


def _cubo(ratios: WeightSums) -> Tensor:
    """1/2 log (1/K) sum_k w_k^2; (sum w)^2 / sum w^2 is the effective sample size."""
    return ratios.log_total() - (ratios.ess() * ratios.count).log() / 2
