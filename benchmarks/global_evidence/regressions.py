"""Regressions: closed forms where they are Gaussian, quadrature where there are up to three
coefficients."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from first_models.quadrature import gauss_hermite, gauss_legendre, log_integral
from torch import Tensor

from global_evidence.case import case


def design(num_data: int, num_coefficients: int, shared: float = 0.0) -> Tensor:
    """Covariates, with a part that all share."""
    return torch.randn(num_data, num_coefficients) + shared * torch.randn(num_data, 1)


def coefficients(size: int, scale: float = 1.0) -> Tensor:
    return pyro.sample("slope", dist.Normal(torch.zeros(size), scale).to_event(1))


def gaussian(num_data: int, size: int, shared: float = 0.0) -> Any:
    """The noise has scale 1."""
    x = design(num_data, size, shared)
    y = x @ (0.5 * torch.randn(size)) + torch.randn(num_data)

    def model(x: Tensor, y: Tensor) -> None:
        mean = x @ coefficients(x.shape[1])
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    covariance = x.double() @ x.double().T + torch.eye(num_data)
    zeros = torch.zeros(num_data, dtype=torch.float64)
    return model, (x, y), dist.MultivariateNormal(zeros, covariance).log_prob(y.double())


@case
def linear_regression_5() -> Any:
    return gaussian(50, 5)


@case
def linear_regression_20_correlated() -> Any:
    return gaussian(80, 20, shared=2.0)


@case
def linear_regression_50() -> Any:
    return gaussian(100, 50)


def conjugate(num_data: int, size: int) -> Any:
    """Slopes Normal(0, v), v Inverse-Gamma(2, 2): y is a Student's t."""
    x = design(num_data, size)
    y = x @ (0.5 * torch.randn(size)) + 1.5 * torch.randn(num_data)

    def model(x: Tensor, y: Tensor) -> None:
        variance = pyro.sample("variance", dist.InverseGamma(2.0, 2.0))
        slope = coefficients(x.shape[1], variance.sqrt())
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(x @ slope, variance.sqrt()), obs=y)

    root = torch.linalg.cholesky(x.double() @ x.double().T + torch.eye(num_data))
    student = dist.MultivariateStudentT(4.0, torch.zeros(num_data, dtype=torch.float64), root)
    return model, (x, y), student.log_prob(y.double())  # scale 2 / 2 = 1


@case
def unknown_variance_10() -> Any:
    return conjugate(40, 10)


@case
def unknown_variance_30() -> Any:
    return conjugate(80, 30)


def logistic(num_data: int, size: int, shared: float = 0.0) -> tuple[Any, tuple[Tensor, Tensor]]:
    x = design(num_data, size, shared)
    y = torch.bernoulli((x @ (torch.randn(size) / math.sqrt(size) * 1.5)).sigmoid())

    def model(x: Tensor, y: Tensor) -> None:
        logits = x @ coefficients(x.shape[1], 2.0)
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Bernoulli(logits=logits), obs=y)

    return model, (x, y)


@case
def logistic_regression_3() -> Any:
    model, (x, y) = logistic(25, 3)

    def log_density(*slope: Tensor) -> Tensor:
        logits = 2 * torch.stack(slope, 1) @ x.double().T
        return dist.Bernoulli(logits=logits).log_prob(y.double()).sum(1)

    rule = gauss_legendre(-6.0, 6.0, 90)
    nodes, weights = rule
    standard = nodes, weights + dist.Normal(0.0, 1.0).log_prob(nodes)
    return model, (x, y), log_integral(log_density, standard, standard, standard)


@case
def logistic_regression_10() -> Any:
    return *logistic(60, 10), None


@case
def logistic_regression_40_correlated() -> Any:
    return *logistic(150, 40, shared=1.0), None


