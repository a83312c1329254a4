"""Bidirectional Monte Carlo: the evidence between a bound from below and one from above."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from pyro.poutine import Trace
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.annealed import Annealing, forward, together
from pyro_vae.inference.evidence import Evidence
from pyro_vae.inference.paths import Call
from pyro_vae.inference.schedules import Schedule, sigmoid
from pyro_vae.inference.simulate import simulate
from pyro_vae.inference.tiles import Tiles, progress_bar, tiled
from pyro_vae.inference.walks import Walks, walk
from pyro_vae.inference.weights import WeightSums

NO_BOUND = (
    "the upper figure is an estimate, not a bound: its chains set out from a draw that annealing made, "
    "not from the posterior itself; where annealing misses a part of the posterior, lower and upper "
    "are both too low, and close together all the same"
)
INDICATIVE = (
    "indicative only: CUBO is a log of an average of {K} squared weights, biased low; EUBO takes the same "
    "draw for one of the posterior"
)


@dataclass(frozen=True)
class Bounds:
    """Log-evidence from below and from above; tensors are ``units |``, in nats.

    ``evidence`` holds the lower bounds (``log_evidence``, ``standard_error``) and the upper ones
    (``upper``, ``upper_error``), each with the Monte-Carlo error of its K chains. The chains of an upper
    bound share one draw of the posterior, whose own variation its error does not see; that of
    :attr:`mean_gap` does.

    ``simulated`` says whose data these are. On data that the model itself has drawn, latents and all, an
    expectation of the one lies below log p(x) and one of the other above it. On given data the posterior
    draw is itself an estimate, and so is what stands in ``upper``. ``data`` are the arguments with the
    simulated data in them, for any other estimator to be tried on; ``indicative`` holds further figures of
    given data by name, which bound nothing.
    """

    evidence: Evidence
    simulated: bool
    data: tuple[Tensor, ...] = ()
    indicative: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def lower(self) -> Tensor:
        return self.evidence.log_evidence

    @property
    def upper(self) -> Tensor:
        assert self.evidence.upper is not None
        return self.evidence.upper

    @property
    def gap(self) -> Tensor:
        """Upper minus lower; a unit's own may be negative, by chance."""
        return self.upper - self.lower

    @property
    def mean_gap(self) -> float:
        """On simulated data its expectation bounds how far, on average, either side is off."""
        return float(self.gap.mean())

    @property
    def mean_gap_error(self) -> float:
        """Standard error of :attr:`mean_gap`, from how the gaps of the units, which are independent, vary.

        For a single unit, from the Monte-Carlo errors of its two bounds.
        """
        if self.evidence.units > 1:
            return float(self.gap.std() / math.sqrt(self.evidence.units))
        assert self.evidence.upper_error is not None
        errors = torch.cat([self.evidence.standard_error, self.evidence.upper_error])
        return float(errors.square().sum().sqrt())

    def interval(self, delta: float = 0.05) -> tuple[float, float]:
        """Two numbers that hold the mean log p(x) of these units between them, with probability 1 - delta.

        Nothing is assumed of the weights: forward weights are unbiased for p(x) and reverse ones for
        1 / p(x), independently for each unit, so by Markov's inequality either mean is on its wrong side by
        more than log(2 / delta) / units with probability at most delta / 2. NaN on given data, where the
        reverse weights are not unbiased.
        """
        if not 0 < delta < 1:
            raise InputError(f"delta must lie between 0 and 1, not {delta}")
        if not self.simulated:
            return math.nan, math.nan
        slack = math.log(2 / delta) / self.evidence.units
        return float(self.lower.mean()) - slack, float(self.upper.mean()) + slack

    def to_dict(self) -> dict[str, Any]:
        """The figures of the whole set, in nats, as JSON takes them."""
        low, high = self.interval() if self.simulated else (None, None)
        return {
            **self.evidence.to_dict(),
            "gap": self.mean_gap,
            "gap_standard_error": self.mean_gap_error,
            "simulated": self.simulated,
            "interval_95": [low, high],
            "indicative": {name: float(value.mean()) for name, value in self.indicative.items()},
        }

    def summary(self) -> str:
        """A few lines, as one would put them into a paper."""
        evidence = self.evidence
        assert evidence.upper_error is not None
        upper_error = float(evidence.upper_error.square().sum().sqrt() / evidence.units)
        upper = "upper bound, in expectation" if self.simulated else "upper estimate (no bound)"
        rows = [
            (
                "lower bound, in expectation",
                f"{evidence.mean:.3f} ± {evidence.mean_standard_error:.3f}",
            ),
            (upper, f"{float(self.upper.mean()):.3f} ± {upper_error:.3f}"),
            ("gap", f"{self.mean_gap:.3f} ± {self.mean_gap_error:.3f}"),
        ]
        if self.simulated:
            low, high = self.interval()
            rows.append(("certified, with probability 95%", f"{low:.3f} to {high:.3f}"))
        rows += [(f"{name} (indicative)", f"{v.mean():.3f}") for name, v in self.indicative.items()]
        width = max(len(name) for name, _ in rows) + 2
        whose = "data drawn from the model" if self.simulated else "given data"
        what = f"mean of {evidence.units:,} units" if evidence.unit else "joint figure"
        head = (
            f"log p(x) of {whose}, {what}, nats; {evidence.method}, K = {evidence.num_particles:,}"
        )
        return "\n".join([head, *(f"{name:{width}}{v}" for name, v in rows), *evidence.notes])


