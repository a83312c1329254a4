"""The von Mises-Fisher distribution against Bessel functions; chains on the sphere."""

import math

import pytest
import torch
from refused import refused
from scipy.special import ive
from torch.nn.functional import normalize

from pyro_vae.distributions import SphericalUniform, VonMisesFisher
from pyro_vae.distributions.sphere import Stereographic
from pyro_vae.guides import VonMisesFisher as Guide
from pyro_vae.priors import SphericalUniform as Prior

CASES = [(dim, k) for dim in (2, 3, 10, 200) for k in (0.1, 1.0, 30.0, 3000.0)]


@pytest.mark.parametrize(("dim", "k"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_von_mises_fisher_in_closed_form(dim: int, k: float, dtype: torch.dtype) -> None:
    loc = normalize(torch.randn(dim, dtype=dtype), dim=-1)
    concentration = torch.tensor(k, dtype=dtype, requires_grad=True)
    p, order = VonMisesFisher(loc, concentration), dim / 2 - 1
    bessel, next_bessel = ive(order, k), ive(order + 1, k)
    log_c = order * math.log(k) - dim / 2 * math.log(2 * math.pi) - math.log(bessel)
    mean, float32 = next_bessel / bessel, dtype == torch.float32
    assert p.log_prob(loc).item() == pytest.approx(log_c, abs=2e-4 if float32 else 1e-7)
    torch.testing.assert_close(p.mean, mean * loc, rtol=1e-4, atol=1e-6)

    draws = p.rsample((20_000,))
    assert p.support.check(draws).all()
    cosines = draws @ loc
    error = cosines.std().item() / len(draws) ** 0.5
    assert abs(cosines.mean().item() - mean) < 5 * error + 1e-6
    (slope,) = torch.autograd.grad(cosines.mean(), concentration)
    assert slope.item() == pytest.approx(1 - mean**2 - (dim - 1) / k * mean, rel=0.05)


def test_gradients_reach_the_direction() -> None:
    """For a linear f, the gradient of E f(z) is that of f at the mean."""
    raw, weights = (
        torch.tensor([0.3, -1.0, 0.5], requires_grad=True),
        torch.tensor([1.0, 2.0, -1.0]),
    )
    p = VonMisesFisher(normalize(raw, dim=-1), torch.tensor(3.0))
    (exact,) = torch.autograd.grad(p.mean @ weights, raw, retain_graph=True)
    found = torch.stack(
        [
            torch.autograd.grad((p.rsample((500,)) @ weights).mean(), raw, retain_graph=True)[0]
            for _ in range(60)
        ]
    )
    error = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) - exact).abs() < 5 * error).all()


def test_densities_integrate_to_one_over_the_sphere() -> None:
    uniform = SphericalUniform(torch.zeros(4))
    z = uniform.sample((200_000,))
    p = VonMisesFisher(normalize(torch.randn(4), dim=-1), torch.tensor(2.0))
    weights = (p.log_prob(z) - uniform.log_prob(z)).exp()
    assert abs(weights.mean() - 1) < 5 * weights.std() / len(z) ** 0.5
    assert uniform.log_prob(z)[0].item() == pytest.approx(-math.log(2 * math.pi**2))
    assert z.mean(0).abs().max() < 0.01
    for q in (uniform, p):
        torch.testing.assert_close(q.expand((2, 5)).log_prob(z[:5])[1], q.log_prob(z[:5]))


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_the_stereographic_map(dim: int) -> None:
    onto, u = Stereographic(), torch.randn(dim - 1).double()
    torch.testing.assert_close(onto.inv(onto(u)), u)
    assert onto(u).norm().item() == pytest.approx(1)
    jacobian = torch.autograd.functional.jacobian(onto, u)  # (D, D - 1)
    volume = torch.linalg.det(jacobian.T @ jacobian).sqrt().log()
    torch.testing.assert_close(onto.log_abs_det_jacobian(u, onto(u)), volume)


def test_a_sphere_needs_two_dimensions() -> None:
    for make in (lambda: Prior(1), lambda: Guide((3,), 1)):
        with refused("latent_dim", expected="at least 2"):
            make()
