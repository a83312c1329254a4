"""Hamiltonian Monte Carlo along a path: all chains of all units move at once.

Source: R. M. Neal, "MCMC using Hamiltonian dynamics", 2011, https://arxiv.org/abs/1206.1901.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import torch
from torch import Tensor

from pyro_vae.inference.annealing.paths import AnnealingPath
from pyro_vae.inference.compiling.graph_cache import GraphedFunction
from pyro_vae.inference.compiling.inductor import SharedCode

JITTER = (0.6, 1.2)  # of the step size: a fixed trajectory may return to its start
TARGET_ACCEPTANCE = 0.8
MAX_LENGTH = 2.0  # of a trajectory, in standard deviations: a longer one turns back
GAIN = 0.5  # by which one transition's acceptance moves the log of a step size
UPDATE = 0.5  # the share of a coordinate's scale that comes from the chains' present places
CHAINS, WARMUP, SPREAD_DRAWS = 8, 12, 32  # of the run that adapts step sizes

Leap = Callable[[Tensor], Tensor]

LinAlgError: type[Exception] = torch.linalg.LinAlgError  # type: ignore[attr-defined]


@dataclass(frozen=True)
class ChainState:
    """Hold the chains' coordinates (K, U, D), both ends' log-densities (K, U) and their gradients."""

    u: Tensor
    start: Tensor
    end: Tensor
    start_gradient: Tensor
    end_gradient: Tensor

    def log_ratio(self) -> Tensor:
        """Return log end - log start, in float64."""
        return self.end.double() - self.start.double()

    def log_density(self, beta: float) -> Tensor:
        """Return that of the path at ``beta``."""
        return mix(self.start, self.end, beta)

    def gradient(self, beta: float) -> Tensor:
        """Return that of the path's log-density at ``beta``, 0 where it is not finite."""
        return mix(self.start_gradient, self.end_gradient, beta).nan_to_num(0.0, 0.0, 0.0)

    def first(self, count: int) -> "ChainState":
        """Return the first chains."""
        parts = (self.u, self.start, self.end, self.start_gradient, self.end_gradient)
        return ChainState(*(part[:count] for part in parts))

    def taken(self, index: Tensor) -> "ChainState":
        """Return the chains of these numbers, (K, U): of each unit its own."""
        of_coordinates = index.unsqueeze(-1).expand_as(self.u)
        return ChainState(
            self.u.gather(0, of_coordinates),
            self.start.gather(0, index),
            self.end.gather(0, index),
            self.start_gradient.gather(0, of_coordinates),
            self.end_gradient.gather(0, of_coordinates),
        )

    def replaced(self, accepted: Tensor, proposal: "ChainState") -> "ChainState":
        """Return the proposal where accepted (K, U), and this state elsewhere."""
        each = accepted.unsqueeze(-1)
        return ChainState(
            torch.where(each, proposal.u, self.u),
            torch.where(accepted, proposal.start, self.start),
            torch.where(accepted, proposal.end, self.end),
            torch.where(each, proposal.start_gradient, self.start_gradient),
            torch.where(each, proposal.end_gradient, self.end_gradient),
        )


def mix(start: Tensor, end: Tensor, beta: float) -> Tensor:
    """Return (1 - beta) start + beta end; an end of weight 0 may be infinite."""
    if beta == 0:
        return start
    return end if beta == 1 else (1 - beta) * start + beta * end


@dataclass(frozen=True)
class StepSizes:
    """Hold fixed step sizes of each unit's coordinates, at some inverse temperatures."""

    betas: tuple[float, ...]
    sizes: Tensor  # (betas, U, D)

    def at(self, beta: float) -> Tensor:
        """Return those, (U, D), at the first place from ``beta`` on."""
        return self.sizes[min(bisect_left(self.betas, beta), len(self.betas) - 1)]


