"""Sums over a stream of log-weights: a few numbers per unit, in float64."""

import math
from typing import Self

import torch
from torch import Tensor

from pyro_vae.inference.evidence.psis import Tail, smooth, tail_length
from pyro_vae.inference.evidence.standard_error import MAX_JOINT_ERROR, standard_error
from pyro_vae.inference.evidence.unit_estimates import UnitEstimates
from pyro_vae.program.bound_program import BoundProgram

MIN_LARGEST = 64  # of the largest weights, kept for the tail; above MIN_FOR_TAIL / 2, for a median


class WeightSums:
    """Hold the sums, the largest weights and the bounds over K of K log-weights for each unit.

    How the weights are cut into chunks changes only the rounding; memory grows with sqrt(K).

    >>> sums = WeightSums(3, num_units=1)
    >>> sums.add(torch.tensor([[0.0], [1.0]])), sums.add(torch.tensor([[2.0]]))
    (None, None)
    >>> bool(torch.isclose(sums.log_mean(), torch.tensor([0., 1, 2]).double().exp().mean().log()))
    True
    """

    def __init__(
        self,
        num_particles: int,
        num_units: int,
        device: torch.device | str = "cpu",
        max_error: float = math.inf,
    ) -> None:
        zeros = torch.zeros(num_units, dtype=torch.float64, device=device)
        self.num_particles, self.count, self.max_error = num_particles, 0, max_error
        self.maximum = zeros - math.inf
        self.first, self.second = zeros, zeros.clone()
        num_largest = max(tail_length(num_particles) + 1, MIN_LARGEST)
        self.largest = zeros.new_full((num_largest, num_units), -math.inf)
        self.blocks = Blocks(1)
        self._tail: Tail | None = None

    @classmethod
    def of(cls, bound_program: BoundProgram, num_particles: int) -> Self:
        """Return those of the units of a program; one joint figure has a limit to its error."""
        structure = bound_program.structure
        max_error = MAX_JOINT_ERROR if structure.unit is None else math.inf
        return cls(num_particles, structure.num_units, bound_program.device, max_error)

    def add(self, log_weights: Tensor) -> None:
        """Take in log-weights of shape (any number, units)."""
        weights, self._tail = log_weights.double(), None
        maximum = torch.maximum(self.maximum, weights.amax(0))
        # all weights may be zero so far: to subtract -inf would make NaN
        shift = torch.where(maximum == -math.inf, 0.0, maximum)
        shrink = (self.maximum - shift).exp()
        relative = (weights - shift).exp()
        self.first = self.first * shrink + relative.sum(0)
        self.second = self.second * shrink.square() + relative.square().sum(0)
        self.maximum, self.count = maximum, self.count + len(weights)
        candidates = torch.cat([self.largest, weights])
        self.largest.copy_(candidates.topk(len(self.largest), dim=0).values)
        self.blocks.add(weights)

    def log_total(self) -> Tensor:
        """Return log sum_k w_k."""
        return self.maximum + self.first.log()

    def log_mean(self) -> Tensor:
        """Return log (1/K) sum_k w_k."""
        return self.log_total() - math.log(self.count)

    def ess(self) -> Tensor:
        """Return (sum w)^2 / sum w^2."""
        return self.first.square() / self.second

    def standard_error(self) -> Tensor:
        """Return that of :meth:`log_mean`; NaN where none can be trusted (module ``standard_error``)."""
        return standard_error(
            self.ess(), self.largest, self.log_mean(), self.tail(), self.count, self.max_error
        )

    def tail(self) -> Tail:
        """Return the distribution that is fitted to the largest weights."""
        if self._tail is None:
            self._tail = Tail.of(self.largest[: tail_length(self.count) + 1])
        return self._tail

    def pareto(self) -> tuple[Tensor, Tensor]:
        """Return Pareto k, and the log of the Pareto-smoothed mean."""
        largest = self.largest[: tail_length(self.count) + 1]
        return self.tail().k, smooth(self.tail(), largest, self.log_total(), self.count)

    def jackknife(self) -> Tensor:
        """Return K L_K - (K - 1) mean_i L_(K-1) without weight i: a bias of order 1/K is removed.

        Leaving one weight out changes the log of the sum by log(1 - w_i / sum w). That is taken
        exactly for the largest weights; for the others, each a small part of the sum, to second
        order.

        Source: S. Nowozin, "Debiasing evidence approximations: on importance-weighted autoencoders
        and jackknife variational inference", 2018, https://openreview.net/forum?id=HyZoi-WRb.
        """
        count = self.count
        if count < 2:
            return torch.full_like(self.first, math.nan)
        parts = (self.largest - self.log_total()).exp()
        others = (1 - parts.sum(0)).clamp(min=0)
        others_squared = (self.second / self.first.square() - parts.square().sum(0)).clamp(min=0)
        left_out = torch.log1p(-parts).sum(0) - others - others_squared / 2
        without_one = self.log_total() - math.log(count - 1) + left_out / count
        return count * self.log_mean() - (count - 1) * without_one

    def mean_log(self) -> Tensor:
        """Return the mean log-weight: the ELBO of the same draws."""
        return self.blocks.mean()

    def bounds(self) -> dict[int, tuple[Tensor, Tensor]]:
        """Return the IWAE bound at 1, 10, 100, ... and K particles, each with its standard error.

        Each is the mean over all disjoint blocks of so many draws.
        """
        bounds, blocks = {}, self.blocks
        while blocks.count:
            bounds[blocks.size] = blocks.mean(), blocks.standard_error()
            blocks = blocks.coarser
        return {**bounds, self.count: (self.log_mean(), self.standard_error())}

    def unit_estimates(self) -> UnitEstimates:
        """Return all of these."""
        pareto_k, smoothed = self.pareto()
        bounds = self.bounds()
        return UnitEstimates(
            self.log_mean(),
            self.standard_error(),
            self.ess(),
            pareto_k,
            smoothed=smoothed,
            jackknife=self.jackknife(),
            bounds={k: bound for k, (bound, _) in bounds.items()},
            bounds_error={k: error for k, (_, error) in bounds.items()},
        )


