"""Plates beside, inside and around the unit; latents outside of it; scales that must not count."""

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from oracles.oracle import Parts, oracle


@oracle()
def groups_to_the_right() -> Parts:
    """A mean for each unit, and for each of its three groups an effect, seen once."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            mean = pyro.sample("mean", dist.Normal(0.0, 1.0))  # (B, 1)
            with pyro.plate("groups", 3, dim=-1):
                effect = pyro.sample("effect", dist.Normal(mean, 0.7))  # (B, 3)
                pyro.sample("x", dist.Normal(effect, 0.5), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("mean", dist.Normal(x.mean(-1, keepdim=True) / 2, 0.8))
            with pyro.plate("groups", 3, dim=-1):
                pyro.sample("effect", dist.Normal(0.5 * x, 0.8))

    x = torch.randn(10, 3)
    covariance = torch.ones(3, 3) + 0.74 * torch.eye(3)
    return (model, guide), (x,), dist.MultivariateNormal(torch.zeros(3), covariance).log_prob(x)


@oracle()
def groups_to_the_left() -> Parts:
    """The same, with the groups' dimension on the left of the units'."""

    def model(x: Tensor) -> None:
        groups = pyro.plate("groups", 3, dim=-2)
        with pyro.plate("data", len(x), dim=-1):
            mean = pyro.sample("mean", dist.Normal(0.0, 1.0))  # (B,)
            with groups:
                effect = pyro.sample("effect", dist.Normal(mean, 0.7))  # (3, B)
                pyro.sample("x", dist.Normal(effect, 0.5), obs=x.T)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            mean = pyro.sample("mean", dist.Normal(x.mean(-1) / 2, 0.8))
            with pyro.plate("groups", 3, dim=-2):
                pyro.sample("effect", dist.Normal(0.5 * x.T + 0.3 * mean, 0.7))

    return (model, guide), groups_to_the_right.args, groups_to_the_right.exact


@oracle()
def three_deep() -> Parts:
    """Schools (the units, dimension -3), two classes each, three pupils each."""

    def model(x: Tensor) -> None:
        with pyro.plate("schools", len(x), dim=-3):
            school = pyro.sample("school", dist.Normal(0.0, 1.0))  # (B, 1, 1)
            with pyro.plate("classes", 2, dim=-2):
                a_class = pyro.sample("class", dist.Normal(school, 0.6))  # (B, 2, 1)
                with pyro.plate("pupils", 3, dim=-1):
                    pyro.sample("x", dist.Normal(a_class, 0.8), obs=x)

    def guide(x: Tensor) -> None:
        means = x.mean(-1, keepdim=True)
        with pyro.plate("schools", len(x), dim=-3):
            pyro.sample("school", dist.Normal(0.7 * means.mean(-2, keepdim=True), 0.7))
            with pyro.plate("classes", 2, dim=-2):
                pyro.sample("class", dist.Normal(0.8 * means, 0.6))

    x = torch.randn(6, 2, 3) + torch.randn(6, 1, 1)
    classes = torch.block_diag(torch.ones(3, 3), torch.ones(3, 3))
    covariance = torch.ones(6, 6) + 0.36 * classes + 0.64 * torch.eye(6)
    exact = dist.MultivariateNormal(torch.zeros(6), covariance).log_prob(x.flatten(1))
    return (model, guide), (x,), exact


@oracle()
def unit_in_the_middle() -> Parts:
    """Plates on both sides of the units' (dimension -2), opened in an odd order, crossed."""

    def model(x: Tensor) -> None:
        left, right = pyro.plate("left", 2, dim=-3), pyro.plate("right", 3, dim=-1)
        with pyro.plate("data", x.shape[0], dim=-2):
            with right:
                column = pyro.sample("column", dist.Normal(0.0, 1.0))  # (B, 3)
            with left:
                row = pyro.sample("row", dist.Normal(0.0, 0.8))  # (2, B, 1)
            with right, left:
                pyro.sample("x", dist.Normal(row + column, 0.7), obs=x.transpose(0, 1))

    def guide(x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-2):
            with pyro.plate("left", 2, dim=-3):
                loc = 0.6 * x.mean(-1).T.unsqueeze(-1)
                row = pyro.sample("row", dist.Normal(loc, 0.7))
            with pyro.plate("right", 3, dim=-1):
                loc = 0.75 * (x.mean(1) - row.mean(-3, keepdim=True))
                pyro.sample("column", dist.Normal(loc, 0.6))

    x = torch.randn(8, 2, 3) * 1.3
    columns, rows = torch.kron(torch.ones(2, 2), torch.eye(3)), torch.ones(3, 3)
    covariance = columns + 0.64 * torch.kron(torch.eye(2), rows) + 0.49 * torch.eye(6)
    exact = dist.MultivariateNormal(torch.zeros(6), covariance).log_prob(x.flatten(1))
    return (model, guide), (x,), exact


@oracle(options={"unit": "data"})
def unit_by_name() -> Parts:
    """Every site lies in two plates; the one asked for is the inner."""

    def model(x: Tensor) -> None:
        with pyro.plate("sensors", 3, dim=-2), pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 0.6), obs=x.T)

    def guide(x: Tensor) -> None:
        with pyro.plate("sensors", 3, dim=-2), pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(0.7 * x.T, 0.6))

    x = 1.2 * torch.randn(8, 3)
    return (model, guide), (x,), dist.Normal(0.0, 1.36**0.5).log_prob(x).sum(-1)


@oracle()
def scales_do_not_count() -> Parts:
    """Tempered by one factor in the model and another in the guide."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            with poutine.scale(scale=0.1):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with poutine.scale(scale=7.0):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    @poutine.scale(scale=3.0)
    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.4 * x, 0.9))

    x = 1.5 * torch.randn(12)
    return (model, guide), (x,), dist.Normal(0.0, 2**0.5).log_prob(x)


@oracle()
def subsampled() -> Parts:
    """The data are said to be a fifth of all, so Pyro scales each by 5."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", 5 * len(x), subsample=torch.arange(len(x))):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", 5 * len(x), subsample=torch.arange(len(x))):
            pyro.sample("z", dist.Normal(0.4 * x, 0.9))

    return (model, guide), scales_do_not_count.args, scales_do_not_count.exact


@oracle()
def joint_mean() -> Parts:
    """A mean that all data share: one evidence, of all of them."""

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        precision = torch.tensor(1.0 + len(x))
        pyro.sample("mean", dist.Normal(x.sum() / precision, 1.1 * precision.rsqrt()))

    x = torch.randn(10) + 0.5
    covariance = torch.eye(10) + torch.ones(10, 10)
    exact = dist.MultivariateNormal(torch.zeros(10), covariance).log_prob(x)
    return (model, guide), (x,), exact.reshape(1)


@oracle(temperatures=48)
def joint_with_local_latents() -> Parts:
    """A shared mean, and for each datum a latent about it."""

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(mean, 0.7))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)

    def guide(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.84 * x.mean(), 0.45))
        with pyro.plate("data", len(x)):
            loc = (0.25 * mean + 0.49 * x) / 0.74
            pyro.sample("z", dist.Normal(loc, 0.45))

    x = torch.randn(5) + 0.5
    covariance = 0.74 * torch.eye(5) + torch.ones(5, 5)
    exact = dist.MultivariateNormal(torch.zeros(5), covariance).log_prob(x)
    return (model, guide), (x,), exact.reshape(1)
