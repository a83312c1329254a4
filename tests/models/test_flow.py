"""Flows as models: densities that integrate to 1, cells that sum to 1, an evidence without error."""

import math
from functools import partial

import pytest
import torch
from refused import refused, refused_with
from torch import Tensor

from pyro_vae import fit, log_evidence, posterior, prior_samples
from pyro_vae.flows import Autoregressive, Coupling, Glow, NeuralSpline
from pyro_vae.inference.objectives import Capacity, FreeBits
from pyro_vae.models import DequantizedFlow, FlowDensity

FLOWS = [
    partial(kind, num_layers=2, hidden_dims=(16,))
    for kind in (Coupling, Autoregressive, NeuralSpline)
]


def every_cell(levels: int) -> Tensor:
    """Return all data of two values, (L^2, 2)."""
    grid = torch.arange(levels) / (levels - 1)
    return torch.cartesian_prod(grid, grid)


@pytest.mark.parametrize("flow", FLOWS)
def test_the_density_integrates_to_1(flow) -> None:
    torch.manual_seed(0)
    model = FlowDensity((2,), flow=flow)
    step = 0.1
    axis = torch.arange(-15, 15, step)
    mass = model.log_evidence(torch.cartesian_prod(axis, axis)).exp().sum() * step**2
    assert mass.item() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("method", ["exact", "importance"])
def test_the_evidence_has_no_error(method: str) -> None:
    torch.manual_seed(0)
    model, x = FlowDensity((2, 3)), torch.randn(5, 2, 3)
    evidence = log_evidence(model, x, method=method, num_particles=3, seed=0)
    expected = model.log_evidence(x).double()
    torch.testing.assert_close(evidence.log_evidence, expected, atol=1e-5, rtol=1e-5)
    assert evidence.standard_error.max() < 1e-5


@pytest.mark.parametrize("flow", FLOWS)
def test_cells_have_their_mass(flow) -> None:
    """Quadrature over each cell and importance sampling agree, and the masses sum to 1."""
    torch.manual_seed(0)
    model, x = DequantizedFlow((2,), flow=flow, levels=4), every_cell(4)
    fine = (torch.arange(100) + 0.5) / 100
    inside = torch.cartesian_prod(fine, fine)  # of one cell
    y = ((x * 3).unsqueeze(1) + inside) / 4
    log_p = model.density().log_prob(y)  # (cells, points)
    mass = log_p.logsumexp(1).double() - math.log(len(inside) * 16)
    assert mass.exp().sum().item() == pytest.approx(1, abs=0.01)
    found = log_evidence(model, x, num_particles=4000, seed=0)
    off = (found.log_evidence - mass).abs() / (found.standard_error + 0.01)
    assert off.max() < 5


def test_a_fit_finds_the_entropy_of_a_gaussian() -> None:
    torch.manual_seed(0)
    truth = torch.distributions.MultivariateNormal(
        torch.tensor([1.0, -2.0]), torch.tensor([[1.0, 0.8], [0.8, 2.0]])
    )
    x, held_out = truth.sample((2000,)), truth.sample((2000,))
    model = FlowDensity((2,), flow=partial(Autoregressive, num_layers=2, hidden_dims=(16,)))
    fit(
        model,
        x,
        epochs=15,
        progress=False,
        device="cpu",
        optimizer=partial(torch.optim.Adam, lr=1e-2),
    )
    gap = truth.log_prob(held_out) - model.log_evidence(held_out)
    assert abs(gap.mean()) < 0.03


def test_draws_lie_on_the_levels_and_follow_the_density() -> None:
    torch.manual_seed(0)
    model, count = DequantizedFlow((1,), levels=3), 20_000
    for parameter in model.parameters():
        parameter.data.mul_(0.5)  # a tame flow, so that each level has mass
    drawn = prior_samples(model, torch.zeros(count, 1), num_draws=1, seed=0).predictive["x"][0]
    x = torch.tensor([[0.0], [0.5], [1.0]])
    found = log_evidence(model, x, num_particles=10_000, seed=0)
    mass = found.log_evidence.exp()
    share = torch.stack([(drawn == level).double().mean() for level in x])
    assert share.sum().item() == pytest.approx(1)
    variance = share * (1 - share) / count + (mass * found.standard_error).square()
    assert ((share - mass).abs() < 5 * variance.sqrt() + 5 / count).all()


def test_glow_is_a_bijection_with_that_jacobian() -> None:
    torch.manual_seed(0)
    glow = Glow(32, image_shape=(2, 4, 4), num_steps=2, channels=8).double()
    for parameter in glow.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(3, 32).double()
    noise, log_det = glow.to_noise(x)
    back, log_det_back = glow.to_image(noise)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(log_det_back, -log_det)
    jacobian = torch.autograd.functional.jacobian(lambda v: glow.to_noise(v)[0], x[0])
    torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], log_det[0])


def test_refusals() -> None:
    with refused("program", expected="pyro.sample"):
        posterior(FlowDensity((2,)), torch.zeros(3, 2))
    with refused_with("(3,)", "(2,)"):
        log_evidence(FlowDensity((2,)), torch.zeros(3, 3))
    off = torch.zeros(3000, 2)
    off[-1, -1] = 0.1  # beyond the rows that are looked at first
    with refused_with("hold 0.1", "levels is 4", "k / 3", "FlowDensity"):
        log_evidence(DequantizedFlow((2,), levels=4), off, num_particles=1, device="cpu")
    with refused_with("hold 0.1", "levels is 4", "k / 3", "FlowDensity"):
        fit(DequantizedFlow((2,), levels=4), off, epochs=1, batch_size=1000, progress=False)
    with refused("levels", expected="at least 2"):
        DequantizedFlow((2,), levels=1)
    with refused("levels", expected="a whole number"):
        DequantizedFlow((2,), levels=2.5)  # type: ignore[arg-type]
    with refused("image_shape", expected="a product of dim"):
        FlowDensity((1, 4, 4), flow=partial(Glow, image_shape=(1, 8, 8)))
    with refused("num_scales", remedy="pad the images"):
        FlowDensity((1, 7, 7), flow=partial(Glow, image_shape=(1, 7, 7)))
    with refused("data_shape", expected="at least one value"):
        FlowDensity((0,))


@pytest.mark.parametrize("elbo", [Capacity(), FreeBits()])
def test_what_weighs_a_prior_needs_a_latent(elbo) -> None:
    with refused(type(elbo).__name__, remedy="TraceELBO"):
        fit(FlowDensity((2,)), torch.randn(3, 2), elbo=elbo, epochs=1, progress=False)