class Blocks:
    """Hold log-mean weights of consecutive blocks of ``size`` draws; ten make a block of the next size."""

    def __init__(self, size: int) -> None:
        self.size, self.count = size, 0
        self.first: Tensor | float = (
            0.0  # sums are of distances from it: large numbers would cancel
        )
        self.total: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0
        self.waiting: Tensor | None = None

    def add(self, log_means: Tensor) -> None:
        """Take in the log-means of further blocks, (blocks, units)."""
        if not self.count:
            self.first = log_means[0].nan_to_num(0.0, 0.0, 0.0)
        distances = log_means - self.first
        self.count += len(log_means)
        self.total = self.total + distances.sum(0)
        self.squares = self.squares + distances.square().sum(0)
        rows = log_means if self.waiting is None else torch.cat([self.waiting, log_means])
        tens = len(rows) // 10
        self.waiting = rows[10 * tens :].clone()
        if tens:
            grouped = rows[: 10 * tens].unflatten(0, (tens, 10))
            self.coarser.add(grouped.logsumexp(1) - math.log(10))

    @property
    def coarser(self) -> "Blocks":
        """Blocks of ten times the size."""
        if not hasattr(self, "_coarser"):
            self._coarser = Blocks(10 * self.size)
        return self._coarser

    def mean(self) -> Tensor:
        return torch.as_tensor(self.first + self.total / self.count)

    def standard_error(self) -> Tensor:
        """Return that of the mean; NaN from a single block."""
        if self.count < 2:
            return torch.full_like(self.mean(), math.nan)
        mean_square = torch.as_tensor(self.squares) / self.count
        variance = mean_square - (torch.as_tensor(self.total) / self.count).square()
        return (variance.clamp(min=0) / (self.count - 1)).sqrt()
