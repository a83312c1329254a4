"""Hierarchies: given the scales, the groups are Gaussian or conjugate."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from first_models.quadrature import gauss_hermite, gauss_legendre, log_integral
from first_models.references import eight_schools
from torch import Tensor

from global_evidence.case import case

SCHOOLS = (
    torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]),
    torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]),
)


def schools(is_centred: bool) -> Any:
    def model(y: Tensor, sigma: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 5.0))
        scale = pyro.sample("scale", dist.HalfCauchy(5.0))
        with pyro.plate("schools", len(y)):
            if is_centred:
                effect = pyro.sample("effect", dist.Normal(mean, scale))
            else:
                effect = mean + scale * pyro.sample("effect", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(effect, sigma), obs=y)

    return model, SCHOOLS, eight_schools(*SCHOOLS)


@case
def eight_schools_centred() -> Any:
    return schools(True)


@case
def eight_schools_not_centred() -> Any:
    return schools(False)


@case
def groups_of_known_scale() -> Any:
    """Gaussian throughout."""
    y = 1 + torch.randn(10)[:, None] + torch.randn(10, 5)

    def model(y: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
        with pyro.plate("groups", len(y), dim=-2):
            effect = pyro.sample("effect", dist.Normal(mean, 1.0))
            with pyro.plate("data", y.shape[1], dim=-1):
                pyro.sample("y", dist.Normal(effect, 1.0), obs=y)

    same = torch.block_diag(*[torch.ones(5, 5, dtype=torch.float64)] * 10)
    covariance = 9 + same + torch.eye(50)
    exact = dist.MultivariateNormal(torch.zeros(50, dtype=torch.float64), covariance)
    return model, (y,), exact.log_prob(y.double().flatten())


@case
def groups_of_unknown_scales() -> Any:
    """Scales of groups and noise, both HalfNormal(1); given them the data are Gaussian."""
    y = 0.5 + 0.8 * torch.randn(8)[:, None] + torch.randn(8, 5)

    def model(y: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
        between = pyro.sample("between", dist.HalfNormal(1.0))
        within = pyro.sample("within", dist.HalfNormal(1.0))
        with pyro.plate("groups", len(y), dim=-2):
            effect = pyro.sample("effect", dist.Normal(mean, between))
            with pyro.plate("data", y.shape[1], dim=-1):
                pyro.sample("y", dist.Normal(effect, within), obs=y)

    same = torch.block_diag(*[torch.ones(5, 5, dtype=torch.float64)] * 8)
    eye, flat = torch.eye(40, dtype=torch.float64), y.double().flatten()

    def log_density(between: Tensor, within: Tensor) -> Tensor:
        b, w = between.square()[:, None, None], within.square()[:, None, None]
        given = dist.MultivariateNormal(torch.zeros_like(flat), 4 + b * same + w * eye)
        prior = dist.HalfNormal(1.0).log_prob(torch.stack([between, within])).sum(0)
        return given.log_prob(flat) + prior

    rules = gauss_legendre(0.0, 5.0, 60), gauss_legendre(0.3, 3.0, 60)
    return model, (y,), log_integral(log_density, *rules)


@case
def pumps() -> Any:
    """Poisson counts with Gamma rates of an unknown scale: the rates integrate out."""
    counts = torch.tensor([5.0, 1, 5, 14, 3, 19, 1, 1, 4, 22])
    time = torch.tensor([94.3, 15.7, 62.9, 126.0, 5.24, 31.4, 1.05, 1.05, 2.1, 10.5])

    def model(counts: Tensor, time: Tensor) -> None:
        shape = pyro.sample("shape", dist.Exponential(1.0))
        rate = pyro.sample("rate", dist.Gamma(0.5, 1.0))
        with pyro.plate("pumps", len(counts)):
            failures = pyro.sample("failures", dist.Gamma(shape, rate))
            pyro.sample("counts", dist.Poisson(failures * time), obs=counts)

    c, t = counts.double(), time.double()

    def log_density(log_shape: Tensor, log_rate: Tensor) -> Tensor:
        shape, rate = log_shape.exp()[:, None], log_rate.exp()[:, None]
        given = torch.lgamma(shape + c) - torch.lgamma(shape) - torch.lgamma(c + 1)
        given = given + shape * (rate / (rate + t)).log() + c * (t / (rate + t)).log()
        prior = dist.Exponential(1.0).log_prob(shape) + dist.Gamma(0.5, 1.0).log_prob(rate)
        return given.sum(1) + prior[:, 0] + log_shape + log_rate

    rules = gauss_legendre(-6.0, 4.0, 250), gauss_legendre(-12.0, 5.0, 250)
    return model, (counts, time), log_integral(log_density, *rules)


@case
def proportions() -> Any:
    """Binomial counts with Beta proportions of unknown mean and size: the proportions integrate out."""
    totals = torch.tensor([20.0, 15, 30, 25, 10, 40, 18, 22, 35, 12])
    counts = torch.tensor([3.0, 1, 9, 4, 0, 15, 2, 7, 5, 4])

    def model(counts: Tensor, totals: Tensor) -> None:
        mean = pyro.sample("mean", dist.Beta(1.0, 1.0))
        size = pyro.sample("size", dist.LogNormal(2.0, 1.0))
        with pyro.plate("groups", len(counts)):
            share = pyro.sample("share", dist.Beta(mean * size, (1 - mean) * size))
            pyro.sample("counts", dist.Binomial(totals, share), obs=counts)

    def log_density(mean: Tensor, log_size: Tensor) -> Tensor:
        size = log_size.exp()
        a, b = (mean * size)[:, None], ((1 - mean) * size)[:, None]
        given = dist.BetaBinomial(a, b, totals.double()).log_prob(counts.double()).sum(1)
        return given + dist.Normal(2.0, 1.0).log_prob(log_size)

    rules = gauss_legendre(1e-9, 1 - 1e-9, 300), gauss_legendre(-4.0, 8.0, 300)
    return model, (counts, totals), log_integral(log_density, *rules)


@case
def funnel() -> Any:
    """Ten numbers whose common log-scale is Normal(0, 2), each seen with noise of scale 1."""
    y = torch.randn(10) * 1.5

    def model(y: Tensor) -> None:
        log_scale = pyro.sample("log_scale", dist.Normal(0.0, 2.0))
        with pyro.plate("data", len(y)):
            z = pyro.sample("z", dist.Normal(0.0, (log_scale / 2).exp()))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def log_density(log_scale: Tensor) -> Tensor:
        given = dist.Normal(0.0, (log_scale.exp() + 1).sqrt()[:, None]).log_prob(y.double())
        return given.sum(1) + dist.Normal(0.0, 2.0).log_prob(log_scale)

    return model, (y,), log_integral(log_density, gauss_legendre(-20.0, 20.0, 2000))


@case
def logistic_groups() -> Any:
    """A random intercept of each of 12 groups of 8: given mean and scale, groups integrate one by one."""
    y = torch.bernoulli((0.3 + torch.randn(12)).sigmoid()[:, None].expand(12, 8))

    def model(y: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
        scale = pyro.sample("scale", dist.HalfNormal(1.5))
        effect = pyro.sample("effect", dist.Normal(torch.zeros(len(y)), 1.0).to_event(1))
        logits = (mean + scale * effect).unsqueeze(-1)
        with pyro.plate("groups", len(y), dim=-2), pyro.plate("data", y.shape[1], dim=-1):
            pyro.sample("y", dist.Bernoulli(logits=logits), obs=y)

    nodes, weights = gauss_hermite(60)
    ones = y.double().sum(1)

    def log_density(mean: Tensor, scale: Tensor) -> Tensor:
        logits = mean[:, None] + scale[:, None] * nodes
        one, other = (torch.nn.functional.logsigmoid(x) for x in (logits, -logits))
        given = ones * one[:, :, None] + (8 - ones) * other[:, :, None] + weights[:, None]
        prior = dist.Normal(0.0, 2.0).log_prob(mean) + dist.HalfNormal(1.5).log_prob(scale)
        return given.logsumexp(1).sum(1) + prior

    rules = gauss_legendre(-6.0, 6.0, 150), gauss_legendre(0.0, 7.0, 120)
    return model, (y,), log_integral(log_density, *rules)


@case
def dirichlet_multinomial() -> Any:
    counts = torch.tensor([12.0, 3.0, 0.0, 7.0, 5.0])

    def model(counts: Tensor) -> None:
        share = pyro.sample("share", dist.Dirichlet(torch.ones(5)))
        pyro.sample("counts", dist.Multinomial(27, share), obs=counts)

    # all compositions of 27 into 5 are equally likely
    return model, (counts,), -math.log(math.comb(31, 4))


@case
def gamma_poisson() -> Any:
    counts = torch.tensor([4.0, 2, 7, 3, 5, 1])

    def model(counts: Tensor) -> None:
        rate = pyro.sample("rate", dist.Gamma(2.0, 0.5))
        with pyro.plate("data", len(counts)):
            pyro.sample("counts", dist.Poisson(rate), obs=counts)

    c = counts.double()
    a, total, size = 2.0, float(c.sum()), len(c)
    exact = math.lgamma(a + total) - math.lgamma(a) + a * math.log(0.5)
    exact -= (a + total) * math.log(0.5 + size) + float(torch.lgamma(c + 1).sum())
    return model, (counts,), exact
