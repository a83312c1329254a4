"""Masked sites, missing data, sequences of unlike length; data that no latent tells of."""

import math

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from torch import Tensor

from oracles.oracle import Parts, oracle


@oracle()
def masked_distribution() -> Parts:
    """`.mask` on the distributions themselves, of whole units."""
    seen = torch.tensor([True, False, True, True])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Exponential(torch.ones(len(x))).mask(seen))
            pyro.sample("x", dist.Poisson(z).mask(seen), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Gamma(0.9 + x, 1.5).mask(seen))

    x = torch.tensor([0.0, 3.0, 2.0, 5.0])
    return (model, guide), (x,), -(x + 1) * math.log(2) * seen


@oracle()
def missing_values() -> Parts:
    """Factor analysis of what is there of six values; the mask is an argument."""
    loadings = torch.randn(6, 2)

    def model(x: Tensor, seen: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ loadings.T, 0.6).mask(seen).to_event(1), obs=x)

    def guide(x: Tensor, seen: Tensor) -> None:
        weighted = loadings * seen.unsqueeze(-1) / 0.36  # (B, 6, 2)
        precision = torch.eye(2) + weighted.mT @ loadings
        loc = torch.linalg.solve(precision, (x.unsqueeze(-2) @ weighted).mT).squeeze(-1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.MultivariateNormal(loc, precision_matrix=precision / 1.2))

    x, seen = 1.5 * torch.randn(10, 6), torch.rand(10, 6) < 0.6
    covariance = loadings @ loadings.T + 0.36 * torch.eye(6)
    exact = [
        dist.MultivariateNormal(torch.zeros(int(s.sum())), covariance[s][:, s]).log_prob(row[s])
        for row, s in zip(x, seen, strict=True)
    ]
    return (model, guide), (x, seen), torch.stack(exact)


@oracle()
def ragged_sequences() -> Parts:
    """A latent for each step, masked beyond the sequence's length."""

    def model(x: Tensor, lengths: Tensor) -> None:
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                with poutine.mask(mask=t < lengths):
                    z = pyro.sample(f"z_{t}", dist.LogNormal(torch.zeros(len(x)), 1.0))
                    pyro.sample(f"x_{t}", dist.Normal(z.log(), 1.0), obs=x[:, t])

    def guide(x: Tensor, lengths: Tensor) -> None:
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                with poutine.mask(mask=t < lengths):
                    pyro.sample(f"z_{t}", dist.LogNormal(0.4 * x[:, t], 0.85))

    x, lengths = torch.randn(6, 4), torch.tensor([4, 1, 2, 3, 4, 1])
    each = dist.Normal(0.0, 2**0.5).log_prob(x) * (torch.arange(4) < lengths[:, None])
    return (model, guide), (x, lengths), each.sum(-1)


