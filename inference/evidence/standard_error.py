"""The standard error of the log of a mean weight, which allows for weights that no draw has shown.

The delta method takes the weights' variance from the weights that were drawn. Where their tail is
heavy, most samples lack the large weights that make up the mean: both the estimate and the variance are
then too low. So a second term is added, from the generalised
Pareto distribution that is fitted to the tail (S. Johansson, "Estimating the mean of heavy-tailed
distributions", Extremes 6, 2003, estimates a mean so; the fit is that of module ``psis``).

Let u be the tail's start, M of K weights lie above it, and W - u given W > u have shape k and scale s. A
weight above x = u + s (q^-k - 1) / k is drawn with probability q M / K. Take q = 1 / (8 M): one sample
of K draws in eight holds such a weight. To the mean m they all contribute

    E[(W - m) 1(W > x)] / m = (x - m + (s + k (x - u)) / (1 - k)) / (8 K m),

for the mean excess over x is again that of a generalised Pareto. A sample without any of them is too
low by that much, relative to m, so in nats; it is taken at the upper end of what the fit leaves open
about k, k + 1.8 (1 + k) / sqrt(M + 10), the error being that of maximum likelihood (R. L. Smith,
"Estimating tails of probability distributions", Annals of Statistics 15, 1987), and at most 0.95, since
the weights' mean is finite, so that k is below 1. The error grows with k and with the error
of k, and falls to that of the delta method for light tails and large K. One in eight and 1.8 were chosen so
that intervals cover on tails of any k, and are not wider than necessary (``benchmarks/coverage.py``).

Fewer than 100 weights say too little of a tail. They are taken to be log-normal, as annealing's nearly
are (R. M. Neal, "Annealed importance sampling", 2001): log-weights with variance v have a relative
variance of exp(v) - 1. v comes from the larger half of them, about their median: small weights, of chains
that went astray, cost nothing.
"""

import math

import torch
from torch import Tensor

from pyro_vae.inference.evidence.psis import Tail, bad_k

MIN_WEIGHTS = 4  # that have an error
EQUAL_VARIANCE = 1e-10  # up to which weights differ only by rounding, as without latents
MIN_ESS = 4 - 1e-9  # four equal weights have 4, up to rounding
MIN_FOR_TAIL = 100  # weights; the tail of fewer says less than a log-normal
SAMPLES = 8  # of these one holds a weight beyond the horizon
K_ERRORS = 1.8  # that are added to k
MAX_K = 0.95
MAX_LOG_NORMAL_ERROR = 1.0  # nats; a larger one, of a few weights, is a guess
MAX_HEAVY_ERROR = 0.1  # nats; a smaller one holds whatever k is
MAX_JOINT_ERROR = (
    0.4  # nats, of one figure; a larger one is mostly of weights that no draw has shown
)


def standard_error(
    ess: Tensor,
    largest: Tensor,
    log_mean: Tensor,
    tail: Tail,
    count: int,
    max_error: float = math.inf,
) -> Tensor:
    """Return that of the log of a mean of K weights, in nats, ``units |``; NaN where none can be trusted.

    It is NaN with fewer than 4 effective weights; where it exceeds 0.1 and Pareto k is above its threshold
    (``psis.bad_k``); where it exceeds 1 with fewer than 100 weights, or ``max_error`` with more.

    A joint evidence has a ``max_error`` of 0.4. k itself is an estimate: where it comes out too low, below
    the threshold, the error is still large, as it allows for the error of k. Of many units, whose errors
    average out, this would withhold more intervals that hold than others.

    Args:
        ess: the effective sample size.
        largest: log-weights, descending: those of the tail, or at least the larger half of K < 100.
        log_mean: the log of the mean weight.
        tail: fitted to the largest weights.
        count: K.
        max_error: nats.
    """
    if count < 2:
        return torch.full_like(log_mean, math.nan)
    variance = (count / ess - 1).clamp(min=0) * count / (count - 1)  # of a weight over its mean
    if count < MIN_WEIGHTS:
        return torch.where(variance < EQUAL_VARIANCE, variance.sqrt(), math.nan)
    student = (count - 1) / (count - 3)  # the variance of Student's t: that one is estimated, too
    is_heavy = tail.k > bad_k(count)
    if count < MIN_FOR_TAIL:
        variance = torch.maximum(variance, log_normal_variance(largest, count))
        error = (variance * student / count).sqrt()
        is_few = (ess < MIN_ESS) | (error > MAX_LOG_NORMAL_ERROR)
    else:
        missing = missing_share(tail, (log_mean - largest[0]).exp(), count)
        error = (variance * student / count + missing**2).sqrt()
        is_few = (ess < MIN_ESS) | (error > max_error)
    return torch.where(is_few | is_heavy & (error > MAX_HEAVY_ERROR), math.nan, error)


def log_normal_variance(largest: Tensor, count: int) -> Tensor:
    """Return the variance of weight over mean of log-normal weights, from the larger half of their logs."""
    median = (largest[(count - 1) // 2] + largest[count // 2]) / 2
    variance = (largest[: count // 2] - median).square().mean(0).expm1()
    return torch.where(median == -math.inf, 0.0, variance)  # half of them are 0


def missing_share(tail: Tail, mean: Tensor, count: int) -> Tensor:
    """Return the share of the mean from weights that only one sample in eight holds, or larger ones.

    Args:
        tail: fitted to the largest weights.
        mean: of the weights, relative to the largest.
        count: K.
    """
    k_error = (1 + tail.k.clamp(min=0)) / (tail.above + 10).sqrt()
    k = (tail.k + K_ERRORS * k_error).clamp(max=MAX_K)
    k = torch.where(k.abs() < 1e-6, 1e-6, k)
    # how far the horizon lies above the tail's start
    over = tail.scale * (k * (SAMPLES * tail.above).log()).expm1() / k
    excess = (tail.scale + k * over) / (1 - k)
    share = ((tail.cutoff + over - mean + excess) / (SAMPLES * count * mean)).clamp(min=0)
    return torch.where(tail.k.isfinite(), share, 0.0)
