"""What the tests share: programs in a user's own way of writing them, not ours; Ctrl-C."""

from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_vae.inference.evidence.importance import Importance

RNG = np.random.default_rng(0)  # numpy's draws; conftest seeds it for each module and each test


class PyroStyleVAE(nn.Module):
    """As Pyro's own `examples/vae/vae.py` has it: `pyro.module` calls, plate over `x.shape[0]`."""

    def __init__(self, data_dim: int = 6, z_dim: int = 2) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.encoder = nn.Linear(data_dim, 2 * z_dim)
        self.decoder = nn.Linear(z_dim, data_dim)

    def model(self, x: Tensor) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            z_loc = x.new_zeros(torch.Size((x.shape[0], self.z_dim)))
            z = pyro.sample("latent", dist.Normal(z_loc, torch.ones_like(z_loc)).to_event(1))
            pyro.sample("obs", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", x.shape[0]):
            loc, raw = self.encoder(x).chunk(2, -1)
            pyro.sample("latent", dist.Normal(loc, softplus(raw) + 0.1).to_event(1))


class Conjugate:
    """z_n ~ Normal(0, 1), x_n ~ Normal(z_n, 1): p(x) = Normal(0, sqrt 2). Plain functions, `pyro.param`."""

    @staticmethod
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    @staticmethod
    def guide(x: Tensor) -> None:
        slope = pyro.param("slope", torch.tensor(0.3))
        scale = pyro.param("scale", torch.tensor(0.9), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(slope * x, scale))

    @staticmethod
    def log_evidence(x: Tensor) -> Tensor:
        return dist.Normal(0.0, 2**0.5).log_prob(x)


class GlobalMean:
    """One mean for all data: m ~ Normal(0, 1), x_n ~ Normal(m, 1). The evidence is joint."""

    @staticmethod
    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    @staticmethod
    def guide(x: Tensor) -> None:
        precision = torch.tensor(1.0 + len(x))
        pyro.sample("mean", dist.Normal(x.sum() / precision, 1.1 * precision.rsqrt()))

    @staticmethod
    def log_evidence(x: Tensor) -> Tensor:
        covariance = torch.eye(len(x)) + torch.ones(len(x), len(x))
        return dist.MultivariateNormal(torch.zeros(len(x)), covariance).log_prob(x)


def interrupt_after(monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    """Ctrl-C after so many parts of the weights."""
    draw, left = Importance.draw, [parts + 2]  # two draws measure the proposal

    def interrupted(*args: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return draw(*args)

    monkeypatch.setattr(Importance, "draw", interrupted)
