"""Sequential Monte Carlo along a path: particles are weighted, resampled and moved at each temperature.

Source: P. Del Moral, A. Doucet, A. Jasra, "Sequential Monte Carlo samplers", 2006,
https://doi.org/10.1111/j.1467-9868.2006.00553.x; the choice of temperatures: Y. Zhou, A. M. Johansen,
J. A. D. Aston, "Toward automatic model comparison: an adaptive sequential Monte Carlo approach", 2016,
https://arxiv.org/abs/1303.3123.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from pyro_vae.inference.annealing.hmc import (
    GAIN,
    MAX_LENGTH,
    TARGET_ACCEPTANCE,
    ChainState,
    Sampler,
)
from pyro_vae.inference.annealing.reference import scale_of

BISECTIONS = 40
SMALLEST = (1e-9, 0.005)  # rise of the inverse temperature: at 0, and as a share of it
WORST_UNITS = 0.05  # share of the units whose weights may be worse than that
MAX_MOVES = 8  # transitions at a temperature
MAX_CORRELATION = 0.25  # of a coordinate with itself before the moves
FIRST_LENGTH = 1.5  # of a trajectory, in standard deviations


@dataclass(frozen=True)
class Stage:
    """Hold how particles move at one temperature.

    Attributes:
        beta: the inverse temperature.
        step_size: (U, D), or matrices (U, D, D).
        num_moves: how many transitions.
    """

    beta: float
    step_size: Tensor
    num_moves: int


class Plan(Protocol):
    """Say which temperature comes next, and how particles move there."""

    def next_beta(self, state: ChainState, beta: float) -> float:
        """Return the inverse temperature after ``beta``."""

    def move(self, sampler: Sampler, state: ChainState, beta: float) -> tuple[ChainState, Tensor]:
        """Return the particles after their moves at ``beta``, and their mean acceptance (U,)."""


@dataclass(frozen=True)
class Fixed:
    """Follow stages that were set before: then the product of mean weights is unbiased."""

    stages: tuple[Stage, ...]

    @property
    def num_moves(self) -> int:
        """The number of transitions at all temperatures together."""
        return sum(stage.num_moves for stage in self.stages)

    def next_beta(self, state: ChainState, beta: float) -> float:
        return next((stage.beta for stage in self.stages if stage.beta > beta), 1.0)

    def move(self, sampler: Sampler, state: ChainState, beta: float) -> tuple[ChainState, Tensor]:
        stage = next(stage for stage in self.stages if stage.beta == beta)
        accepted = torch.zeros_like(state.start[0])
        for _ in range(stage.num_moves):
            state, probability = sampler.transition(state, beta, stage.step_size)
            accepted = accepted + probability.mean(0)
        return state, accepted / max(stage.num_moves, 1)


@dataclass
class Adapted:
    """Choose each stage by the particles that meet it, and remember it.

    The next temperature is as far as its weights leave a share of the particles effective. Particles move
    along their own covariance, with a step size that follows the acceptance, until no coordinate correlates
    with its place before the moves by more than 0.25, or 8 times.
    """

    least_ess: float
    stages: list[Stage] = field(default_factory=list)
    size: Tensor | None = None

    def next_beta(self, state: ChainState, beta: float) -> float:
        log_ratio = state.log_ratio()
        if _effective_share(log_ratio * (1 - beta)) >= self.least_ess:
            return 1.0
        low, high = 0.0, 1 - beta
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            is_near = _effective_share(log_ratio * middle) >= self.least_ess
            low, high = (middle, high) if is_near else (low, middle)
        least, relative = SMALLEST
        return min(1.0, beta + max(low, least, relative * beta))

    def move(self, sampler: Sampler, state: ChainState, beta: float) -> tuple[ChainState, Tensor]:
        free, before = sampler.path.coordinates.free, state
        scale = scale_of(state.u, free)
        size = state.u.new_full((state.u.shape[1],), FIRST_LENGTH / sampler.num_leapfrog)
        size = size if self.size is None else self.size
        accepted, count = torch.zeros_like(state.start[0]), 0
        while count < MAX_MOVES and (
            count < 1 or correlation(before, state, free) > MAX_CORRELATION
        ):
            per_unit = size.reshape(-1, *[1] * (scale.dim() - 1))
            state, probability = sampler.transition(state, beta, per_unit * scale)
            accepted, count = accepted + probability.mean(0), count + 1
            size = size * (GAIN * (probability.mean(0) - TARGET_ACCEPTANCE)).exp()
            size = size.clamp(max=MAX_LENGTH / sampler.num_leapfrog)
        self.size = size
        per_unit = size.reshape(-1, *[1] * (scale.dim() - 1))
        self.stages.append(Stage(beta, per_unit * scale, count))
        return state, accepted / count


def _effective_share(log_weights: Tensor) -> float:
    """Return ESS / K of all but the worst units, of K particles with a weight above 0."""
    count = log_weights.isfinite().sum(0)
    ess = (2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp()
    share = (ess / count).nan_to_num(1.0)
    return float(share.quantile(WORST_UNITS, interpolation="lower"))


def correlation(before: ChainState, after: ChainState, free: Tensor) -> float:
    """Return the largest of any coordinate, or the log-ratio, with itself before; of units the mean."""

    def of(one: Tensor, other: Tensor) -> Tensor:
        one, other = one - one.mean(0), other - other.mean(0)
        product = (one.square().mean(0) * other.square().mean(0)).sqrt()
        return ((one * other).mean(0) / product).nan_to_num(0.0)

    of_places = torch.where(free, of(before.u, after.u), 0.0)
    finite = (state.log_ratio().nan_to_num(0.0, 0.0, 0.0) for state in (before, after))
    worst = torch.cat([of_places, of(*finite).unsqueeze(-1).to(of_places)], -1).amax(-1)
    return float(worst.mean())


@dataclass(frozen=True)
class Tempered:
    """Hold particles at the end of the path.

    Attributes:
        log_evidence: of each island, (islands, U), float64, nats.
        variance: relative variance of each island's evidence, (islands, U), if its particles were
            independent at every temperature: the sum over temperatures of 1 / ESS - 1 / N.
        state: the particles (K, U), island after island; they have one weight each within an island.
        acceptance: mean probability of acceptance, (U,); NaN where nothing moved.
    """

    log_evidence: Tensor
    variance: Tensor
    state: ChainState
    acceptance: Tensor


def temper(
    sampler: Sampler,
    plan: Plan,
    num_particles: int,
    num_islands: int = 1,
    moves_at_end: bool = False,
    advance: Callable[[float], object] = lambda beta: None,
) -> Tempered:
    """Move K particles from the start of a path to its end, in islands that never exchange particles.

    At each temperature, an island's evidence grows by the factor mean_k (end / start)^(b' - b); its
    particles are resampled by these weights, and moved at b'. With a fixed plan the product of the
    factors is unbiased for the evidence in every island, and the islands are independent.

    Args:
        sampler: of one tile.
        plan: the temperatures and the moves.
        num_particles: K, a multiple of the islands.
        num_islands: how many.
        moves_at_end: whether particles move at the posterior, too, where that is not for the evidence.
        advance: takes the inverse temperature that is done.
    """
    state, beta, moves = sampler.state(sampler.path.draw(num_particles)), 0.0, 0
    units = state.start.shape[1]
    log_evidence = torch.zeros(num_islands, units, dtype=torch.float64, device=state.u.device)
    variance = torch.zeros_like(log_evidence)
    acceptance = torch.zeros_like(state.start[0])
    while beta < 1:
        after = plan.next_beta(state, beta)
        log_weights = ((after - beta) * state.log_ratio()).nan_to_num(
            -math.inf, math.inf, -math.inf
        )
        log_weights = log_weights.unflatten(0, (num_islands, -1))
        log_evidence += log_weights.logsumexp(1) - math.log(log_weights.shape[1])
        variance += relative_variance(log_weights)
        state, beta = state.taken(resampled(log_weights).flatten(0, 1)), after
        if sampler.path.coordinates.size and (beta < 1 or moves_at_end):
            state, accepted = plan.move(sampler, state, beta)
            acceptance, moves = acceptance + accepted, moves + 1
        advance(beta)
    rate = acceptance / moves if moves else acceptance * math.nan
    return Tempered(log_evidence, variance, state, rate)


def relative_variance(log_weights: Tensor) -> Tensor:
    """Return the variance of the mean weight over its square, (islands, U), of independent particles.

    >>> relative_variance(torch.tensor([0.0, 0.0, -torch.inf, -torch.inf]).reshape(1, 4, 1))
    tensor([[0.2500]])
    """
    inverse_ess = ((2 * log_weights).logsumexp(1) - 2 * log_weights.logsumexp(1)).exp()
    return (inverse_ess - 1 / log_weights.shape[1]).nan_to_num(0.0).clamp(min=0)


def resampled(log_weights: Tensor) -> Tensor:
    """Return the numbers of particles drawn by weight: one systematic draw for each island and unit.

    Args:
        log_weights: (islands, N, U).

    Returns:
        (islands, N, U), numbers among all islands' particles.

    >>> resampled(torch.tensor([0.0, -torch.inf, 0.0]).reshape(1, 3, 1)).flatten().unique()
    tensor([0, 2])
    """
    islands, size, units = log_weights.shape
    is_dead = log_weights.logsumexp(1, keepdim=True) == -math.inf  # any particle will do
    shares = torch.where(is_dead, 0.0, log_weights).softmax(1)
    ends = shares.cumsum(1).movedim(1, -1).contiguous()  # (islands, U, N)
    first = torch.rand(islands, units, 1, dtype=ends.dtype, device=ends.device)
    points = (torch.arange(size, device=ends.device) + first) / size * ends[..., -1:]
    index = torch.searchsorted(ends, points).clamp(max=size - 1).movedim(-1, 1)
    return index + size * torch.arange(islands, device=ends.device).reshape(-1, 1, 1)
