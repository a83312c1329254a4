"""Walks of many chains along a path, and what is kept of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from pyro_vae.inference.annealing.hmc import Sampler, Steps
from pyro_vae.inference.annealing.paths import Path
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.program.bound_program import BoundProgram


@dataclass(frozen=True)
class Walk:
    """K chains for each of U units, at their ends.

    Attributes:
        log_weights: (K, U), float64, nats.
        log_ratios: log end - log start where they set out, (K, U), float64, nats.
        u: where they got to, (K, U, D).
        acceptance: mean probability of acceptance, (U,); NaN where nothing moved.
    """

    log_weights: Tensor
    log_ratios: Tensor
    u: Tensor
    acceptance: Tensor


def walk(
    sampler: Sampler,
    u: Tensor,
    betas: Sequence[float],
    steps: Steps | None,
    tick: Callable[[], object] = lambda: None,
) -> Walk:
    """Takes chains from ``u``, draws at the first of ``betas``, past all the others, up or down.

    log w = sum_t (b_t - b_(t-1)) (log end(u_(t-1)) - log start(u_(t-1))), and u_t comes from u_(t-1) by
    a reversible transition that leaves p_(b_t) as it is. From 0 to 1, from draws of the start, the
    weight's expectation is the evidence; from 1 to 0, from a draw of the posterior, it is one over the
    evidence.
    """
    point = sampler.point(u)
    log_ratios = point.log_ratio()
    log_weights, accepted = torch.zeros_like(log_ratios), torch.zeros_like(log_ratios[0])
    for here, there in pairwise(betas):
        log_weights += (there - here) * point.log_ratio()
        if steps is not None and there != betas[-1]:
            point, probability = sampler.transition(point, there, steps.at(there))
            accepted += probability.mean(0)
        tick()
    moves = math.nan if steps is None else len(betas) - 2
    return Walk(log_weights, log_ratios, point.u, accepted / moves)


class Walks:
    """What is kept of the walks of K chains for each of U units, as they come in."""

    def __init__(self, num_particles: int, call: BoundProgram) -> None:
        units, device = call.structure.num_units, call.device
        self.weights = WeightSums(num_particles, units, device)
        self.ratios = WeightSums(num_particles, units, device)
        self._chosen = torch.empty(0)
        self._key = torch.full((units,), -math.inf, dtype=torch.float64, device=device)
        self._accepted = torch.zeros(units, dtype=torch.float64, device=device)

    def add(self, walk: Walk) -> None:
        self.weights.add(walk.log_weights)
        self.ratios.add(walk.log_ratios)
        self._accepted = self._accepted + walk.acceptance * len(walk.u)
        self._choose(walk)

    @property
    def count(self) -> int:
        return self.weights.count

    def figures(self) -> dict[str, Tensor]:
        """By the names of an evidence's fields; ``acceptance`` is the mean probability of it."""
        return self.weights.figures() | {"acceptance": self._accepted / self.count}

    def chosen(self) -> Tensor:
        """One chain's end for each unit, (1, U, D), drawn by weight."""
        return self._chosen

    def _choose(self, walk: Walk) -> None:
        """The largest of log-weights plus Gumbel noise is a draw by weight, and can be kept as one goes."""
        uniform = torch.rand_like(walk.log_weights).clamp(min=1e-300)
        key, chain = (walk.log_weights - (-uniform.log()).log()).nan_to_num(-math.inf).max(0)
        index = chain.reshape(1, -1, 1).expand(1, -1, walk.u.shape[-1])
        candidate, better = walk.u.gather(0, index), (key > self._key).unsqueeze(-1)
        is_first = not self._chosen.numel()
        self._chosen = candidate if is_first else torch.where(better, candidate, self._chosen)
        self._key = torch.maximum(self._key, key)


def bytes_per_chain(path: Path) -> int:
    """What one more chain keeps for a gradient; doubled, for what comes and goes besides."""
    sizes = []
    for num_chains in (1, 2):
        storages: dict[int, Tensor] = {}

        def keep(tensor: Tensor, storages: dict[int, Tensor] = storages) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            path.log_densities(path.draw(num_chains).requires_grad_())
        sizes.append(sum(t.untyped_storage().nbytes() for t in storages.values()))
    return max(1, 2 * (sizes[1] - sizes[0]))
