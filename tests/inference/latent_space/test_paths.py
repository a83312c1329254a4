"""Paths: exact ends, great circles, and a geodesic in closed form."""

import math
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused
from torch import Tensor

from pyro_vae import interpolate
from pyro_vae.guides import VonMisesFisher
from pyro_vae.inference import PriorDensity, Spherical, Straight
from pyro_vae.inference.latent_space.paths.spherical import great_circle
from pyro_vae.models import VAE, HierarchicalVAE, MixtureVAE
from pyro_vae.priors import FlowPrior, SphericalUniform


def at_data(prior, x: Tensor):
    """A program whose guide has the data as its mean, near the prior ``prior``."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior(x))
            pyro.sample("x", dist.Normal(z, 0.1).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 0.1).to_event(1))

    return (model, guide), x


def along(path, prior, x: Tensor, num_steps: int = 9) -> Tensor:
    program, data = at_data(prior, x)
    found = interpolate(program, data, along=path, num_steps=num_steps, evidence=False)
    return found.latents["z"]


def standard(x: Tensor):
    return dist.Normal(torch.zeros(x.shape[-1]), 1.0).to_event(1)


def test_straight() -> None:
    x = torch.tensor([[1.0, 2.0, 0.0], [-3.0, 2.0, 4.0]])
    z = along(Straight(), standard, x, 5)
    expected = torch.stack([x[0] + t * (x[1] - x[0]) for t in (0.0, 0.25, 0.5, 0.75, 1.0)])
    torch.testing.assert_close(z, expected)
    assert torch.equal(z[[0, -1]], x)


def test_spherical_turns_at_a_constant_rate_about_the_centre_of_the_prior() -> None:
    loc, scale = torch.tensor([1.0, -1.0]), torch.tensor([2.0, 0.5])

    def prior(x: Tensor):
        return dist.Normal(loc, scale).to_event(1)

    def at(radius: float, degrees: float) -> Tensor:
        angle = math.radians(degrees)
        return loc + scale * radius * torch.tensor([math.cos(angle), math.sin(angle)])

    z = along(Spherical(), prior, torch.stack([at(1.0, 10), at(2.0, 130)]), 5)
    expected = torch.stack([at(1 + k / 4, 10 + 30 * k) for k in range(5)])
    torch.testing.assert_close(z, expected)


def test_spherical_keeps_the_distance_in_many_dimensions() -> None:
    x = torch.randn(2, 100)
    z = along(Spherical(), standard, x, 3)
    low, high = sorted(x.norm(dim=-1).tolist())
    assert low - 1e-4 <= z[1].norm() <= high + 1e-4
    assert along(Straight(), standard, x, 3)[1].norm() < 0.85 * low


def test_great_circles_of_neighbours_and_from_the_centre_are_straight() -> None:
    u = torch.tensor([[1.0, 0.0]])
    near = great_circle("z", u, u + 1e-9, 3)
    torch.testing.assert_close(near, u.expand(3, 1, 2))
    torch.testing.assert_close(great_circle("z", 0 * u, u, 3)[:, 0, 0], torch.tensor([0, 0.5, 1]))
    with refused("z", remedy="Straight()"):
        great_circle("z", u, -u, 3)


def test_on_a_sphere_both_paths_are_the_great_circle() -> None:
    vae, x = VAE((6,), 4, prior=SphericalUniform, guide=VonMisesFisher), torch.rand(9, 6).round()
    turned, dense = (
        interpolate(vae, x, 2, 7, along=path, evidence=False).latents["z"]
        for path in (Spherical(), PriorDensity())
    )
    torch.testing.assert_close(turned.norm(dim=-1), torch.ones(9))
    torch.testing.assert_close(dense, turned, atol=1e-3, rtol=0)


def hyperbolic(x: Tensor) -> None:
    """p(x, y) = 3 y^2 / 2 with two latents: a step costs |dz| / y, as in Poincare's half-plane."""
    with pyro.plate("data", len(x)):
        a = pyro.sample("a", dist.Uniform(torch.tensor(-1.0, dtype=x.dtype), 1.0))
        b = pyro.sample("b", dist.Beta(torch.tensor(3.0, dtype=x.dtype), 1.0))
        pyro.sample("x", dist.Normal(torch.stack([a, b], -1), 0.1).to_event(1), obs=x)


