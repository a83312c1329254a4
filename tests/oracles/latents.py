"""Latents of other kinds: several in one unit, supports that depend, matrices of correlations."""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from oracles.conjugate import log_beta
from oracles.oracle import Parts, oracle


@oracle()
def latents_of_several_types() -> Parts:
    """A real, a share, a simplex and a positive number in one unit; each is seen once."""
    prior = torch.tensor([1.0, 2.0, 1.5])

    def model(x: Tensor, flip: Tensor, kind: Tensor, wait: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            simplex = pyro.sample("simplex", dist.Dirichlet(prior))
            share = pyro.sample("share", dist.Beta(2.0, 3.0))
            rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)
            pyro.sample("flip", dist.Bernoulli(share), obs=flip)
            pyro.sample("kind", dist.Categorical(simplex), obs=kind)
            pyro.sample("wait", dist.Exponential(rate), obs=wait)

    def guide(x: Tensor, flip: Tensor, kind: Tensor, wait: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("rate", dist.Gamma(2.5, 1 + wait))
            pyro.sample("share", dist.Beta(1.5 + flip, 3 - flip))
            pyro.sample("simplex", dist.Dirichlet(prior))
            pyro.sample("z", dist.Normal(0.4 * x, 0.9))

    x, flip = torch.randn(10), torch.bernoulli(torch.full((10,), 0.4))
    kind, wait = torch.randint(0, 3, (10,)), dist.Exponential(1.0).sample((10,))
    exact = dist.Normal(0.0, 2**0.5).log_prob(x) + dist.Bernoulli(0.4).log_prob(flip)
    exact = exact + (prior / prior.sum()).log()[kind] + math.log(2) - 3 * (1 + wait).log()
    return (model, guide), (x, flip, kind, wait), exact


@oracle()
def support_that_depends() -> Parts:
    """low ~ Uniform(0, 1), high ~ Uniform(low, 2), x ~ Exponential(high), by quadrature."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            low = pyro.sample("low", dist.Uniform(0.0, 1.0))
            high = pyro.sample("high", dist.Uniform(low, 2.0))
            pyro.sample("x", dist.Exponential(high), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            low = pyro.sample("low", dist.Beta(torch.ones(len(x)), 1.2))
            pyro.sample("high", dist.Uniform(low, 2.0))

    x = torch.tensor([0.1, 0.7, 3.0, 6.0])
    low = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    high = low.unsqueeze(-1) + (2 - low.unsqueeze(-1)) * low  # a midpoint rule in both
    density = torch.stack([(high * (-high * v).exp()).mean() for v in x.double()])
    return (model, guide), (x,), density.log()


@oracle()
def correlations() -> Parts:
    """A correlation matrix of two, by its Cholesky factor, and three pairs of it; by quadrature.

    In float64: of 100,000 draws in float32, torch's LKJCholesky gives one NaN.
    """
    prior, proposed = torch.tensor(2.0, dtype=torch.float64), torch.tensor(1.2, dtype=torch.float64)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            tril = pyro.sample("tril", dist.LKJCholesky(2, prior))  # (B | 2, 2)
            pairs = dist.MultivariateNormal(x.new_zeros(3, 2), scale_tril=tril.unsqueeze(-3))
            pyro.sample("x", pairs.to_event(1), obs=x)  # (B | 3, 2)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("tril", dist.LKJCholesky(2, proposed))

    x = torch.randn(8, 3, 2).double()
    r = (torch.arange(4000, dtype=torch.float64) + 0.5) / 2000 - 1
    squares, product = x.square().sum((1, 2)), x.prod(-1).sum(-1)
    quadratic = (squares.unsqueeze(-1) - 2 * r * product.unsqueeze(-1)) / (1 - r**2)
    log_p = -3 * math.log(2 * math.pi) - 1.5 * torch.log1p(-(r**2)) - quadratic / 2
    density = (0.75 * (1 - r**2) * log_p.exp()).mean(-1) * 2  # LKJ(2) is 3/4 (1 - r^2)
    return (model, guide), (x,), density.log()


@oracle()
def bounded_between_units() -> Parts:
    """An interval that is another in each unit: support given by data."""

    def model(x: Tensor, top: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Uniform(-top, top))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor, top: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Uniform(-top, top))

    x, top = torch.randn(10), 0.5 + 3 * torch.rand(10)
    cdf = dist.Normal(x.double(), 1.0).cdf
    return (model, guide), (x, top), ((cdf(top) - cdf(-top)) / (2 * top)).log()


@oracle()
def a_factor_as_likelihood() -> Parts:
    """`pyro.factor` in place of an observed site."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            p = pyro.sample("p", dist.Beta(2.0, 3.0))
            pyro.factor("x", x * p.log())

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("p", dist.Beta(1.8 + x, 2.7))

    x = 3 * torch.rand(8)
    three = torch.tensor(3.0)
    return (model, guide), (x,), log_beta(2 + x, three) - log_beta(three - 1, three)
