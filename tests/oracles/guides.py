"""Guides: the prior, Pyro's own, ones too narrow and too wide; programs that take one call a draw."""

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from pyro.infer.reparam import LocScaleReparam
from pyro.nn import PyroParam
from torch import Tensor
from torch.distributions import constraints

from oracles.oracle import Parts, oracle

X = 1.5 * torch.randn(12, generator=torch.Generator().manual_seed(3))
EXACT = dist.Normal(0.0, 2**0.5).log_prob(X)


def model(x: Tensor) -> None:
    """z ~ Normal(0, 1), x ~ Normal(z, 1), so that z given x has scale 0.71."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def with_scale(scale: float) -> Parts:
    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.5 * x, scale))

    return (model, guide), (X,), EXACT


@oracle(narrow=True, starts=("prior",))
def too_narrow() -> Parts:
    """A seventh of the posterior's scale in five dimensions; the weights' tail has k = 1 - 1/49."""

    def five(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(5), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.5 * x, 0.1).to_event(1))

    x = 1.5 * torch.randn(12, 5)
    return (five, guide), (x,), dist.Normal(0.0, 2**0.5).log_prob(x).sum(-1)


@oracle()
def too_wide() -> Parts:
    return with_scale(4.0)


@oracle()
def exact_posterior() -> Parts:
    """All weights are equal, to rounding."""
    return with_scale(0.5**0.5)


@oracle()
def the_prior() -> Parts:
    """The model itself, without its data."""
    return (model, poutine.block(model, hide=["x"])), (X,), EXACT


@oracle()
def reparameterised() -> Parts:
    """The model's latent decentred by Pyro's handler; the guide draws what then stands for it."""

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z_decentered", dist.Normal(0.4 * x, 0.8))

    return (poutine.reparam(model, {"z": LocScaleReparam(0.0)}), guide), (X,), EXACT


@oracle()
def without_a_plate() -> Parts:
    """Data and latents as one event: nothing says that they are independent."""

    def whole(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("z", dist.Normal(0.4 * x, 0.8).to_event(1))

    return (whole, guide), (X[:5],), EXACT[:5].sum().reshape(1)


@oracle(vectorized=False)
def one_draw_at_a_time() -> Parts:
    """A model that will not take another dimension."""

    def stubborn(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            assert z.dim() == 1
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    (_, guide), _, _ = with_scale(0.8)
    return (stubborn, guide), (X[:3],), EXACT[:3]


@oracle()
def auto_normal() -> Parts:
    """With parameters of its own for each datum, and a rate that it draws on the log scale."""

    def counts(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            rate = pyro.sample("rate", dist.LogNormal(0.0, 1.0))
            pyro.sample("x", dist.LogNormal(rate.log(), 1.0), obs=x)

    guide = AutoNormal(counts)
    guide(X.exp())
    guide.locs.rate.copy_(X / 2)
    guide.scales.rate = torch.full((12,), 0.8)
    return (counts, guide), (X.exp(),), EXACT - X


@oracle()
def auto_multivariate_normal() -> Parts:
    """A regression's slope and scale-free offset, shared by all data: one joint evidence."""

    def regression(x: Tensor, y: Tensor) -> None:
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        offset = pyro.sample("offset", dist.Normal(0.0, 2.0))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(slope * x + offset, 0.7), obs=y)

    y = 0.8 * X - 0.5 + 0.7 * torch.randn(12)
    design, prior = torch.stack([X, torch.ones(12)], -1), torch.tensor([1.0, 4.0])
    precision = (1 / prior).diag() + design.T @ design / 0.49
    tril = 1.1 * torch.linalg.cholesky(torch.linalg.inv(precision))
    guide = AutoMultivariateNormal(regression)
    guide(X, y)
    guide.loc.copy_(torch.linalg.solve(precision, design.T @ y / 0.49))
    guide.scale = PyroParam(tril.diagonal().clone(), constraints.positive)
    guide.scale_tril = PyroParam(tril / tril.diagonal()[:, None], constraints.lower_cholesky)
    covariance = design @ prior.diag() @ design.T + 0.49 * torch.eye(12)
    exact = dist.MultivariateNormal(torch.zeros(12), covariance).log_prob(y)
    return (regression, guide), (X, y), exact.reshape(1)
