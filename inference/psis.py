"""Pareto-smoothed importance sampling, from the largest weights alone.

Source: A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, "Pareto smoothed importance sampling",
2024, https://arxiv.org/abs/1507.02646.
"""

import math

import torch
from torch import Tensor


def tail_length(num_particles: int) -> int:
    """How many of K weights count as the tail: min(K / 5, 3 sqrt K), rounded up.

    >>> tail_length(1000)
    95
    """
    return math.ceil(min(num_particles / 5, 3 * math.sqrt(num_particles)))


def fit_tail(exceedances: Tensor) -> tuple[Tensor, Tensor]:
    """Shape k and scale of generalised Pareto distributions, one a column.

    The empirical Bayes estimate of J. Zhang, M. A. Stephens, "A new and efficient estimation method
    for the generalized Pareto distribution", Technometrics 51, 2009, with the shape then drawn
    towards 0.5 by ten observations' weight, as Vehtari et al. (appendix C) have it.

    :param exceedances: over the threshold, positive and ascending, (M, units).
    """
    x, count = exceedances, len(exceedances)
    grid = 30 + int(math.sqrt(count))
    j = torch.arange(1, grid + 1, dtype=x.dtype, device=x.device).unsqueeze(-1)  # (grid, 1)
    quartile = x[int(count / 4 + 0.5) - 1]
    b = 1 / x[-1] + (1 - torch.sqrt(grid / (j - 0.5))) / (3 * quartile)  # (grid, units)
    k = torch.stack([torch.log1p(-row * x).mean(0) for row in b])  # (grid, units)
    likelihood = count * (torch.log(-b / k) - k - 1)
    weights = likelihood.softmax(0)
    b_mean = (b * weights).sum(0)
    shape = torch.log1p(-b_mean * x).mean(0)
    scale = -shape / b_mean
    return (count * shape + 10 * 0.5) / (count + 10), scale


def smooth(largest: Tensor, log_total: Tensor, num_particles: int) -> tuple[Tensor, Tensor]:
    """Pareto k of each unit, and the log of the mean weight after smoothing the tail.

    The tail's weights are replaced by the expected order statistics of the fitted distribution, cut
    at the largest weight; the estimate is less variable for it and no longer unbiased.

    :param largest: the M + 1 largest log-weights, descending, (M + 1, units), with
        M = ``tail_length(num_particles)``.
    :param log_total: log of the sum of all weights, ``units |``.
    :returns: both ``units |``; k is NaN where K is too small for a fit (fewer than 5 in the tail) and
        -inf where all the tail's weights are equal.
    """
    count = len(largest) - 1
    if count < 5:
        nan = torch.full_like(log_total, math.nan)
        return nan, nan
    shift = largest[0]
    relative = (largest - shift).exp()  # in (0, 1]
    cutoff, tail = relative[-1], relative[:-1].flip(0)  # ascending
    exceedances = (tail - cutoff).clamp(min=torch.finfo(tail.dtype).tiny)
    k, scale = fit_tail(exceedances)
    p = (torch.arange(count, dtype=tail.dtype, device=tail.device).unsqueeze(-1) + 0.5) / count
    quantiles = torch.where(
        k.abs() < 1e-12, -scale * torch.log1p(-p), scale * torch.expm1(-k * torch.log1p(-p)) / k
    )
    smoothed = (cutoff + quantiles).clamp(max=1.0)
    rest = ((log_total - shift).exp() - tail.sum(0)).clamp(min=0)
    log_mean = (rest + smoothed.sum(0)).log() + shift - math.log(num_particles)
    is_flat = tail[-1] - cutoff < 1e-12
    plain = log_total - math.log(num_particles)
    return torch.where(is_flat, -math.inf, k), torch.where(is_flat, plain, log_mean)
