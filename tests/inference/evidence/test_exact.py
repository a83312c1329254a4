"""What is called exact: the whole integral, in whatever precision the program is, or a refusal."""

import math
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused
from stories import Conjugate
from torch import Tensor, nn

from pyro_vae import log_evidence

X = torch.tensor([0.0, 1.0, -2.0])


def folded(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 50.0))
        pyro.sample("x", dist.Normal(z.abs(), 1.0), obs=x + 50)


def two_far_modes(x: Tensor) -> None:
    weights = torch.tensor([0.5, 0.5])
    with pyro.plate("data", len(x)):
        prior = dist.MixtureSameFamily(
            dist.Categorical(weights), dist.Normal(torch.tensor([-8.0, 8.0]), 0.5)
        )
        z = pyro.sample("z", prior)
        pyro.sample("x", dist.Normal(z, 5.0), obs=x)


def saturated(x: Tensor) -> None:
    """Linear but where neither the mode nor most of the prior is; the guide goes there."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 3.0))
        pyro.sample("x", dist.Normal(z.clamp(max=40.0), 0.5), obs=x)


def wide(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(torch.zeros(len(x)), 60.0))


@pytest.mark.parametrize("model", [folded, two_far_modes, saturated])
@pytest.mark.parametrize("seed", range(5))
def test_what_is_gaussian_about_one_mode_alone_is_refused(
    model: Callable[[Tensor], None], seed: int
) -> None:
    with refused("exact", remedy="method='auto'"):
        log_evidence((model, wide), X, method="exact", seed=seed)


def scaled(scale: float, weight: Tensor) -> tuple[Callable[..., None], Callable[..., None]]:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), scale).to_event(1))
            pyro.sample("x", dist.Normal(z @ weight.to(x), scale).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), scale).to_event(1))

    return model, guide


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4, 1e8])
def test_no_scale_is_lost_in_single_precision(scale: float) -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(2, 5), torch.randn(8, 5) * scale
    found = log_evidence(scaled(scale, weight), x, method="exact").log_evidence
    covariance = (weight.T.double() @ weight.double() + torch.eye(5)) * scale**2
    exact = dist.MultivariateNormal(torch.zeros(5).double(), covariance).log_prob(x.double())
    torch.testing.assert_close(found, exact, rtol=1e-7, atol=1e-6)


class Closed(nn.Module):
    """Its weights are no parameters, so it stays in single precision."""

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))
        self.register_buffer("scale", torch.tensor(2.0))
        self.slope = [slope]

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            loc = z @ self.slope[0] + self.bias
            pyro.sample("x", dist.Normal(loc, self.scale).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))


def test_a_program_that_cannot_run_in_float64_is_taken_as_it_is_and_none_is_changed() -> None:
    torch.manual_seed(0)
    slope, x = torch.randn(2, 3), torch.randn(4, 3)
    program = Closed(slope)
    before = {name: (t, t.data_ptr()) for name, t in program.state_dict().items()}
    found = log_evidence(program, x, method="exact").log_evidence
    covariance = (slope.T @ slope + 4 * torch.eye(3)).double()
    exact = dist.MultivariateNormal(torch.zeros(3).double(), covariance).log_prob(x.double())
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-4)
    after = program.state_dict()
    assert all(after[name].data_ptr() == place for name, (_, place) in before.items())
    assert all(tensor.dtype == torch.float32 for tensor in after.values())
    assert torch.get_default_dtype() == torch.float32
    program.slope = [slope * 1e-3 + 3e4]  # nearly parallel: more digits than there are
    with refused("exact") as caught:
        log_evidence(program, x, method="exact")
    assert "float32" in str(caught.value)
    assert ".double()" in str(caught.value)


def test_nan_is_the_affair_of_its_unit() -> None:
    x = torch.randn(100, generator=torch.Generator().manual_seed(0))
    exact = Conjugate.log_evidence(x).double()
    x[[3, 90]], exact[[3, 90]] = math.nan, math.nan
    for program in (Conjugate, (Conjugate.model, Conjugate.guide)):
        found = log_evidence(program, x, method="exact")
        torch.testing.assert_close(found.log_evidence, exact, atol=1e-5, rtol=0, equal_nan=True)
        assert "2 of 100 units have NaN weights (the first is unit 3)" in found.summary()
