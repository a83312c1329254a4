"""Conjugate pairs: the prior's normaliser over the posterior's. Guides are flattened posteriors."""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from oracles.oracle import Parts, oracle

ONES = torch.ones(3)


def log_beta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


@oracle()
def normal_normal() -> Parts:
    """A unit's mean, seen three times."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.5, 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1) * ONES, 0.8).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        precision = 1 + 3 / 0.64
        with pyro.plate("data", len(x)):
            loc = (0.5 + x.sum(-1) / 0.64) / precision
            pyro.sample("z", dist.Normal(loc, 1.2 * precision**-0.5))

    x = 0.5 + 1.3 * torch.randn(12, 3)
    covariance = torch.ones(3, 3) + 0.64 * torch.eye(3)
    return (model, guide), (x,), dist.MultivariateNormal(0.5 * ONES, covariance).log_prob(x)


@oracle()
def beta_bernoulli() -> Parts:
    """A coin for each unit, and five tosses in an inner plate on its left."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            p = pyro.sample("p", dist.Beta(2.0, 0.8))
            with pyro.plate("tosses", 5, dim=-2):
                pyro.sample("x", dist.Bernoulli(p), obs=x.T)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            heads = x.sum(-1)
            pyro.sample("p", dist.Beta(0.8 * (2 + heads), 0.8 * (5.8 - heads)))

    x = (torch.rand(12, 5) < 0.6).float()
    prior = log_beta(torch.tensor(2.0), torch.tensor(0.8))
    return (model, guide), (x,), log_beta(2 + x.sum(-1), 5.8 - x.sum(-1)) - prior


@oracle()
def gamma_poisson() -> Parts:
    """Three counts of whole numbers (int64)."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            rate = pyro.sample("rate", dist.Gamma(3.0, 2.0))
            pyro.sample("x", dist.Poisson(rate.unsqueeze(-1) * ONES).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("rate", dist.Gamma(0.9 * (3.0 + x.sum(-1)), 4.0))

    x = torch.randint(0, 6, (12, 3))
    total = 3.0 + x.sum(-1)
    prior = 3 * math.log(2) - math.lgamma(3)
    exact = torch.lgamma(total) - total * math.log(5) + prior - torch.lgamma(x + 1.0).sum(-1)
    return (model, guide), (x,), exact


@oracle()
def dirichlet_multinomial() -> Parts:
    """A simplex of three, which has two unconstrained coordinates."""
    prior = torch.tensor([1.0, 2.0, 0.7])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            p = pyro.sample("p", dist.Dirichlet(prior))
            pyro.sample("x", dist.Multinomial(8, p, validate_args=False), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("p", dist.Dirichlet(0.8 * (prior + x)))

    x = dist.Multinomial(8, torch.tensor([0.2, 0.3, 0.5])).sample((10,))
    return (model, guide), (x,), dist.DirichletMultinomial(prior, 8).log_prob(x)


@oracle()
def student_t() -> Parts:
    """A unit's variance and, given it, its mean, seen four times."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            variance = pyro.sample("variance", dist.InverseGamma(3.0, 2.0))
            mean = pyro.sample("mean", dist.Normal(0.5, (variance / 2).sqrt()))
            locs, scales = (v.unsqueeze(-1) * torch.ones(4) for v in (mean, variance.sqrt()))
            pyro.sample("x", dist.Normal(locs, scales).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        loc = (1 + x.sum(-1)) / 6  # of 2 + 4 observations' weight
        squares = (x - x.mean(-1, keepdim=True)).square().sum(-1)
        rate = 2 + squares / 2 + 8 / 12 * (x.mean(-1) - 0.5).square()
        with pyro.plate("data", len(x)):
            variance = pyro.sample("variance", dist.InverseGamma(4.5, 0.9 * rate))
            pyro.sample("mean", dist.Normal(loc, 1.2 * (variance / 6).sqrt()))

    x = 0.5 + torch.randn(10, 4)
    covariance = 2 / 3 * (torch.eye(4) + torch.ones(4, 4) / 2)
    t = dist.MultivariateStudentT(6.0, torch.full((4,), 0.5), torch.linalg.cholesky(covariance))
    return (model, guide), (x,), t.log_prob(x)


@oracle()
def lomax() -> Parts:
    """A unit's rate, and one time waited for."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            rate = pyro.sample("rate", dist.Gamma(3.0, 2.0))
            pyro.sample("x", dist.Exponential(rate), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("rate", dist.Gamma(3.5, 1.5 + x))

    x = dist.Exponential(1.0).sample((12,))
    return (model, guide), (x,), math.log(3) + 3 * math.log(2) - 4 * (x + 2).log()


@oracle()
def observations_of_several_types() -> Parts:
    """One probability, and a flip, a wait and a count that tell of it, as three arguments."""

    def model(flip: Tensor, wait: Tensor, count: Tensor) -> None:
        with pyro.plate("data", len(flip)):
            p = pyro.sample("p", dist.Beta(2.0, 2.0))
            pyro.sample("flip", dist.Bernoulli(p), obs=flip)
            pyro.sample("wait", dist.Geometric(p), obs=wait)
            pyro.sample("count", dist.Binomial(5, p), obs=count)

    def guide(flip: Tensor, wait: Tensor, count: Tensor) -> None:
        with pyro.plate("data", len(flip)):
            pyro.sample("p", dist.Beta(1 + flip + count, 1 + wait + 5 - count))

    flip, wait = torch.bernoulli(torch.full((12,), 0.4)), dist.Geometric(0.4).sample((12,))
    count = dist.Binomial(5, torch.tensor(0.4)).sample((12,))
    ways = math.lgamma(6) - torch.lgamma(count + 1) - torch.lgamma(6 - count)
    exact = log_beta(3 + flip + count, 3 - flip + wait + 5 - count) + math.log(6) + ways
    return (model, guide), (flip, wait, count), exact


@oracle()
def von_mises() -> Parts:
    """A direction, seen once."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.VonMises(torch.full((len(x),), 0.5), 1.0))
            pyro.sample("x", dist.VonMises(z, 2.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.VonMises(x, 1.0))

    x = dist.VonMises(torch.tensor(0.5), torch.tensor(0.8)).sample((10,))
    resultant = (5 + 4 * torch.cos(x - 0.5)).sqrt()  # |e^(i/2) + 2 e^(ix)|
    prior, likelihood = (torch.tensor(k).i0().log() for k in (1.0, 2.0))
    return (model, guide), (x,), resultant.i0().log() - math.log(2 * math.pi) - prior - likelihood
