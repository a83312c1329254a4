"""Programs that were written after SMC's thresholds were set."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from first_models.quadrature import gauss_legendre, log_integral
from torch import Tensor

from global_evidence.case import case


@case
def g_prior_regression_12() -> Any:
    """Slopes Normal(0, n (X'X)^-1), noise of scale 1: y is Gaussian."""
    x = torch.randn(60, 12)
    y = x @ (0.5 * torch.randn(12)) + torch.randn(60)
    covariance = 60 * torch.linalg.inv(x.T @ x)

    def model(x: Tensor, y: Tensor) -> None:
        slope = pyro.sample("slope", dist.MultivariateNormal(torch.zeros(12), covariance))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(x @ slope, 1.0), obs=y)

    x64, zeros = x.double(), torch.zeros(60, dtype=torch.float64)
    explained = 60 * x64 @ torch.linalg.inv(x64.T @ x64) @ x64.T
    exact = dist.MultivariateNormal(zeros, explained + torch.eye(60)).log_prob(y.double())
    return model, (x, y), exact


@case
def negative_binomial() -> Any:
    counts = dist.NegativeBinomial(3.0, logits=torch.tensor(0.3)).sample((40,))

    def model(counts: Tensor) -> None:
        size = pyro.sample("size", dist.Gamma(2.0, 0.5))
        share = pyro.sample("share", dist.Beta(1.0, 1.0))
        with pyro.plate("data", len(counts)):
            pyro.sample("counts", dist.NegativeBinomial(size, probs=share), obs=counts)

    c = counts.double()

    def log_density(size: Tensor, share: Tensor) -> Tensor:
        r, q = size[:, None], share[:, None]
        ways = torch.lgamma(r + c) - torch.lgamma(r) - torch.lgamma(c + 1)
        given = (ways + r * (-q).log1p() + c * q.log()).sum(1)
        return given + dist.Gamma(2.0, 0.5).log_prob(size)

    rules = gauss_legendre(1e-4, 60.0, 400), gauss_legendre(1e-6, 1 - 1e-6, 300)
    return model, (counts,), log_integral(log_density, *rules)


@case
def probit_regression_3() -> Any:
    x = torch.randn(30, 3)
    normal = dist.Normal(0.0, 1.0)
    y = torch.bernoulli(normal.cdf(x @ torch.tensor([0.3, 1.0, -0.7])))

    def model(x: Tensor, y: Tensor) -> None:
        slope = pyro.sample("slope", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            share = normal.cdf(x @ slope).clamp(1e-7, 1 - 1e-7)
            pyro.sample("y", dist.Bernoulli(share), obs=y)

    def log_density(*slope: Tensor) -> Tensor:
        signed = (torch.stack(slope, 1) @ x.double().T) * (2 * y.double() - 1)
        given = torch.special.log_ndtr(signed).sum(1)
        return given + normal.log_prob(torch.stack(slope)).sum(0)

    return model, (x, y), log_integral(log_density, *[gauss_legendre(-6.0, 6.0, 70)] * 3)


@case
def crossed_effects() -> Any:
    """Effects of 6 rows and 8 columns, of known scales: the table is Gaussian."""
    y = torch.randn(6, 1) + 0.5 * torch.randn(1, 8) + 0.7 * torch.randn(6, 8)

    def model(y: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
        rows, columns = pyro.plate("rows", 6, dim=-2), pyro.plate("columns", 8, dim=-1)
        with rows:
            of_row = pyro.sample("of_row", dist.Normal(0.0, 1.0))
        with columns:
            of_column = pyro.sample("of_column", dist.Normal(0.0, 0.5))
        with rows, columns:
            pyro.sample("y", dist.Normal(mean + of_row + of_column, 0.7), obs=y)

    row, column = torch.arange(48) // 8, torch.arange(48) % 8
    same_row, same_column = ((n[:, None] == n).double() for n in (row, column))
    covariance = 4.0 + same_row + 0.25 * same_column + 0.49 * torch.eye(48)
    zeros = torch.zeros(48, dtype=torch.float64)
    return model, (y,), dist.MultivariateNormal(zeros, covariance).log_prob(y.flatten().double())


@case
def gamma_survival() -> Any:
    times = dist.Exponential(2.0).sample((25,))

    def model(times: Tensor) -> None:
        shape = pyro.sample("shape", dist.LogNormal(0.0, 1.0))
        rate = pyro.sample("rate", dist.HalfCauchy(1.0))
        with pyro.plate("data", len(times)):
            pyro.sample("times", dist.Gamma(shape, rate), obs=times)

    t = times.double()

    def log_density(shape: Tensor, share: Tensor) -> Tensor:
        rate = (math.pi / 2 * share).tan()  # share is uniform on (0, 1)
        given = len(t) * (shape * rate.log() - torch.lgamma(shape))
        given = given + (shape - 1) * t.log().sum() - rate * t.sum()
        return given + dist.LogNormal(0.0, 1.0).log_prob(shape)

    rules = gauss_legendre(1e-3, 40.0, 900), gauss_legendre(1e-6, 1 - 1e-6, 900)
    return model, (times,), log_integral(log_density, *rules)