def near_data(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("a", dist.Uniform(x[:, 0] - 0.01, x[:, 0] + 0.01))
        pyro.sample("b", dist.Uniform(x[:, 1] - 0.01, x[:, 1] + 0.01))


def test_prior_density_is_a_geodesic_of_the_half_plane() -> None:
    """A semicircle about a point of the axis, with steps of equal hyperbolic length."""
    x = torch.tensor([[-0.5, 0.3], [0.5, 0.3]], dtype=torch.float64)
    path = PriorDensity(segments_per_step=16)
    found = interpolate((hyperbolic, near_data), x, along=path, num_steps=7, evidence=False)
    radius = x[0].norm()
    end = torch.atanh(x[1, 0] / radius)
    s = torch.linspace(-1, 1, 7, dtype=torch.float64) * end
    expected = torch.stack([radius * s.tanh(), radius / s.cosh()], -1)
    z = torch.stack([found.latents["a"], found.latents["b"]], -1)
    # the trapezoid rule along 96 segments is off by the square of a segment's length
    torch.testing.assert_close(z, expected, atol=2e-3, rtol=0)
    assert (found.latents["b"][3] - 0.3) > 0.25  # far from straight


def test_prior_density_goes_around_a_hole() -> None:
    """Between opposite points of a ring the way stays on it; the straight one crosses the hole."""
    angles = 2 * math.pi * torch.arange(12) / 12
    means = 3 * torch.stack([angles.cos(), angles.sin()], -1)

    def prior(x: Tensor):
        parts = dist.Normal(means, 0.7).to_event(1)
        return dist.MixtureSameFamily(dist.Categorical(torch.ones(12)), parts)

    x = torch.tensor([[3.0, 0.1], [-3.0, 0.4]])
    bent, straight = (along(path, prior, x, 9) for path in (PriorDensity(), Straight()))
    assert straight.norm(dim=-1).min() < 0.5
    assert bent.norm(dim=-1).min() > 2.2
    steps = bent.diff(dim=0).norm(dim=-1)
    assert steps.max() < 2 * steps.min()


def test_prior_density_sums_classes_out() -> None:
    vae = MixtureVAE((6,), 2, 3)
    found = interpolate(vae, torch.rand(9, 6).round(), along=PriorDensity())
    z, k = found.latents["z"], torch.arange(3)
    joint = vae.component(k).log_prob(z.unsqueeze(1)) + vae.logits.log_softmax(-1)
    torch.testing.assert_close(found.log_prior, joint.logsumexp(-1).detach().double())
    assert "k" not in found.latents


@pytest.mark.parametrize("path", [Straight(), Spherical(), PriorDensity()])
def test_ends_are_the_means_of_the_guide(path) -> None:
    vae, x = VAE((6,), 3), torch.rand(300, 6).round()
    z = interpolate(vae, x, 299, 4, along=path, num_steps=3, evidence=False).latents["z"]
    torch.testing.assert_close(z[[0, -1]], vae.recognition(x[[299, 4]]).mean, atol=1e-6, rtol=0)


def test_a_spherical_path_needs_one_normal_prior() -> None:
    x = torch.rand(5, 6).round()
    with refused("z_1", expected="the same for all rows"):
        interpolate(HierarchicalVAE((6,), (3, 2)), x, along=Spherical(), evidence=False)
    with refused("z", expected="Normal"):  # a flow's base is one, and z is not
        interpolate(VAE((6,), 3, prior=FlowPrior), x, along=Spherical(), evidence=False)
    with refused("a", expected="Normal"):
        rows = torch.tensor([[0.1, 0.3], [0.2, 0.3]])
        interpolate((hyperbolic, near_data), rows, along=Spherical(), evidence=False)
    with refused("z", expected="two numbers"):
        along(Spherical(), standard, torch.randn(2, 1))
    with refused("along"):
        along("straight", standard, torch.randn(2, 2))
    with refused("segments_per_step"):
        PriorDensity(segments_per_step=0)


def test_a_prior_that_depends_on_the_row_has_no_one_centre() -> None:
    with refused("z", expected="the same for all rows"):
        along(Spherical(), lambda x: dist.Normal(x / 2, 1.0).to_event(1), torch.randn(2, 3))
    standard_of = partial(along, Straight(), lambda x: dist.Normal(x / 2, 1.0).to_event(1))
    assert standard_of(torch.randn(2, 3)).shape == (9, 3)