def bidirectional(
    program: Any,
    data: Any,
    *,
    num_particles: int = 16,
    num_temperatures: int = 100,
    start: str = "guide",
    schedule: Schedule = sigmoid,
    num_leapfrog: int = 10,
    unit: str | None = None,
    seed: int | None = None,
    device: str | torch.device = "auto",
    max_memory: int | None = None,
    progress: bool | None = None,
) -> Bounds:
    """Bounds log p(x) from both sides on data that the model itself draws.

    Latents and data are drawn together, (z, x) ~ p, so z is an exact draw of p(z | x). Annealing forward
    gives weights whose mean is unbiased for p(x), and so log (1/K) sum_k w_k, whose expectation is at
    most log p(x). Annealing in reverse, K chains from this z, gives weights v unbiased for 1 / p(x), and
    -log (1/K) sum_k v_k, whose expectation is at least log p(x). The expected gap bounds the bias of
    each, so a small one certifies annealing with these settings, for data as the model draws them; real
    data may be harder.

    Source: R. B. Grosse, Z. Ghahramani, R. P. Adams, "Sandwiching the marginal likelihood using
    bidirectional Monte Carlo", 2015, https://arxiv.org/abs/1511.02543; Y. Wu, Y. Burda,
    R. Salakhutdinov, R. Grosse, "On the quantitative analysis of decoder-based generative models",
    2017, https://arxiv.org/abs/1611.04273.

    Args:
        program: a model and guide.
        data: says how many data to draw, and holds what the model does not generate (lengths, labels);
            its observed values are not used.

    All other options are those of :func:`pyro_vae.inference.annealed.annealed_evidence`.

    :raises InputError: as there; and where the model cannot draw its data, because ``obs`` is computed
        from the arguments or a distribution depends on observed data.

    >>> from pyro_vae.models import FactorAnalysis
    >>> bounds = bidirectional(FactorAnalysis((3,), 1), torch.zeros(50, 3), seed=0)
    >>> bounds.mean_gap < 0.1
    True
    """
    annealing = Annealing.of(
        num_particles, num_temperatures, start, schedule, num_leapfrog, max_memory
    )
    with tiled(program, data, unit, seed, device) as tiles:
        sides = _Sides(annealing, tiles)
        with progress_bar(2 * annealing.ticks(tiles), progress) as bar:
            for call in tiles:
                simulated, latents = simulate(call)
                sides.add(simulated, latents, partial(bar.update, call.num_rows))
        drawn = zip(*(call.args for call in sides.calls), strict=True)
        return Bounds(sides.evidence(), True, tuple(together(column) for column in drawn))


