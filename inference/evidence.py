"""The evidence as a result: per unit, in nats, with its errors."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Evidence:
    """Importance-sampled log p(x) of each unit; every tensor is ``units |``, in nats.

    ``log_evidence`` is log (1/K) sum_k w_k with w = p(x, z) / q(z | x): the IWAE bound at K, whose
    expectation is at most log p(x) and rises to it with K. ``standard_error`` is its Monte-Carlo error
    by the delta method; ``ess`` the effective sample size, (sum w)^2 / sum w^2. ``elbo`` is the mean
    log-weight of the same draws. ``unit`` is the plate that the figures are per, None for one joint
    figure of all data.

    Source: Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", 2015,
    https://arxiv.org/abs/1509.00519.
    """

    log_evidence: Tensor
    standard_error: Tensor
    ess: Tensor
    elbo: Tensor
    num_particles: int
    unit: str | None
    notes: tuple[str, ...] = ()

    @property
    def units(self) -> int:
        return len(self.log_evidence)

    @property
    def mean(self) -> float:
        """Mean log-evidence per unit."""
        return float(self.log_evidence.mean())

    @property
    def mean_standard_error(self) -> float:
        """Monte-Carlo standard error of :attr:`mean`: what more particles would make smaller."""
        return float(self.standard_error.square().sum().sqrt() / self.units)

    @property
    def sampling_error(self) -> float:
        """Standard error of :attr:`mean` as an estimate for the population the units come from."""
        if self.units < 2:
            return math.nan
        return float(self.log_evidence.std() / math.sqrt(self.units))

    @property
    def total(self) -> float:
        """Log-evidence of all units together."""
        return float(self.log_evidence.sum())

    def to_dict(self) -> dict[str, Any]:
        """The figures of the whole set, in nats, as JSON takes them."""
        return {
            "mean": self.mean,
            "standard_error": self.mean_standard_error,
            "sampling_error": None if self.units < 2 else self.sampling_error,
            "total": self.total,
            "elbo": float(self.elbo.mean()),
            "median_ess": float(self.ess.median()),
            "units": self.units,
            "num_particles": self.num_particles,
            "unit": self.unit,
            "notes": list(self.notes),
        }

    def summary(self) -> str:
        """A few lines, as one would put them into a paper."""
        sampling = "" if self.units < 2 else f", ± {self.sampling_error:.3f} (sampling of data)"
        what = f"per unit of plate {self.unit!r}, {self.units:,} units" if self.unit else "joint"
        lines = [
            f"log-evidence {self.mean:.3f} ± {self.mean_standard_error:.3f} (Monte Carlo)"
            f"{sampling} nats, {what}, K = {self.num_particles:,} particles",
            f"ELBO of the same draws {float(self.elbo.mean()):.3f}; median effective sample size "
            f"{float(self.ess.median()):,.1f} of {self.num_particles:,}",
        ]
        return "\n".join([*lines, *self.notes])


class WeightSums:
    """What importance sampling keeps of a stream of log-weights: a few sums per unit, in float64.

    >>> sums = WeightSums(1)
    >>> sums.add(torch.tensor([[0.0], [1.0]])), sums.add(torch.tensor([[2.0]]))
    (None, None)
    >>> bool(torch.isclose(sums.log_mean(), torch.tensor([0., 1, 2]).double().exp().mean().log()))
    True
    """

    def __init__(self, units: int, device: torch.device | str = "cpu") -> None:
        zeros = torch.zeros(units, dtype=torch.float64, device=device)
        self.count = 0
        self.largest = zeros - math.inf
        self.first, self.second, self.of_logs = zeros, zeros.clone(), zeros.clone()

    def add(self, log_weights: Tensor) -> None:
        """Takes in weights of shape (K, units)."""
        weights = log_weights.double()
        largest = torch.maximum(self.largest, weights.amax(0))
        # where all weights so far are zero, subtracting -inf would make NaN
        shift = torch.where(largest.isinf(), torch.zeros_like(largest), largest)
        shrink = (self.largest - shift).exp()
        relative = (weights - shift).exp()
        self.first = self.first * shrink + relative.sum(0)
        self.second = self.second * shrink.square() + relative.square().sum(0)
        self.of_logs = self.of_logs + weights.sum(0)
        self.largest, self.count = largest, self.count + len(weights)

    def log_mean(self) -> Tensor:
        """log (1/K) sum_k w_k."""
        return self.largest + self.first.log() - math.log(self.count)

    def ess(self) -> Tensor:
        return self.first.square() / self.second

    def standard_error(self) -> Tensor:
        """Of :meth:`log_mean`, by the delta method: the relative standard error of the mean weight."""
        if self.count < 2:
            return torch.full_like(self.first, math.nan)
        relative_variance = (self.count * self.second / self.first.square() - 1).clamp(min=0)
        return (relative_variance / (self.count - 1)).sqrt()

    def mean_log(self) -> Tensor:
        return self.of_logs / self.count
