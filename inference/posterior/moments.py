"""Mean, spread, interval and Monte-Carlo error of weighted draws."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Hold figures of many numbers at once, each in the same shape.

    Attributes:
        mean: sum_k w_k z_k.
        sd: the weighted standard deviation.
        low: the lower end of the shortest interval, and ``high`` its upper end.
        high: see ``low``.
        mcse: the Monte-Carlo standard error of the mean.
        ess: (sd / mcse)^2.
        k: Pareto k of the weights; NaN where there are none.
        r_hat: of several chains; NaN elsewhere.
        doubtful: whether the figures cannot be trusted.
    """

    mean: Tensor
    sd: Tensor
    low: Tensor
    high: Tensor
    mcse: Tensor
    ess: Tensor
    k: Tensor
    r_hat: Tensor
    doubtful: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "Moments":
        """Return the figures, each changed by a function."""
        return Moments(*(function(getattr(self, f.name)) for f in fields(self)))


def moments(
    values: Tensor, log_weights: Tensor, probability: float, num_islands: int = 1
) -> Moments:
    """Return the figures of weighted draws.

    The error of a self-normalised mean is sqrt(sum_k w_k^2 (z_k - mean)^2), by the delta method. The
    squares of sd and error are multiplied by K / (K - 1), which is right for equal weights. Particles of
    one of I islands depend on one another. So the error is at least that of I independent sums of
    w_k (z_k - mean).

    Args:
        values: (K, U, R), float64.
        log_weights: (K, U); the weights of each unit sum to 1.
        probability: of the interval.
        num_islands: I groups of equal size, one after another; 1 where all particles are independent.

    Returns:
        figures (U, R).

    Source: A. B. Owen, "Monte Carlo theory, methods and examples", 2013, chapter 9,
    https://artowen.su.domains/mc/.

    >>> z = torch.arange(5.0).double().reshape(5, 1, 1)
    >>> found = moments(z, torch.full((5, 1), 0.2).double().log(), 0.5)
    >>> [round(float(figure), 6) for figure in (found.mean, found.sd**2, found.ess)]
    [2.0, 2.5, 5.0]
    """
    count = len(values)
    weights = log_weights.exp().unsqueeze(-1)
    mean = (weights * values).sum(0)
    off = (values - mean).square() * (count / max(1, count - 1))
    variance = (weights * off).sum(0)
    mcse = (weights.square() * off).sum(0).sqrt()
    if num_islands > 1:
        of_islands = (weights * (values - mean)).unflatten(0, (num_islands, -1)).sum(1)
        mcse = torch.maximum(mcse, error_of_sum(of_islands))
    low, high = shortest_interval(values, weights.expand_as(values), probability)
    nan = torch.full_like(mean, math.nan)
    ess = torch.where(mcse > 0, variance / mcse.square(), nan)
    trusted = torch.zeros_like(mean, dtype=torch.bool)
    return Moments(mean, variance.sqrt(), low, high, mcse, ess, nan, nan, trusted)


def error_of_sum(terms: Tensor) -> Tensor:
    """Return the standard error of a sum of I independent terms whose mean is 0, by the terms, (I, ...)."""
    count = len(terms)
    return (terms.square().sum(0) * (count / max(1, count - 1))).sqrt()


def shortest_interval(values: Tensor, weights: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """Return both ends of the shortest interval that has a probability, of each column.

    Args:
        values: (K, ...).
        weights: of the same shape; each column sums to 1.
        probability: that it has at least.
    """
    shape = values.shape[1:]
    ascending, order = values.flatten(1).T.contiguous().sort(-1)  # (R, K)
    mass = weights.flatten(1).T.gather(-1, order)
    cumulative = mass.cumsum(-1)
    before = cumulative - mass
    target = before + probability * cumulative[:, -1:] - 1e-9
    last = torch.searchsorted(cumulative.contiguous(), target.contiguous())  # the first that has it
    reached = last < values.shape[0]
    ends = ascending.gather(-1, last.clamp(max=len(values) - 1))
    width = torch.where(reached & (mass > 0), ends - ascending, math.inf)
    start = width.argmin(-1, keepdim=True)
    low, high = ascending.gather(-1, start), ends.gather(-1, start)
    return low.reshape(shape), high.reshape(shape)
