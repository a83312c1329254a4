"""Programs whose posterior is known: mean and variance of every latent, with good and wide guides."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

Guide = Callable[..., None]


@dataclass(frozen=True, eq=False)
class Known:
    """A model, its data, and the posterior's mean and variance by site, ``plates | event``.

    Attributes:
        exact: the guide that is the posterior.
        wide: one that is wider, and a little beside it.
        moments: mean and variance of each latent.
    """

    name: str
    model: Callable[..., None]
    exact: Guide
    wide: Guide
    args: tuple[Tensor, ...]
    moments: dict[str, tuple[Tensor, Tensor]]
    by_rows: bool = True

    def __str__(self) -> str:
        return self.name

    @property
    def data(self) -> dict[str, Any]:
        return {"data": self.args} if self.by_rows else {"args": self.args}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def normal_normal() -> Known:
    """A unit's mean, seen three times."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.5, 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1) * torch.ones(3), 0.8).to_event(1), obs=x)

    precision = 1 + 3 / 0.64

    def loc(x: Tensor) -> Tensor:
        return (0.5 + x.sum(-1) / 0.64) / precision

    def exact(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc(x), precision**-0.5))

    def wide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc(x) + 0.1, 1.4 * precision**-0.5))

    x = 0.5 + 1.3 * torch.randn(70, 3, generator=generator())
    variance = torch.full((70,), 1 / precision)
    return Known("normal_normal", model, exact, wide, (x,), {"z": (loc(x), variance)})


def beta_bernoulli() -> Known:
    """A coin for each unit, and five tosses in an inner plate on the left."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            p = pyro.sample("p", dist.Beta(2.0, 3.0))
            with pyro.plate("tosses", 5, dim=-2):
                pyro.sample("x", dist.Bernoulli(p), obs=x.T)

    def posterior(x: Tensor, share: float) -> dist.Beta:
        heads = x.sum(-1)
        return dist.Beta(share * (2 + heads), share * (8 - heads))

    def exact(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("p", posterior(x, 1.0))

    def wide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("p", posterior(x, 0.6))

    x = (torch.rand(12, 5, generator=generator()) < 0.6).float()
    p = posterior(x, 1.0)
    return Known("beta_bernoulli", model, exact, wide, (x,), {"p": (p.mean, p.variance)})


def groups() -> Known:
    """A shared mean, an effect of each of six groups, three values of each: one joint Gaussian."""

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
        with pyro.plate("groups", 6, dim=-2):
            effect = pyro.sample("effect", dist.Normal(mean, 0.7))  # (6, 1)
            with pyro.plate("values", 3, dim=-1):
                pyro.sample("x", dist.Normal(effect, 0.5), obs=x)

    x = torch.randn(6, 3, generator=generator()) + torch.randn(6, 1, generator=generator())
    group_precision = 3 / 0.25 + 1 / 0.49  # of an effect, given the mean
    given = 1 / (0.49 + 0.25 / 3)  # what a group tells of the mean
    mean_variance = torch.tensor(1 / (1 / 4 + 6 * given))
    mean = mean_variance * given * x.mean(-1).sum()

    def effect_loc(x: Tensor, mean: Tensor) -> Tensor:
        return (12 * x.mean(-1, keepdim=True) + mean / 0.49) / group_precision

    def guide(spread: float) -> Guide:
        def guide(x: Tensor) -> None:
            m = pyro.sample("mean", dist.Normal(mean, spread * mean_variance.sqrt()))
            with pyro.plate("groups", 6, dim=-2):
                loc = effect_loc(x, m)
                pyro.sample("effect", dist.Normal(loc, spread * group_precision**-0.5))

        return guide

    slope = 1 / (0.49 * group_precision)
    effect_variance = 1 / group_precision + slope**2 * mean_variance
    effect = effect_loc(x, mean)[:, 0]
    moments = {"mean": (mean, mean_variance), "effect": (effect, effect_variance.expand(6))}
    return Known("groups", model, guide(1.0), guide(1.25), (x,), moments, by_rows=False)


def regression() -> Known:
    """Weights that all rows share, by code for a single particle (``x @ w``)."""

    def model(x: Tensor, y: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(x @ w, 0.5), obs=y)

    x = torch.randn(20, 3, generator=generator())
    y = x @ torch.tensor([1.0, -1.0, 0.5]) + 0.5 * torch.randn(20, generator=generator())
    covariance = torch.linalg.inv(torch.eye(3) + x.T @ x / 0.25)
    loc = covariance @ x.T @ y / 0.25

    def guide(spread: float) -> Guide:
        def guide(x: Tensor, y: Tensor) -> None:
            pyro.sample("w", dist.MultivariateNormal(loc, spread * covariance))

        return guide

    moments = {"w": (loc, covariance.diagonal())}
    return Known("regression", model, guide(1.0), guide(1.5), (x, y), moments)


def python_code() -> Known:
    """A mean that Python reads, so that particles run one by one."""

    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        loc = z if float(z.detach()) > -100 else -z
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    x = 0.5 + torch.randn(8, generator=generator())
    loc, variance = x.sum() / 9, torch.tensor(1 / 9)

    def guide(spread: float) -> Guide:
        return lambda x: pyro.sample("z", dist.Normal(loc, spread * variance.sqrt()))

    return Known("python_code", model, guide(1.0), guide(1.3), (x,), {"z": (loc, variance)})


KNOWN = [normal_normal(), beta_bernoulli(), groups(), regression(), python_code()]