@case
def poisson_regression_2() -> Any:
    x = torch.randn(30)
    y = torch.poisson((0.5 + 0.8 * x).exp())

    def model(x: Tensor, y: Tensor) -> None:
        a = pyro.sample("a", dist.Normal(0.0, 2.0))
        b = pyro.sample("b", dist.Normal(0.0, 2.0))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Poisson((a + b * x).exp()), obs=y)

    def log_density(a: Tensor, b: Tensor) -> Tensor:
        rate = (a[:, None] + b[:, None] * x.double()).exp()
        prior = dist.Normal(0.0, 2.0).log_prob(a) + dist.Normal(0.0, 2.0).log_prob(b)
        return dist.Poisson(rate).log_prob(y.double()).sum(1) + prior

    return model, (x, y), log_integral(log_density, *[gauss_legendre(-4.0, 4.0, 300)] * 2)


@case
def poisson_regression_15() -> Any:
    x = design(60, 15) / 4
    y = torch.poisson((1 + x @ torch.randn(15)).exp())

    def model(x: Tensor, y: Tensor) -> None:
        level = pyro.sample("level", dist.Normal(0.0, 2.0))
        rate = (level + x @ coefficients(x.shape[1])).exp()
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Poisson(rate), obs=y)

    return model, (x, y), None


@case
def overdispersed_poisson() -> Any:
    """A log-normal effect of each of 20 counts: 22 latents; given mean and scale the counts are
    independent."""
    y = torch.poisson((1 + 0.7 * torch.randn(20)).exp())

    def model(y: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        effect = pyro.sample("effect", dist.Normal(torch.zeros(len(y)), 1.0).to_event(1))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Poisson((mean + scale * effect).exp()), obs=y)

    nodes, weights = gauss_hermite(60)

    def log_density(mean: Tensor, scale: Tensor) -> Tensor:
        rate = (mean[:, None] + scale[:, None] * nodes).exp()  # (points, nodes)
        given = dist.Poisson(rate[:, :, None]).log_prob(y.double()) + weights[:, None]
        prior = dist.Normal(0.0, 2.0).log_prob(mean) + dist.HalfNormal(1.0).log_prob(scale)
        return given.logsumexp(1).sum(1) + prior

    rules = gauss_legendre(-4.0, 5.0, 120), gauss_legendre(0.0, 5.0, 100)
    return model, (y,), log_integral(log_density, *rules)


@case
def heavy_tailed_location() -> Any:
    """Student's t noise with 3 degrees of freedom."""
    y = 1 + dist.StudentT(3.0).sample((25,))

    def model(y: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
        scale = pyro.sample("scale", dist.HalfCauchy(2.0))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.StudentT(3.0, mean, scale), obs=y)

    def log_density(mean: Tensor, share: Tensor) -> Tensor:
        scale = 2 * (math.pi / 2 * share).tan()  # uniform on (0, 1)
        given = dist.StudentT(3.0, mean[:, None], scale[:, None]).log_prob(y.double()).sum(1)
        return given + dist.Normal(0.0, 3.0).log_prob(mean)

    rules = gauss_legendre(-5.0, 7.0, 300), gauss_legendre(1e-6, 1 - 1e-6, 400)
    return model, (y,), log_integral(log_density, *rules)


@case
def censored_weibull() -> Any:
    full = dist.Weibull(2.0, 1.5).sample((30,))
    time, is_seen = full.clamp(max=2.5), (full < 2.5).float()

    def log_likelihood(scale: Tensor, shape: Tensor, time: Tensor, seen: Tensor) -> Tensor:
        ratio = time / scale
        return seen * (shape.log() - scale.log() + (shape - 1) * ratio.log()) - ratio**shape

    def model(time: Tensor, seen: Tensor) -> None:
        scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        shape = pyro.sample("shape", dist.LogNormal(0.0, 0.5))
        pyro.factor("times", log_likelihood(scale, shape, time, seen).sum())

    def log_density(a: Tensor, b: Tensor) -> Tensor:
        scale, shape = a.exp()[:, None], (0.5 * b).exp()[:, None]
        given = log_likelihood(scale, shape, time.double(), is_seen.double()).sum(1)
        return given + dist.Normal(0.0, 1.0).log_prob(a) + dist.Normal(0.0, 1.0).log_prob(b)

    return (
        model,
        (time, is_seen),
        log_integral(log_density, *[gauss_legendre(-6.0, 6.0, 400)] * 2),
    )
