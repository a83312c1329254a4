"""Pareto-smoothed importance sampling, from the largest weights alone.

Source: A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, "Pareto smoothed importance sampling",
2024, https://arxiv.org/abs/1507.02646.
"""

import math

import torch
from torch import Tensor

FEWEST = 5  # weights that a tail can be fitted to


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

    :param exceedances: over the threshold, ascending, (M, units). Those of 0 are ties with it, and do not
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


def smooth(largest: Tensor, log_total: Tensor, num_particles: int) -> tuple[Tensor, Tensor]:
    """Pareto k of each unit, and the log of the mean weight after smoothing the tail.

    The tail's weights are replaced by the expected order statistics of the fitted distribution, cut
    at the largest weight; the estimate is less variable for it and no longer unbiased.

    :param largest: the M + 1 largest log-weights, descending, (M + 1, units), with
        M = ``tail_length(num_particles)``.
    :param log_total: log of the sum of all weights, ``units |``.
    :returns: both ``units |``; k is NaN where K is too small for a fit (fewer than 5 in the tail),
        -inf where all the tail's weights are equal, and inf where fewer than 5 stand out from the rest:
        they decide, and nothing can be fitted to them.
    """
    count = len(largest) - 1
    if count < FEWEST:
        nan = torch.full_like(log_total, math.nan)
        return nan, nan
    shift = largest[0]
    relative = (largest - shift).exp()  # in (0, 1]
    cutoff, tail = relative[-1], relative[:-1].flip(0)  # ascending
    exceedances = tail - cutoff
    above = (exceedances > 0).sum(0)
    k, scale = fit_tail(exceedances)
    ranks = torch.arange(count, dtype=tail.dtype, device=tail.device).unsqueeze(-1) - (
        count - above
    )
    p = (ranks.clamp(min=-0.5) + 0.5) / above.clamp(min=1)
    quantiles = torch.where(
        k.abs() < 1e-12, -scale * torch.log1p(-p), scale * torch.expm1(-k * torch.log1p(-p)) / k
    )
    smoothed = (cutoff + quantiles).clamp(max=1.0)
    rest = ((log_total - shift).exp() - tail.sum(0)).clamp(min=0)
    log_mean = (rest + smoothed.sum(0)).log() + shift - math.log(num_particles)
    plain = log_total - math.log(num_particles)
    is_flat, few = tail[-1] - cutoff < 1e-12, above < FEWEST
    k = torch.where(is_flat, -math.inf, torch.where(few, math.inf, k))
    k = torch.where(log_total.isfinite(), k, math.nan)
    return k, torch.where(is_flat | few, plain, log_mean)
