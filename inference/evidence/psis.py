"""Pareto-smoothed importance sampling, from the largest weights alone.

Source: A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, "Pareto smoothed importance sampling",
2024, https://arxiv.org/abs/1507.02646.
"""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

MIN_TAIL = 5  # weights that a tail can be fitted to


def tail_length(num_particles: int) -> int:
    """Return how many of K weights count as the tail: min(K / 5, 3 sqrt K), rounded up.

    >>> tail_length(1000)
    95
    """
    return math.ceil(min(num_particles / 5, 3 * math.sqrt(num_particles)))


def smallest_for_k() -> int:
    """Return the smallest K whose tail is long enough for a Pareto k.

    >>> smallest_for_k()
    21
    """
    return next(count for count in itertools.count(1) if tail_length(count) >= MIN_TAIL)


def bad_k(num_particles: int) -> float:
    """Return the Pareto k above which K weights are too few: min(1 - 1 / log10 K, 0.7) (Vehtari et al.).

    >>> [round(bad_k(count), 2) for count in (100, 1000, 10_000)]
    [0.5, 0.67, 0.7]
    """
    return min(1 - 1 / math.log10(max(num_particles, 2)), 0.7)


def fit_tail(exceedances: Tensor) -> tuple[Tensor, Tensor]:
    """Fit shape k and scale of generalised Pareto distributions, one a column.

    This is the empirical Bayes estimate of J. Zhang, M. A. Stephens, "A new and efficient estimation
    method for the generalized Pareto distribution", Technometrics 51, 2009; the shape is then drawn
    towards 0.5 by the weight of ten observations (Vehtari et al., appendix C).

    Args:
        exceedances: over the threshold, ascending, (M, units). Those of 0 are ties with it, and do not
            count.
    """
    x, count = exceedances, (exceedances > 0).sum(0).clamp(min=1)
    grid = 30 + int(math.sqrt(len(x)))
    j = torch.arange(1, grid + 1, dtype=x.dtype, device=x.device).unsqueeze(-1)  # (grid, 1)
    place = (len(x) - count + (count / 4 + 0.5).long() - 1).clamp(min=0)
    quartile = x.gather(0, place.unsqueeze(0)).squeeze(0)
    b = 1 / x[-1] + (1 - torch.sqrt(grid / (j - 0.5))) / (3 * quartile)  # (grid, units)
    k = torch.stack([torch.log1p(-row * x).sum(0) for row in b]) / count  # (grid, units)
    likelihood = count * (torch.log(-b / k) - k - 1)
    weights = likelihood.softmax(0)
    b_mean = (b * weights).sum(0)
    shape = torch.log1p(-b_mean * x).sum(0) / count
    scale = -shape / b_mean
    return (count * shape + 10 * 0.5) / (count + 10), scale


@dataclass(frozen=True)
class Tail:
    """Hold the generalised Pareto distribution of each unit's largest weights, each ``units |``.

    Weights are relative to the largest.

    Attributes:
        k: shape; NaN where K is too small for a fit (fewer than 5 in the tail), -inf where all the tail's
            weights are equal, and inf where fewer than 5 exceed the rest: they decide the figure, and
            nothing can be fitted to them.
        scale: of the exceedances.
        cutoff: the largest weight outside the tail.
        above: how many weights exceed the cutoff; ties do not.
    """

    k: Tensor
    scale: Tensor
    cutoff: Tensor
    above: Tensor

    @classmethod
    def of(cls, largest: Tensor) -> "Tail":
        """Fit the tail to the M + 1 largest log-weights, descending, (M + 1, units)."""
        if len(largest) <= MIN_TAIL:
            nan = torch.full_like(largest[0], math.nan)
            return cls(nan, nan, nan, torch.zeros_like(nan))
        relative = (largest - largest[0]).exp()  # in (0, 1]
        cutoff = relative[-1]
        exceedances = relative[:-1].flip(0) - cutoff
        above = (exceedances > 0).sum(0)
        k, scale = fit_tail(exceedances)
        k = torch.where(above < MIN_TAIL, math.inf, k)
        k = torch.where(exceedances[-1] < 1e-12, -math.inf, k)
        return cls(torch.where(largest[0].isfinite(), k, math.nan), scale, cutoff, above)


def smooth(tail: Tail, largest: Tensor, log_total: Tensor, num_particles: int) -> Tensor:
    """Return the log of the mean weight with a smoothed tail, ``units |``; NaN where nothing was fitted.

    The expected order statistics of the fitted distribution replace the tail's weights, cut at the largest
    weight. The estimate is less variable, and no longer unbiased.

    Args:
        tail: fitted to ``largest``.
        largest: the M + 1 largest log-weights, descending, (M + 1, units), with
            M = ``tail_length(num_particles)``.
        log_total: log of the sum of all weights, ``units |``.
        num_particles: K.
    """
    if len(largest) <= MIN_TAIL:
        return torch.full_like(log_total, math.nan)
    shift = largest[0]
    drawn = (largest[:-1] - shift).exp().sum(0)
    rest = ((log_total - shift).exp() - drawn).clamp(min=0)
    smoothed = _expected(tail, len(largest) - 1)
    log_mean = (rest + smoothed.sum(0)).log() + shift - math.log(num_particles)
    return torch.where(tail.k.isinf(), log_total - math.log(num_particles), log_mean)


def _expected(tail: Tail, count: int) -> Tensor:
    """Return the fitted tail's expected order statistics, ascending, (M, units); the largest is 1."""
    k, above = tail.k, tail.above
    ranks = torch.arange(count, dtype=k.dtype, device=k.device).unsqueeze(-1) - (count - above)
    p = (ranks.clamp(min=-0.5) + 0.5) / above.clamp(min=1)
    quantiles = torch.where(
        k.abs() < 1e-12,
        -tail.scale * torch.log1p(-p),
        tail.scale * torch.expm1(-k * torch.log1p(-p)) / k,
    )
    return (tail.cutoff + quantiles).clamp(max=1.0)


def smooth_weights(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-weights with a smoothed tail, whose weights sum to 1, and Pareto k.

    The expected order statistics of the fitted tail replace its weights, in their order. Where nothing can
    be fitted the weights stay as they are.

    Args:
        log_weights: (K, units).

    >>> smoothed, k = smooth_weights(torch.zeros(4, 2))
    >>> smoothed.exp()[:, 0], k
    (tensor([0.2500, 0.2500, 0.2500, 0.2500], dtype=torch.float64), tensor([nan, nan], dtype=torch.float64))
    """
    weights = log_weights.double()
    count = min(tail_length(len(weights)), len(weights) - 1)
    largest, places = weights.topk(count + 1, dim=0)
    tail = Tail.of(largest)
    if count >= MIN_TAIL:
        smoothed = _expected(tail, count).flip(0).log() + largest[0]
        weights = weights.scatter(
            0, places[:-1], torch.where(tail.k.isfinite(), smoothed, largest[:-1])
        )
    return weights - weights.logsumexp(0), tail.k
