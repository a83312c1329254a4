"""How far the log of a mean weight may be off: a standard error that allows for what no draw has shown.

The delta method takes the weights' variance from the weights that were drawn. Where their tail is
heavy, most samples lack the large weights that make up the mean: the estimate is then too low and the
variance, from the same weights, too small as well. So a second term is added, from the generalised
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
the weights' mean is finite, so that k is below 1. The error grows with k and with what is not known
about it, and falls to that of the delta method for light tails and large K. Why one in eight and 1.8: they
make intervals cover, on tails of any k, that are no wider than need be (``benchmarks/coverage.py``).

Fewer than 100 weights say too little of a tail. They are taken to be log-normal, as annealing's nearly
are (R. M. Neal, "Annealed importance sampling", 2001): log-weights with variance v have a relative
variance of exp(v) - 1. v comes from the larger half of them, about their median, for small weights, of
chains that went astray, are no loss.
"""

import math

import torch
from torch import Tensor

from pyro_vae.inference.evidence.psis import Tail, bad_k

FEWEST = 4  # weights that have an error
SAME = 1e-10  # variance up to which weights are equal but for rounding, as without latents
LEAST_ESS = 4 - 1e-9  # effective weights; four equal ones are four, but for rounding
FIT = 100  # weights from which on the tail says more than a log-normal would
RARE = 8  # samples of which one holds a weight beyond the horizon
SIGMAS = 1.8  # of k
LARGEST_K = 0.95
LARGE = 1.0  # nats; beyond, the log-normal of a few weights is a guess
SLIGHT = 0.1  # nats; up to there, whatever the tail's k is, it does not matter to the figure


def standard_error(
    ess: Tensor, largest: Tensor, log_mean: Tensor, tail: Tail, count: int
) -> Tensor:
    """Of the log of a mean of K weights, in nats; NaN where nothing honest can be said. ``units |``.

    That is where there are fewer than 4 effective weights; where it exceeds 0.1 and Pareto k is above its
    threshold (``psis.bad_k``); and where it exceeds 1 of fewer than 100 weights.

    :param ess: the effective sample size.
    :param largest: log-weights, descending: those of the tail, or at least the larger half of K < 100.
    :param count: K.
    """
    if count < 2:
        return torch.full_like(log_mean, math.nan)
    variance = (count / ess - 1).clamp(min=0) * count / (count - 1)  # of a weight over its mean
    if count < FEWEST:
        return torch.where(variance < SAME, variance.sqrt(), math.nan)
    student = (count - 1) / (count - 3)  # the variance of Student's t: that one is estimated, too
    is_heavy = tail.k > bad_k(count)
    if count < FIT:
        variance = torch.maximum(variance, log_normal_variance(largest, count))
        error = (variance * student / count).sqrt()
        is_few = (ess < LEAST_ESS) | (error > LARGE)
    else:
        missing = unseen(tail, (log_mean - largest[0]).exp(), count)
        error = (variance * student / count + missing**2).sqrt()
        is_few = ess < LEAST_ESS
    return torch.where(is_few | is_heavy & (error > SLIGHT), math.nan, error)


def log_normal_variance(largest: Tensor, count: int) -> Tensor:
    """Of a weight over its mean, were weights log-normal: from the larger half of their logs."""
    median = (largest[(count - 1) // 2] + largest[count // 2]) / 2
    variance = (largest[: count // 2] - median).square().mean(0).expm1()
    return torch.where(median == -math.inf, 0.0, variance)  # half of them are 0: nothing log-normal


def unseen(tail: Tail, mean: Tensor, count: int) -> Tensor:
    """The share of the mean that is expected from weights as large as one sample in eight has, or larger.

    :param mean: of the weights, relative to the largest.
    """
    k_error = (1 + tail.k.clamp(min=0)) / (tail.above + 10).sqrt()
    k = (tail.k + SIGMAS * k_error).clamp(max=LARGEST_K)
    k = torch.where(k.abs() < 1e-6, 1e-6, k)
    over = (
        tail.scale * (k * (RARE * tail.above).log()).expm1() / k
    )  # of the horizon, over the tail's start
    excess = (tail.scale + k * over) / (1 - k)
    share = ((tail.cutoff + over - mean + excess) / (RARE * count * mean)).clamp(min=0)
    return torch.where(tail.k.isfinite(), share, 0.0)
