"""Annealed importance sampling: the evidence, from chains that move from the guide to the posterior."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.errors import at_least_1, true_or_false
from pyro_vae.inference.annealing.from_guide import FromGuide
from pyro_vae.inference.annealing.hmc import Sampler, StepSizes, adapt_step_sizes
from pyro_vae.inference.annealing.laplace import FromLaplace
from pyro_vae.inference.annealing.paths import AnnealingPath, FromPrior
from pyro_vae.inference.annealing.schedules import (
    TemperatureSchedule,
    inverse_temperatures,
    sigmoid,
)
from pyro_vae.inference.annealing.symmetrized import Symmetrized
from pyro_vae.inference.compiling.inductor import SharedCode
from pyro_vae.inference.evidence.annealed_chains import (
    MAX_MEMORY,
    AnnealedChains,
    ChainSums,
    anneal,
    bytes_per_chain,
    numbers_of_chains,
)
from pyro_vae.inference.evidence.draws import Drawer, DrawsPosterior, WeightedDraws, joined
from pyro_vae.inference.evidence.method import (
    Advance,
    Estimator,
    Method,
    UnitEstimates,
    Workload,
)
from pyro_vae.inference.evidence.missed_copies import (
    Missed,
    missed,
    missed_by_guide,
    scores_of_path,
    symmetrized_note,
)
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.prior_guide import with_prior_as_guide
from pyro_vae.program.symmetries import symmetries

STARTS: dict[str, Callable[[BoundProgram], AnnealingPath]] = {
    "guide": FromGuide,
    "prior": FromPrior,
    "laplace": FromLaplace,
}
STARTS_IN_WORDS = {
    "guide": "the guide",
    "prior": "the prior",
    "laplace": "a Laplace approximation",
}
MODEL_ALONE = ("prior", "laplace")  # of these the starts that use no guide
CHECKS: dict[str, checks.Check] = {
    "num_temperatures": at_least_1,
    "start": checks.one_of(*STARTS),
    "schedule": checks.function,
    "num_leapfrog": at_least_1,
    "symmetrize": true_or_false,
}
ADAPTED_PLACES = 20  # of the path, at most, where step sizes are adapted
# As many gradients as it takes to save what compiling takes, of all tiles together.
GRADIENTS_WORTH_INDUCTOR = 10_000
STUCK = 0.1  # acceptance below which chains count as not moving


@dataclass(frozen=True)
class Annealed(Method, DrawsPosterior):
    """Anneal K chains of each unit from the guide to the posterior.

    K chains for each unit start from q, the guide or the prior, and follow the geometric path
    p_b(z) ∝ q(z)^(1 - b) p(x, z)^b: one HMC transition in unconstrained coordinates at each of the
    inverse temperatures 0 = b_0 < b_1 < ... < b_T = 1 but the first and last. Then

        log p(x) ~ log (1/K) sum_k w_k,
        log w = sum_t (b_t - b_(t-1)) (log p(x, z_(t-1)) - log q(z_(t-1))).

    The mean weight is unbiased for p(x) whatever the step sizes, which are adapted for each unit in a
    pilot run and then fixed; the mean of its log is a lower bound. With T = 1 this is importance sampling.
    Latents that only the model has and marks for enumeration are summed out; all others must be
    continuous. Memory does not grow with T, and with K hardly.

    Source: R. M. Neal, "Annealed importance sampling", 2001, https://doi.org/10.1023/A:1008923215028;
    of decoders, and from an encoder: Y. Wu, Y. Burda, R. Salakhutdinov, R. Grosse, "On the quantitative
    analysis of decoder-based generative models", 2017, https://arxiv.org/abs/1611.04273.

    Args:
        num_temperatures: T, the number of inverse temperatures after 0.
        start: "guide", "prior" or "laplace" (the posterior's mode and curvature), where the chains start.
        schedule: T -> the T + 1 inverse temperatures.
        num_leapfrog: leapfrog steps of a transition, each with one gradient of the log-density.
        symmetrize: whether to mix the start over the copies by symmetries that the model shows, as
            ``Importance`` does; the prior has them all.

    Raises:
        InputError: the schedule does not rise from 0 to 1. Later: a latent is discrete and not summed
            out; the guide's support is not the prior's; ``symmetrize`` meets a guide that maps another
            draw onto the latents.

    >>> from pyro_vae import log_evidence
    >>> from pyro_vae.models import FactorAnalysis
    >>> x, model = torch.randn(4, 3), FactorAnalysis((3,), 1)
    >>> evidence = log_evidence(model, x, method=Annealed(num_temperatures=20), seed=0)
    >>> off = (evidence.log_evidence - model.log_evidence(x)).abs() / evidence.standard_error
    >>> bool((off < 5).all())
    True
    """

    num_temperatures: int = 100
    start: str = "guide"
    schedule: TemperatureSchedule = sigmoid
    num_leapfrog: int = 10
    symmetrize: bool = False

    num_particles = 16
    num_chains = 1

    def __post_init__(self) -> None:
        checks.check_arguments(CHECKS, vars(self))
        assert self.betas

    @cached_property
    def betas(self) -> tuple[float, ...]:
        """The inverse temperatures."""
        return inverse_temperatures(self.schedule, self.num_temperatures)

    def program(self, program: Any) -> Any:
        """Return the model with its prior as the guide where the chains start from neither."""
        return with_prior_as_guide(program) if self.start in MODEL_ALONE else program

    @property
    def description(self) -> str:
        start = STARTS_IN_WORDS[self.start] + " in all symmetric copies" * self.symmetrize
        if self.num_temperatures == 1:
            return f"importance sampling from {start} (one temperature)"
        return (
            f"annealed importance sampling from {start}, {self.num_temperatures:,} "
            f"temperatures, {self.num_leapfrog} leapfrog steps each"
        )

    def estimator(self, example: BoundProgram, work: Workload) -> Estimator:
        self.sampler(example, work)
        compiler = self.compiler(work)

        def estimate(bound_program: BoundProgram, advance: Advance) -> Iterator[ChainSums]:
            sampler = self.sampler(bound_program, work, compiler)
            yield from self.anneal(sampler, self.step_sizes(sampler), work.num_particles, advance)

        return estimate

    def drawer(self, example: BoundProgram, work: Workload) -> Drawer:
        self.sampler(example, work)
        compiler = self.compiler(work)

        def draw(bound_program: BoundProgram, advance: Advance) -> WeightedDraws:
            sampler = self.sampler(bound_program, work, compiler)
            chains = self.chains(sampler, self.step_sizes(sampler), work.num_particles, advance)
            return joined(
                WeightedDraws(sampler.path.latents(each.u, sampler.at_once), each.log_weights)
                for each in chains
            )

        return draw

    def notes(self, estimates: UnitEstimates, example: BoundProgram) -> tuple[str, ...]:
        assert estimates.acceptance is not None
        return stuck_note(
            estimates.acceptance,
            "their figures are hardly better than those of importance sampling",
        ) + self.symmetry_notes(example)

    def symmetry_notes(self, example: BoundProgram) -> tuple[str, ...]:
        """Return what ``symmetrize`` has done."""
        how = "The start was mixed over all copies"
        return symmetrized_note(example, how) if self.symmetrize else ()

    def missed(self, example: BoundProgram, num_particles: int) -> Missed | None:
        if self.symmetrize or self.start == "prior":
            return None
        if self.start == "guide":
            return missed_by_guide(example, num_particles, REACHES_ALL)
        found = symmetries(example)
        if not found:  # the search for the mode takes its time
            return None
        path = FromLaplace(example.single())
        scores = scores_of_path(path, lambda: path.draw(1))
        return missed(found, scores, num_particles, "the Laplace approximation", REACHES_ALL)

    # --- the chains of one tile, also for the bounds of both sides ------------------------------

    def compiler(self, work: Workload) -> SharedCode | None:
        """Return a compiler of all tiles' log-densities, if there are enough to compute."""
        gradients = self.num_temperatures * self.num_leapfrog * len(work.tile_sizes)
        is_worth_it = gradients >= GRADIENTS_WORTH_INDUCTOR
        return SharedCode() if work.compiles(is_worth_it) else None

    def sampler(
        self, bound_program: BoundProgram, work: Workload, compiler: SharedCode | None = None
    ) -> Sampler:
        """Return the sampler of one tile, with as many chains at a time as the memory takes."""
        path = STARTS[self.start](bound_program)
        found = symmetries(bound_program) if self.symmetrize and self.start != "prior" else ()
        path = Symmetrized(path, found) if found else path
        path.check()
        budget = work.memory(bound_program.device, MAX_MEMORY)
        at_once = max(1, budget // bytes_per_chain(path))
        return Sampler(path, self.num_leapfrog, at_once, compiler)

    def step_sizes(self, sampler: Sampler) -> StepSizes | None:
        """Return step sizes adapted at 20 places of the path at most; None where nothing moves."""
        if self.num_temperatures == 1 or not sampler.path.coordinates.size:
            return None
        every = math.ceil(self.num_temperatures / ADAPTED_PLACES)
        return adapt_step_sizes(sampler, self.betas[:0:-every][::-1])

    def anneal(
        self,
        sampler: Sampler,
        step_sizes: StepSizes | None,
        num_particles: int,
        advance: Advance,
        reverse_from: Tensor | None = None,
    ) -> Iterator[ChainSums]:
        """Move K chains along the path, and sum over them; see :meth:`chains`."""
        sums = ChainSums(num_particles, sampler.path.bound_program)
        for chains in self.chains(sampler, step_sizes, num_particles, advance, reverse_from):
            sums.add(chains)
            yield sums

    def chains(
        self,
        sampler: Sampler,
        step_sizes: StepSizes | None,
        num_particles: int,
        advance: Advance,
        reverse_from: Tensor | None = None,
    ) -> Iterator[AnnealedChains]:
        """Move K chains from the start to the posterior, some at a time.

        Args:
            sampler: of one tile.
            step_sizes: as :meth:`step_sizes` gives them.
            num_particles: K.
            advance: takes the share of the work that is done.
            reverse_from: coordinates (1, U, D) at the posterior, from which all chains go back to the
                start instead.
        """
        path = sampler.path
        betas = self.betas if reverse_from is None else self.betas[::-1]
        for count in numbers_of_chains(path.bound_program, num_particles):
            u = path.draw(count) if reverse_from is None else reverse_from.expand(count, -1, -1)
            share = count / num_particles / self.num_temperatures
            yield anneal(sampler, u, betas, step_sizes, partial(advance, share))


REACHES_ALL = "symmetrize=True, or a start from the prior, reaches them all"


def stuck_note(acceptance: Tensor, consequence: str) -> tuple[str, ...]:
    """Return a sentence about the units whose chains hardly move, if there are any."""
    stuck = acceptance < STUCK
    if not stuck.any():
        return ()
    return (
        f"the chains of {int(stuck.sum()):,} of {len(stuck):,} units hardly moved (fewer than "
        f"{STUCK:.0%} of their steps were accepted; the first is unit {int(stuck.nonzero()[0])}): "
        f"{consequence}",
    )