@dataclass(frozen=True)
class Sampler:
    """Make HMC transitions that leave the densities of a path invariant, whatever the step sizes.

    Args:
        path: where the chains move.
        num_leapfrog: leapfrog steps of a transition.
        at_once: how many chains are scored at a time; it changes the memory, never the noise.
        compiler: compiles the log-densities, if there is enough to do.
    """

    path: AnnealingPath
    num_leapfrog: int
    at_once: int
    compiler: SharedCode | None = None

    def state(self, u: Tensor) -> ChainState:
        """Return chains at u, all in the widest type of these and the log-densities."""
        parts = [(some, *self._densities(some)) for some in u.split(self.at_once)]
        joined = (torch.cat(column) for column in zip(*parts, strict=True))
        columns = parts[0] if len(parts) == 1 else tuple(joined)
        dtype = reduce(torch.promote_types, (column.dtype for column in columns))
        return ChainState(*(column.to(dtype) for column in columns))

    def transition(
        self, at: ChainState, beta: float, step_size: Tensor
    ) -> tuple[ChainState, Tensor]:
        """Return the chains after one trajectory, and its probability (K, U) of acceptance.

        Args:
            at: the chains before it.
            beta: the inverse temperature.
            step_size: of each coordinate, (U, D); or a matrix S for each unit, (U, D, D), which moves
                along S times a momentum of independent coordinates.
        """
        low, high = JITTER
        jitter = low + (high - low) * torch.rand_like(at.start).unsqueeze(-1)
        place, push = _leaps(step_size, jitter)
        first_momentum = torch.randn_like(at.u)
        momentum, u = first_momentum + push(at.gradient(beta)) / 2, at.u
        for _ in range(self.num_leapfrog - 1):
            u = u + place(momentum)
            momentum = momentum + push(self._gradient(u, beta))
        proposal = self.state(u + place(momentum))
        momentum = momentum + push(proposal.gradient(beta)) / 2
        gain = proposal.log_density(beta) - at.log_density(beta)
        log_ratio = gain - (momentum.square() - first_momentum.square()).sum(-1) / 2
        possible = proposal.start.isfinite() & proposal.end.isfinite() & ~log_ratio.isnan()
        probability = torch.where(possible, log_ratio, -torch.inf).exp().clamp(max=1)
        accepted = torch.rand_like(probability) < probability
        return at.replaced(accepted, proposal), probability

    def _gradient(self, u: Tensor, beta: float) -> Tensor:
        weight = u.new_full((), beta)

        def gradient(some: Tensor) -> tuple[Tensor, ...]:
            return self.tempered_gradient(some, weight)

        parts = [
            by_chains(gradient, lambda one: (torch.zeros_like(one),), some)[0]
            for some in u.split(self.at_once)
        ]
        return torch.cat(parts).nan_to_num(0.0, 0.0, 0.0)

    def _densities(self, u: Tensor) -> tuple[Tensor, ...]:
        """Return both log-densities and their gradients; an end that cannot be computed has density 0."""

        def impossible(one: Tensor) -> tuple[Tensor, ...]:
            start, flat = one.new_zeros(one.shape[:2]), torch.zeros_like(one)
            return start, start - torch.inf, flat, flat

        return by_chains(self.densities_and_gradients, impossible, u)

    @cached_property
    def tempered_gradient(self) -> GraphedFunction:
        """(u, beta) -> the gradient of the path's log-density."""

        def tempered_gradient(u: Tensor, beta: Tensor) -> tuple[Tensor]:
            with torch.enable_grad():
                leaf = u.detach().requires_grad_()
                start, end = self.path.log_densities(leaf)
                return (_gradient((1 - beta) * start + beta * end, leaf),)

        return GraphedFunction(tempered_gradient, self.compiler)

    @cached_property
    def densities_and_gradients(self) -> GraphedFunction:
        """u -> both log-densities, and their gradients."""

        def densities_and_gradients(u: Tensor) -> tuple[Tensor, ...]:
            with torch.enable_grad():
                leaf = u.detach().requires_grad_()
                start, end = self.path.log_densities(leaf)
                # two gradients: the next transition mixes them at another temperature
                of_start = _gradient(start, leaf, retain_graph=True)
                return start.detach(), end.detach(), of_start, _gradient(end, leaf)

        return GraphedFunction(densities_and_gradients, self.compiler)


