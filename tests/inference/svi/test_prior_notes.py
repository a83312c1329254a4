"""A fit of a bare model says where the data lie beyond all that its prior expects."""

from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vae import fit


class Unknown(dist.Normal):
    """A density whose support is not known, such as Pyro's EKFDistribution."""

    @property
    def support(self) -> Any:
        raise NotImplementedError


def notes(family: Any, x: Tensor) -> str:
    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", family(mean, 1.0), obs=x)

    return " ".join(fit(model, x, epochs=1, progress=False, device="cpu").notes)


def test_data_far_beyond_the_prior_are_said() -> None:
    said = "the data of 'x' have the median 900"
    assert said in notes(dist.Normal, torch.full((5,), 900.0))
    assert said not in notes(dist.Normal, torch.full((5,), 1.0))


def test_steps_of_a_series_that_follow_the_prior_are_not_named() -> None:
    """Each site has one number, so 32 draws of each of 200 are often all on one side of it."""

    def series(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        for t in range(200):
            pyro.sample(f"x_{t}", dist.Normal(mean, 1.0), obs=x[t])

    found = fit(series, args=(torch.randn(200),), steps=1, progress=False, device="cpu")
    assert "widen the prior" not in " ".join(found.notes)


def test_a_density_of_unknown_support_is_fitted() -> None:
    assert "widen the prior" not in notes(
        partial(Unknown, validate_args=False), torch.full((5,), 900.0)
    )