def sandwich(
    program: Any,
    data: Any,
    *,
    num_particles: int = 16,
    num_temperatures: int = 100,
    start: str = "guide",
    schedule: Schedule = sigmoid,
    num_leapfrog: int = 10,
    unit: str | None = None,
    seed: int | None = None,
    device: str | torch.device = "auto",
    max_memory: int | None = None,
    progress: bool | None = None,
) -> Bounds:
    """A lower bound on log p(x) of given data, and an estimate from above.

    The lower bound is that of annealing forward. One of the K chains' ends, drawn by weight for each
    unit, then stands in for a draw of the posterior, and K chains walk back from it. Were it one, what
    they give would be an upper bound in expectation; as it is, ``upper`` is an estimate: it exceeds the
    lower one by about what annealing loses where it sees the posterior, and knows nothing of what it does
    not see. :func:`bidirectional` gives a true bound, on simulated data.

    ``indicative``, both of importance sampling from the start with the same draws: "CUBO", 1/2 log E_q
    w^2, from the K draws of the start, which is biased low (and with K = 1 the ELBO's own sample);
    "EUBO", E_(p(z | x)) log w, at the chosen ends.

    Source: as for :func:`bidirectional`; CUBO: A. B. Dieng, D. Tran, R. Ranganath, J. Paisley, D. Blei,
    "Variational inference via chi upper bound minimization", 2017, https://arxiv.org/abs/1611.00328.

    The options are those of :func:`pyro_vae.inference.annealed.annealed_evidence`.

    >>> from pyro_vae.models import FactorAnalysis
    >>> bounds = sandwich(FactorAnalysis((3,), 1), torch.randn(50, 3), seed=0)
    >>> bounds.simulated, sorted(bounds.indicative)
    (False, ['CUBO', 'EUBO'])
    """
    annealing = Annealing.of(
        num_particles, num_temperatures, start, schedule, num_leapfrog, max_memory
    )
    with tiled(program, data, unit, seed, device) as tiles:
        sides = _Sides(annealing, tiles)
        with progress_bar(2 * annealing.ticks(tiles), progress) as bar:
            for call in tiles:
                sides.add(call, None, partial(bar.update, call.num_rows))
        evidence = sides.evidence()
    notes = (NO_BOUND, INDICATIVE.format(K=f"{num_particles:,}"))
    evidence = replace(evidence, notes=evidence.notes + notes)
    return Bounds(evidence, simulated=False, indicative=sides.indicative())


class _Sides:
    """Both walks of all tiles, as they come in."""

    def __init__(self, annealing: Annealing, tiles: Tiles) -> None:
        self.annealing, self.tiles = annealing, tiles
        self.calls: list[Call] = []
        self.lower: list[Walks] = []
        self.upper: list[Walks] = []

    def add(self, call: Call, latents: Trace | None, tick: Callable[[], object]) -> None:
        """Anneals one tile forward, and back from given latents or else from an end of the way forward."""
        sampler = self.annealing.sampler(call)
        steps = self.annealing.steps(sampler)
        walks = forward(self.annealing, self.tiles, sampler, steps, tick)
        posterior = walks.chosen() if latents is None else sampler.path.at(latents)
        back = Walks(self.annealing.num_particles, call.layout.num_units, posterior.device)
        for num_chains in self.annealing.chunks(self.tiles):
            u = posterior.expand(num_chains, -1, -1)
            back.add(walk(sampler, u, self.annealing.betas[::-1], steps, tick))
        self.calls.append(call)
        self.lower.append(walks)
        self.upper.append(back)

    def evidence(self) -> Evidence:
        """Lower bounds with the upper figures beside them."""
        return replace(
            self.annealing.evidence(self.lower, self.tiles.few.layout),
            upper=-together(walks.weights.log_mean() for walks in self.upper),
            upper_error=together(walks.weights.standard_error() for walks in self.upper),
        )

    def indicative(self) -> dict[str, Tensor]:
        return {
            "CUBO": together(_cubo(walks.ratios) for walks in self.lower),
            "EUBO": together(walks.ratios.mean_log() for walks in self.upper),
        }


def _cubo(ratios: WeightSums) -> Tensor:
    """1/2 log (1/K) sum_k w_k^2; (sum w)^2 / sum w^2 is the effective sample size."""
    return ratios.log_total() - (ratios.ess() * ratios.count).log() / 2
