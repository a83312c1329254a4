"""Annealed importance sampling: the evidence, from chains that move from the guide to the posterior."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.device import for_device
from pyro_vae.errors import at_least_1
from pyro_vae.inference.annealing.hmc import Sampler, StepSizes, adapt_step_sizes
from pyro_vae.inference.annealing.laplace import FromLaplace
from pyro_vae.inference.annealing.paths import AnnealingPath, FromGuide, FromPrior
from pyro_vae.inference.annealing.schedules import (
    TemperatureSchedule,
    inverse_temperatures,
    sigmoid,
)
from pyro_vae.inference.compiling.inductor import SharedCode
from pyro_vae.inference.evidence.draws import Drawer, DrawsPosterior, WeightedDraws, joined
from pyro_vae.inference.evidence.label_notes import one_mode_note, scores_of_path
from pyro_vae.inference.evidence.method import (
    Advance,
    Estimator,
    Method,
    UnitEstimates,
    Workload,
)
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.labels import exchangeable_labels
from pyro_vae.program.prior_guide import with_prior_as_guide

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
}
MAX_MEMORY = {"cpu": 2**28, "cuda": 2**32}  # for the gradients' graph
CHAINS_AT_ONCE = {"cpu": 2**14, "cuda": 2**17}  # of all units of a tile
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

    Raises:
        InputError: the schedule does not rise from 0 to 1. Later: a latent is discrete and not summed
            out; the guide's support is not the prior's.

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
        if self.num_temperatures == 1:
            return f"importance sampling from {STARTS_IN_WORDS[self.start]} (one temperature)"
        return (
            f"annealed importance sampling from {STARTS_IN_WORDS[self.start]}, {self.num_temperatures:,} "
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
        ) + self.label_notes(example)

    def label_notes(self, example: BoundProgram) -> tuple[str, ...]:
        """Return a note where the start holds a part of the orders of exchangeable labels."""
        if self.start == "prior" or example.structure.unit is not None:
            return ()
        if self.start == "guide":
            return one_mode_note(example)
        if not exchangeable_labels(example):  # the search for the mode takes its time
            return ()
        path = FromLaplace(example.single())
        scores = scores_of_path(path, lambda: path.draw(1))
        return one_mode_note(example, scores, "the Laplace approximation", FROM_THE_PRIOR)

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
    ) -> Iterator["ChainSums"]:
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
    ) -> Iterator["AnnealedChains"]:
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


FROM_THE_PRIOR = "A start from the prior reaches them all"


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


def numbers_of_chains(bound_program: BoundProgram, num_particles: int) -> Iterator[int]:
    """Yield numbers of chains that move together; their sum is K."""
    most = for_device(CHAINS_AT_ONCE, bound_program.device)
    at_once = max(1, most // bound_program.structure.num_units)
    for first in range(0, num_particles, at_once):
        yield min(at_once, num_particles - first)


def bytes_per_chain(path: AnnealingPath) -> int:
    """Return the bytes that one more chain saves for a gradient, doubled for temporary tensors."""
    sizes = []
    for num_chains in (1, 2):
        storages: dict[int, Tensor] = {}

        def save(tensor: Tensor, storages: dict[int, Tensor] = storages) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(save, lambda t: t):
            path.log_densities(path.draw(num_chains).requires_grad_())
        sizes.append(sum(t.untyped_storage().nbytes() for t in storages.values()))
    return max(1, 2 * (sizes[1] - sizes[0]))


# --- chains along a path ------------------------------------------------------------------------


@dataclass(frozen=True)
class AnnealedChains:
    """Hold K chains for each of U units, at the end of a path.

    Attributes:
        log_weights: (K, U), float64, nats.
        log_ratios: log end - log start where they started, (K, U), float64, nats.
        u: coordinates where they ended, (K, U, D).
        acceptance: mean probability of acceptance, (U,); NaN where nothing moved.
    """

    log_weights: Tensor
    log_ratios: Tensor
    u: Tensor
    acceptance: Tensor


def anneal(
    sampler: Sampler,
    u: Tensor,
    betas: Sequence[float],
    step_sizes: StepSizes | None,
    advance: Callable[[], object] = lambda: None,
) -> AnnealedChains:
    """Move chains from ``u``, draws at the first of ``betas``, past all the others, up or down.

    log w = sum_t (b_t - b_(t-1)) (log end(u_(t-1)) - log start(u_(t-1))), and u_t comes from u_(t-1) by
    a reversible transition that leaves p_(b_t) invariant. From 0 to 1, from draws of the start, the
    weight's expectation is the evidence; from 1 to 0, from a draw of the posterior, it is one over the
    evidence.
    """
    state = sampler.state(u)
    log_ratios = state.log_ratio()
    log_weights, accepted = torch.zeros_like(log_ratios), torch.zeros_like(log_ratios[0])
    for beta, next_beta in pairwise(betas):
        log_weights += (next_beta - beta) * state.log_ratio()
        if step_sizes is not None and next_beta != betas[-1]:
            state, probability = sampler.transition(state, next_beta, step_sizes.at(next_beta))
            accepted += probability.mean(0)
        advance()
    transitions = math.nan if step_sizes is None else len(betas) - 2
    return AnnealedChains(log_weights, log_ratios, state.u, accepted / transitions)


class ChainSums:
    """Hold sums over the K chains of each of U units, as they come in, and one chain's end."""

    def __init__(self, num_particles: int, bound_program: BoundProgram) -> None:
        units, device = bound_program.structure.num_units, bound_program.device
        self.weights = WeightSums(num_particles, units, device)
        self.ratios = WeightSums(num_particles, units, device)
        self._end = torch.empty(0, device=device)
        self._largest_key = torch.full((units,), -math.inf, dtype=torch.float64, device=device)
        self._accepted = torch.zeros(units, dtype=torch.float64, device=device)

    def add(self, chains: AnnealedChains) -> None:
        """Take in further chains."""
        self.weights.add(chains.log_weights)
        self.ratios.add(chains.log_ratios)
        self._accepted = self._accepted + chains.acceptance * len(chains.u)
        self._resample(chains)

    @property
    def count(self) -> int:
        return self.weights.count

    def unit_estimates(self) -> UnitEstimates:
        return replace(self.weights.unit_estimates(), acceptance=self._accepted / self.count)

    def resampled_end(self) -> Tensor:
        """Return one chain's end for each unit, (1, U, D), drawn by weight."""
        return self._end

    def _resample(self, chains: AnnealedChains) -> None:
        """Keep the chain with the largest log-weight plus Gumbel noise, which is a draw by weight."""
        uniform = torch.rand_like(chains.log_weights).clamp(min=1e-300)
        keys = (chains.log_weights - (-uniform.log()).log()).nan_to_num(-math.inf)
        key, chain = keys.max(0)
        index = chain.reshape(1, -1, 1).expand(1, -1, chains.u.shape[-1])
        end, is_larger = chains.u.gather(0, index), (key > self._largest_key).unsqueeze(-1)
        is_first = not self._end.numel()
        self._end = end if is_first else torch.where(is_larger, end, self._end)
        self._largest_key = torch.maximum(self._largest_key, key)
