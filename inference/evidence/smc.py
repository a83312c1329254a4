"""Sequential Monte Carlo: the evidence, from particles that are resampled and moved along a path."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from pyro_vae import argument_checks as checks
from pyro_vae.device import for_device
from pyro_vae.errors import InputError, at_least_1, true_or_false
from pyro_vae.inference.annealing.hmc import Sampler
from pyro_vae.inference.annealing.paths import AnnealingPath
from pyro_vae.inference.annealing.reference import FromReference, Reference, tail_index
from pyro_vae.inference.annealing.tempering import Adapted, Fixed, Tempered, temper
from pyro_vae.inference.compiling.inductor import SharedCode
from pyro_vae.inference.evidence.ais import (
    MODEL_ALONE,
    STARTS,
    STARTS_IN_WORDS,
    Annealed,
    stuck_note,
)
from pyro_vae.inference.evidence.annealed_chains import CHAINS_AT_ONCE
from pyro_vae.inference.evidence.draws import Drawer, DrawsPosterior, WeightedDraws, joined
from pyro_vae.inference.evidence.method import (
    Advance,
    Estimator,
    Method,
    UnitEstimates,
    Workload,
)
from pyro_vae.inference.evidence.missed_copies import Missed, is_of_a_part
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.prior_guide import with_prior_as_guide

CHECKS: dict[str, checks.Check] = {
    "start": checks.one_of(*STARTS),
    "num_islands": at_least_1,
    "num_leapfrog": at_least_1,
    "pilot": true_or_false,
    "symmetrize": true_or_false,
}
PILOT_SHARE, LEAST_PILOT = 0.25, 512  # of the particles; more than D of them span the covariance
FUNNEL = 0.7  # Pareto k above which no fitted density is a start; the tempering mends a smaller one
COARSE_ESS, FINE_ESS = (
    0.5,
    0.9,
)  # share of effective particles at each temperature: to look, to estimate
FINE_MOVES = 3  # times as many temperatures as the coarse share takes
OTHER_SHARE = 0.1  # of the particles that start as the path does, not from the fitted density
PILOT_WORK = 0.2  # of the work on a tile, on the progress bar
# Relative variance of an island's evidence, by its particles alone, above which there is no error: its tail
# is then so heavy that ten islands miss a part of the mean.
MOST_VARIANCE = 0.5
FEW = (
    "the islands hold too few particles for an error: their figures lie far apart, or few survive at a "
    "temperature. Take more particles"
)
STUCK_HELP = "a run from the prior or with more particles may help"


@dataclass(frozen=True)
class SMC(Method, DrawsPosterior):
    """Move particles to the posterior, and resample them on the way.

    Particles follow the geometric path p_b(z) ∝ q(z)^(1 - b) p(x, z)^b over inverse temperatures
    0 = b_0 < ... < b_T = 1, with q the guide, the prior or a Laplace approximation. At each of them they
    are weighted by (p(x, z) / q(z))^(b_t - b_(t-1)), resampled by these weights, and moved by HMC along
    the particles' covariance. The product of the mean weights estimates p(x).

    A pilot run sets temperatures, step sizes, covariances and the number of moves; they are then fixed, and
    the K particles start anew. So the estimate is unbiased for p(x) and the certificate holds. The
    particles form islands that never exchange any: their evidences are independent, and the standard
    error is that of their mean, at least that of particles which are independent at every temperature.
    Without the pilot run the particles themselves set all this on the way.
    That takes less time, but the estimate is then not unbiased, the islands are not quite independent,
    and there is no certificate.

    Latents that only the model has and marks for enumeration are summed out; all others must be continuous.
    Unless particles start from the guide, a model alone is enough.

    Source: P. Del Moral, A. Doucet, A. Jasra, "Sequential Monte Carlo samplers", 2006,
    https://doi.org/10.1111/j.1467-9868.2006.00553.x; of the pilot run: A. Beskos, A. Jasra, N. Kantas,
    A. Thiery, "On the convergence of adaptive sequential Monte Carlo methods", 2016,
    https://arxiv.org/abs/1306.6462.

    Args:
        start: "guide", "prior" or "laplace" (mode and curvature), where the particles start.
        num_islands: how many independent groups the particles form.
        num_leapfrog: leapfrog steps of a transition, each with one gradient of the log-density.
        pilot: whether a pilot run fixes temperatures and moves.
        symmetrize: whether to mix the start over the copies by symmetries that the model shows.

    Raises:
        InputError: an option does not fit. Later: K is not a multiple of the islands; a latent is discrete
            and not summed out; the guide's support is not the prior's.

    >>> import pyro, pyro.distributions as dist, torch
    >>> from pyro_vae import log_evidence
    >>> def model(x):
    ...     mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    ...     with pyro.plate("data", len(x)):
    ...         pyro.sample("x", dist.Normal(mean, 1.0), obs=x)
    >>> def guide(x):
    ...     pyro.sample("mean", dist.Normal(0.0, 1.0))
    >>> x = torch.tensor([2.0, 3.0, 4.0])
    >>> evidence = log_evidence((model, guide), x, method=SMC(), num_particles=500, seed=0)
    >>> exact = dist.MultivariateNormal(torch.zeros(3), torch.eye(3) + 1).log_prob(x)
    >>> bool((evidence.log_evidence - exact).abs() < 5 * evidence.standard_error)
    True
    """

    start: str = "guide"
    num_islands: int = 10
    num_leapfrog: int = 5
    pilot: bool = True
    symmetrize: bool = False

    num_particles = 2000
    num_chains = 1

    def __post_init__(self) -> None:
        checks.check_arguments(CHECKS, vars(self))

    def program(self, program: Any) -> Any:
        """Return the model with its prior as the guide where the particles do not start from the guide."""
        return with_prior_as_guide(program) if self.start in MODEL_ALONE else program

    @property
    def is_unbiased(self) -> bool:  # type: ignore[override]  # of each object its own
        return self.pilot

    @property
    def description(self) -> str:
        how = "set by a pilot run" if self.pilot else "adapted on the way"
        start = STARTS_IN_WORDS[self.start] + " in all symmetric copies" * self.symmetrize
        return (
            f"sequential Monte Carlo from {start}, {self.num_islands} islands, "
            f"temperatures and moves {how}, {self.num_leapfrog} leapfrog steps each"
        )

    def estimator(self, example: BoundProgram, work: Workload) -> Estimator:
        compiler = self._checked(example, work)

        def estimate(bound_program: BoundProgram, advance: Advance) -> Iterator[IslandSums]:
            sums = IslandSums(work.num_particles, self.num_islands, bound_program)
            sampler = self._annealed.sampler(bound_program, work, compiler)
            for islands, _ in self._runs(sampler, work.num_particles, advance):
                sums.add(islands)
                yield sums

        return estimate

    def drawer(self, example: BoundProgram, work: Workload) -> Drawer:
        compiler = self._checked(example, work)
        each = work.num_particles // self.num_islands

        def draw(bound_program: BoundProgram, advance: Advance) -> WeightedDraws:
            sums = IslandSums(work.num_particles, self.num_islands, bound_program)
            sampler = self._annealed.sampler(bound_program, work, compiler)
            parts = []
            for islands, path in self._runs(
                sampler, work.num_particles, advance, moves_at_end=True
            ):
                sums.add(islands)
                latents = path.latents(islands.state.u, sampler.at_once)
                weights = islands.log_evidence.repeat_interleave(each, 0)
                parts.append(WeightedDraws(latents, weights))
            found = sums.unit_estimates()
            assert found.acceptance is not None
            notes = stuck_note(found.acceptance, STUCK_HELP) + self._annealed.symmetry_notes(
                example
            )
            part = self.missed(example, work.num_particles)
            if part is not None:
                notes, found = (*notes, part.note), part.without_error(found)
            return replace(joined(parts), notes=notes, estimates=found)

        return draw

    def notes(self, estimates: UnitEstimates, example: BoundProgram) -> tuple[str, ...]:
        assert estimates.acceptance is not None
        is_few = estimates.without_error.any() and not is_of_a_part(estimates)
        stuck = stuck_note(estimates.acceptance, STUCK_HELP)
        few = (FEW,) if is_few else ()
        return few + stuck + self._annealed.symmetry_notes(example)

    def missed(self, example: BoundProgram, num_particles: int) -> Missed | None:
        return self._annealed.missed(example, num_particles)

    def _checked(self, example: BoundProgram, work: Workload) -> SharedCode | None:
        if work.num_particles % self.num_islands:
            raise InputError(
                f"{work.num_particles:,} particles do not come in {self.num_islands} islands of one size",
                subject="num_particles",
                expected=f"a multiple of {self.num_islands}",
                remedy="change num_particles (of a posterior num_draws), or num_islands",
            )
        self._annealed.sampler(example, work)
        return SharedCode() if work.compiles(False) else None

    @property
    def _annealed(self) -> Annealed:
        """The method that moves along the same path."""
        return Annealed(
            start=self.start, num_leapfrog=self.num_leapfrog, symmetrize=self.symmetrize
        )

    def _runs(
        self, sampler: Sampler, num_particles: int, advance: Advance, moves_at_end: bool = False
    ) -> Iterator[tuple[Tempered, AnnealingPath]]:
        """Yield the runs of the islands of one tile, some at a time, and their path."""
        if not self.pilot:
            rise = _rises(advance)
            adapted = Adapted(FINE_ESS)
            run = temper(sampler, adapted, num_particles, self.num_islands, moves_at_end, rise)
            yield run, sampler.path
            return
        size = max(int(PILOT_SHARE * num_particles), LEAST_PILOT)
        sampler, plan = fixed_by_pilot(sampler, size, lambda share: advance(PILOT_WORK * share))
        each = num_particles // self.num_islands
        for islands in _groups(sampler.path.bound_program, self.num_islands, each):
            rise = _rises(advance, (1 - PILOT_WORK) * islands / self.num_islands)
            yield temper(sampler, plan, islands * each, islands, moves_at_end, rise), sampler.path


def fixed_by_pilot(sampler: Sampler, size: int, advance: Advance) -> tuple[Sampler, Fixed]:
    """Return the sampler and the plan that pilot runs of so many particles recommend.

    A first run goes from the start of the path to the posterior. A density with the mean and the
    covariance of its last particles and a tenth of the first start, is a nearer start, in most cases. So
    a second run starts there. It takes smaller steps, which make a smaller error; unless it then needs
    far more moves, that start is kept. It is not tried where the last particles show that the density
    misses a narrow part of the posterior, as the neck of a funnel.
    """
    adapted = Adapted(COARSE_ESS)
    pilot = temper(sampler, adapted, size, 1, True, _rises(advance, 0.5))
    plan, free = Fixed(tuple(adapted.stages)), sampler.path.coordinates.free
    if not sampler.path.coordinates.size or not free.all():
        return sampler, plan
    reference = Reference.of(pilot.state.u, free)
    log_ratio = pilot.state.end - reference.log_density(pilot.state.u)
    if bool((tail_index(log_ratio) > FUNNEL).any()):
        return sampler, plan
    nearer, adapted = (
        replace(sampler, path=FromReference(sampler.path, reference, OTHER_SHARE)),
        Adapted(FINE_ESS),
    )
    temper(nearer, adapted, size, 1, True, _rises(advance, 0.5))
    other = Fixed(tuple(adapted.stages))
    return (nearer, other) if other.num_moves <= FINE_MOVES * plan.num_moves else (sampler, plan)


def _groups(bound_program: BoundProgram, num_islands: int, each: int) -> Iterator[int]:
    """Yield numbers of islands that move together; their sum is that of all."""
    most = for_device(CHAINS_AT_ONCE, bound_program.device)
    at_once = max(1, most // (bound_program.structure.num_units * each))
    for first in range(0, num_islands, at_once):
        yield min(at_once, num_islands - first)


def _rises(advance: Advance, share: float = 1.0) -> Advance:
    """Return what takes an inverse temperature, and passes on the share of the work since the last one."""
    done = 0.0

    def rise(beta: float) -> object:
        nonlocal done
        step, done = beta - done, beta
        return advance(share * step)

    return rise


class IslandSums:
    """Hold the evidences of the islands of each of U units, as they come in."""

    def __init__(self, num_particles: int, num_islands: int, bound_program: BoundProgram) -> None:
        units, device = bound_program.structure.num_units, bound_program.device
        self.each, self.num_particles = num_particles // num_islands, num_particles
        self.weights = WeightSums(num_islands, units, device)
        self._accepted = torch.zeros(units, dtype=torch.float64, device=device)
        self._variance = torch.zeros_like(self._accepted)

    def add(self, islands: Tempered) -> None:
        """Take in further islands."""
        self.weights.add(islands.log_evidence)
        self._accepted = self._accepted + islands.acceptance * len(islands.log_evidence)
        self._variance = self._variance + islands.variance.sum(0)

    @property
    def count(self) -> int:
        return self.weights.count * self.each

    def unit_estimates(self) -> UnitEstimates:
        """Return the mean of the islands' evidences, with its error.

        The islands are few, and agree better than they should now and then. So the error is at least that
        of particles that are independent at every temperature, which all K of them tell together.
        Particles that have not moved far enough only add to it.

        An island of few particles loses most of them at every temperature. Its evidence then has a heavy
        tail, and all islands are too low together, in most runs. The variance within the islands shows
        this, as no scatter of ten figures can: above 0.5 there is no error.

        The effective sample size is the number of independent draws of the posterior that would leave the
        same error: 1 / (v + 1 / K), with v the relative variance of the mean. Of importance weights this is
        (sum w)^2 / sum w^2, up to the factor K / (K - 1) of v.
        """
        islands, count = self.weights.ess(), self.weights.count
        variance = (1 / islands - 1 / count).clamp(min=0) * count / max(count - 1, 1)
        least = self._variance / count**2
        variance = torch.maximum(variance, least)
        error = torch.maximum(self.weights.standard_error(), least.sqrt())
        is_heavy = self._variance / count > MOST_VARIANCE
        return UnitEstimates(
            self.weights.log_mean(),
            torch.where(is_heavy, math.nan, error),
            1 / (variance + 1 / self.count),
            torch.full_like(islands, math.nan),
            acceptance=self._accepted / count,
        )