def by_chains(
    function: Callable[[Tensor], tuple[Tensor, ...]],
    otherwise: Callable[[Tensor], tuple[Tensor, ...]],
    u: Tensor,
) -> tuple[Tensor, ...]:
    """Return a function of chains (K, U, D), or ``otherwise`` of those where a matrix cannot be factorised.

    torch raises an error where one matrix of a batch is not positive definite. A trajectory may pass such
    places, and is then rejected; the other chains must not notice.
    """
    try:
        return function(u)
    except Exception as error:
        if not any(isinstance(e, LinAlgError) for e in (error, error.__cause__)):
            raise
    if len(u) == 1:
        return otherwise(u)
    halves = [by_chains(function, otherwise, half) for half in u.split(-(-len(u) // 2))]
    return tuple(torch.cat(column) for column in zip(*halves, strict=True))


def _leaps(step_size: Tensor, jitter: Tensor) -> tuple[Leap, Leap]:
    """Return the maps from a momentum to a change of place, and from a gradient to one of momentum."""
    if step_size.dim() == 2:
        eps = step_size * jitter
        return (lambda momentum: eps * momentum), (lambda gradient: eps * gradient)

    def place(momentum: Tensor) -> Tensor:
        return jitter * torch.einsum("uij,kuj->kui", step_size, momentum)

    def push(gradient: Tensor) -> Tensor:
        return jitter * torch.einsum("uji,kuj->kui", step_size, gradient)

    return place, push


def _gradient(log_density: Tensor, leaf: Tensor, retain_graph: bool = False) -> Tensor:
    """Return the gradient by the latents alone: no parameter's gradient is computed or touched."""
    if not log_density.requires_grad:
        return torch.zeros_like(leaf)
    ones = torch.ones_like(log_density)  # one gradient for each chain and unit
    (gradient,) = torch.autograd.grad(
        log_density, leaf, ones, retain_graph=retain_graph, materialize_grads=True
    )
    return gradient


def adapt_step_sizes(sampler: Sampler, betas: Sequence[float]) -> StepSizes:
    """Return step sizes for each unit along the path, from a short run whose chains are thrown away.

    A coordinate's scale is the spread of these chains, but at least that of a Gaussian with the curvature
    at their places (the mean square of a log-density's gradient is its Fisher information): chains from a
    narrow start have yet to spread. Each unit's size follows the acceptance. The chains go along ``betas``
    and back, so their lag behind the path averages out.
    """
    draws = sampler.path.draw(SPREAD_DRAWS)
    free = sampler.path.coordinates.free
    spread = _spread(draws)
    variance, curvature = spread.square(), spread**-2
    state = sampler.state(draws[:CHAINS])
    draws, variance, curvature = (x.to(state.u.dtype) for x in (draws, variance, curvature))
    size = draws.new_full((draws.shape[1], 1), 0.5 * max(1, draws.shape[-1]) ** -0.25)
    sizes: dict[float, list[Tensor]] = {beta: [] for beta in betas}
    for beta in [betas[0]] * WARMUP + [*betas, *reversed(betas)]:
        variance = variance.lerp(state.u.var(0), UPDATE)
        curvature = curvature.lerp(state.gradient(beta).square().mean(0), UPDATE)
        scale = torch.maximum(variance, 1 / curvature).sqrt().clamp(1e-4 * spread, 1e4 * spread)
        state, probability = sampler.transition(state, beta, torch.where(free, size * scale, 0.0))
        size = size * (GAIN * (probability.mean(0) - TARGET_ACCEPTANCE)).exp().unsqueeze(-1)
        size = size.clamp(max=MAX_LENGTH / sampler.num_leapfrog)
        sizes[beta].append(size * scale)
    logs = [torch.stack(sizes[beta][-2:]).log().mean(0) for beta in betas]
    return StepSizes(tuple(betas), torch.where(free, torch.stack(logs).exp(), 0.0))


def _spread(draws: Tensor) -> Tensor:
    """Return half the distance between the quantiles at 1/6 and 5/6, about one standard deviation.

    Heavy tails do not move it. It is 1 where draws do not differ.
    """
    ranked = draws.sort(0).values
    sixth = len(draws) // 6
    spread = (ranked[-1 - sixth] - ranked[sixth]) / 2
    return torch.where(spread.isfinite() & (spread > 0), spread, 1.0)
