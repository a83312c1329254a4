"""Chains that move along a path, their weights, and the sums over them."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from pyro_vae.device import for_device
from pyro_vae.inference.annealing.hmc import Sampler, StepSizes
from pyro_vae.inference.annealing.paths import AnnealingPath
from pyro_vae.inference.evidence.method import UnitEstimates
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.program.bound_program import BoundProgram

MAX_MEMORY = {"cpu": 2**28, "cuda": 2**32}  # for the gradients' graph
CHAINS_AT_ONCE = {"cpu": 2**14, "cuda": 2**17}  # of all units of a tile


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
        self.weights = WeightSums.of(bound_program, num_particles)
        self.ratios = WeightSums.of(bound_program, num_particles)
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
