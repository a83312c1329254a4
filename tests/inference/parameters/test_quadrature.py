"""Quadrature over a unit's latents, against grids and closed forms; and what a program derives."""

import math
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused
from torch import Tensor, nn

from pyro_vae import standard_errors
from pyro_vae.item_models import OneParameter
from pyro_vae.models import ItemResponse

quick = partial(standard_errors, progress=False, device="cpu", seed=0)


class TwoTraits(nn.Module):
    """Six answers by two traits with known loadings, and a level that is learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.2))

    def given(self, z: Tensor) -> dist.TorchDistribution:
        loadings = torch.tensor([[1.0, 1, 1, 2, 0, 1], [0, -1, 1, 1, 2, 3]])
        return dist.Bernoulli(logits=self.level + z @ loadings.to(z)).to_event(1)

    def model(self, x: Tensor) -> None:
        with pyro.plate("people", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", self.given(z), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("people", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))


def test_two_latents_against_a_grid() -> None:
    program, x = TwoTraits(), (torch.randn(40, 1) + torch.randn(40, 6)).gt(0).float()
    found = quick(program, x)
    line = torch.linspace(-8, 8, 161, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    log_prior = dist.Normal(0.0, 1.0).log_prob(grid).sum(-1) + 2 * math.log(0.1)

    def total(level: Tensor) -> Tensor:
        at = torch.func.functional_call(_Given(program), {"program.level": level}, grid[:, None])
        return (at.log_prob(x.double()) + log_prior[:, None]).logsumexp(0).sum()

    best = found.estimate[0]
    assert "quadrature" in found.method
    assert found.log_likelihood == pytest.approx(total(best).item(), abs=1e-3)
    slope, curvature = (
        f(total, best).item()
        for f in (torch.autograd.functional.jacobian, torch.autograd.functional.hessian)
    )
    assert abs(slope) < 1e-2 * (-curvature) ** 0.5
    assert found.standard_error[0].item() == pytest.approx((-curvature) ** -0.5, rel=1e-3)


class _Given(nn.Module):
    def __init__(self, program: TwoTraits) -> None:
        super().__init__()
        self.program = program

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return self.program.given(z)


def test_two_modes_are_left_to_the_guide() -> None:
    """x says how large z is, and not its sign."""

    def either(locs: Tensor, scale: float) -> dist.TorchDistribution:
        halves = dist.Categorical(torch.ones(2).to(locs).expand(locs.shape))
        return dist.MixtureSameFamily(halves, dist.Normal(locs, scale))

    class Folded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.level = nn.Parameter(torch.tensor(0.0))

        def model(self, x: Tensor) -> None:
            with pyro.plate("rows", len(x)):
                z = pyro.sample("z", either(torch.tensor([-3.0, 3.0]).to(x), 0.3))
                pyro.sample("x", dist.Normal(self.level + z.square(), 1.0), obs=x)

        def guide(self, x: Tensor) -> None:
            size = x.clamp(min=1.0).sqrt()
            with pyro.plate("rows", len(x)):
                pyro.sample("z", either(torch.stack([-size, size], -1), 0.25))

    x = (3 + 0.3 * torch.randn(60)).square() + torch.randn(60)
    program = Folded()
    program.level.data += (x - 9.09).mean()
    assert "importance sampling" in quick(program, x).method


def test_what_a_program_derives_has_errors_by_the_delta_method() -> None:
    model = ItemResponse((4,), item=OneParameter)
    z = torch.randn(300, 1)
    x = torch.bernoulli((1.5 * z - torch.tensor([-1.0, 0.0, 0.5, 1.0])).sigmoid())
    found = quick(model, x)
    row = {name: number for number, name in enumerate(found.names)}
    log_a, a = row["item.log_discrimination"], row["item.discrimination"]
    value = found.estimate[log_a].exp()
    assert found.estimate[a].item() == pytest.approx(value.item())
    error = value * found.standard_error[log_a]
    assert found.standard_error[a].item() == pytest.approx(error.item())
    for item in range(4):
        d, b = row[f"item.threshold[{item}]"], row[f"item.difficulty[{item}]"]
        gradient = torch.stack([-found.estimate[b], 1 / value])  # of d / a by log a and d
        of_both = found.covariance[[log_a, d]][:, [log_a, d]]
        expected = (gradient @ of_both @ gradient).sqrt()
        assert found.standard_error[b].item() == pytest.approx(expected.item())
        assert found.interval[b].mean().item() == pytest.approx(found.estimate[b].item())
    assert found.num_parameters == 5


@pytest.mark.parametrize("returned", [torch.ones(2), {"a": 1.0}])
def test_a_program_derives_tensors_by_name(returned) -> None:
    model = TwoTraits()
    model.derived_parameters = lambda: returned
    with refused("derived_parameters"):
        quick(model, torch.ones(3, 6))
    model.derived_parameters = lambda: {"constant": torch.ones(1)}
    found = quick(model, torch.eye(6))
    assert found.names == ("level", "constant[0]")
    assert found.standard_error[1] == 0