@oracle()
def sequences_in_a_plate() -> Parts:
    """The steps as a plate on the left, with a mask of both plates' shape (T, B)."""

    def model(x: Tensor, lengths: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            level = pyro.sample("level", dist.Normal(0.0, 1.0))
            with pyro.plate("steps", x.shape[1], dim=-2) as t:
                with poutine.mask(mask=t.unsqueeze(-1) < lengths):
                    z = pyro.sample("z", dist.Normal(level, 0.6))
                    pyro.sample("x", dist.Normal(z, 0.5), obs=x.T)

    def guide(x: Tensor, lengths: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            level = pyro.sample("level", dist.Normal(0.5 * x[:, 0], 0.9))
            with pyro.plate("steps", x.shape[1], dim=-2) as t:
                with poutine.mask(mask=t.unsqueeze(-1) < lengths):
                    pyro.sample("z", dist.Normal((0.25 * level + 0.36 * x.T) / 0.61, 0.45))

    x, lengths = torch.randn(6, 4), torch.tensor([4, 1, 2, 3, 4, 1])
    covariance = torch.ones(4, 4) + 0.61 * torch.eye(4)
    exact = [
        dist.MultivariateNormal(torch.zeros(n), covariance[:n, :n]).log_prob(row[:n])
        for row, n in zip(x, lengths.tolist(), strict=True)
    ]
    return (model, guide), (x, lengths), torch.stack(exact)


@oracle()
def masked_autoguide() -> Parts:
    """AutoNormal knows nothing of the mask: it draws, and counts, what the model leaves out."""

    def model(x: Tensor, seen: Tensor) -> None:
        with pyro.plate("data", len(x)), poutine.mask(mask=seen):
            z = pyro.sample("z", dist.LogNormal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z.log(), 1.0), obs=x)

    x, seen = torch.randn(6), torch.tensor([True, False, True, True, False, True])
    guide = AutoNormal(model, init_scale=0.8)
    guide(x, seen)
    guide.locs.z.copy_(x / 2 * seen)
    return (model, guide), (x, seen), dist.Normal(0.0, 2**0.5).log_prob(x) * seen


@oracle()
def masked_within_events() -> Parts:
    """`.mask` before `.to_event`: of each vector, some numbers count and others do not."""

    def model(x: Tensor, seen: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.LogNormal(torch.zeros(x.shape), 1.0).mask(seen).to_event(1))
            pyro.sample("x", dist.Normal(z.log(), 1.0).mask(seen).to_event(1), obs=x)

    def guide(x: Tensor, seen: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.LogNormal(0.4 * x, 0.85).mask(seen).mask(True).to_event(1))

    x, seen = torch.randn(6, 3), torch.rand(6, 3) < 0.6
    return (model, guide), (x, seen), (dist.Normal(0.0, 2**0.5).log_prob(x) * seen).sum(-1)


@oracle()
def autoguide_masked_within_events() -> Parts:
    """AutoNormal beside the same model."""
    (model, _), (x, seen) = masked_within_events.program, masked_within_events.args
    guide = AutoNormal(model, init_scale=0.8)
    guide(x, seen)
    guide.locs.z.copy_(x / 2 * seen)
    return (model, guide), (x, seen), masked_within_events.exact


@oracle()
def imputed_by_autoguide() -> Parts:
    """Values missing within a normal sample, as latents by `obs_mask`; all latents drawn together."""

    def model(x: Tensor, seen: Tensor) -> None:
        level = pyro.sample("level", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(level, 1.0), obs=x, obs_mask=seen)

    x, seen = torch.randn(5), torch.tensor([True, False, True, True, False])
    guide = AutoMultivariateNormal(model, init_scale=1.4)  # the posterior is up to 1.26 wide
    guide(x, seen)
    guide.loc.copy_((x * seen).sum() / 4)
    covariance = torch.ones(3, 3) + torch.eye(3)
    exact = dist.MultivariateNormal(torch.zeros(3), covariance).log_prob(x[seen])
    return (model, guide), (x, seen), exact.reshape(1)


@oracle()
def nothing_is_latent() -> Parts:
    """A likelihood alone: every weight is the evidence."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.StudentT(3.0, 1.0, 2.0), obs=x)

    x = torch.randn(6)
    return (model, lambda x: None), (x,), dist.StudentT(3.0, 1.0, 2.0).log_prob(x)


@oracle()
def an_observation_beside() -> Parts:
    """One observed site that has a latent parent, and one that has none."""

    def model(x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Gamma(2.0, 1.0), obs=y)
            z = pyro.sample("z", dist.Laplace(0.0, 1.0))
            pyro.sample("x", dist.Laplace(z, 1.0), obs=x)

    def guide(x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Laplace(x / 2, 1.5))

    x, y = 1.5 * torch.randn(8), dist.Gamma(2.0, 1.0).sample((8,))
    sum_of_two = (1 + x.abs()).log() - x.abs() - math.log(4)
    return (model, guide), (x, y), sum_of_two + dist.Gamma(2.0, 1.0).log_prob(y)
