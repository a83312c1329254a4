"""The guide's mean: of each kind of distribution, one site after another, of Pyro's own guides."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from posteriors import KNOWN, Known
from pyro.infer.autoguide import AutoDiagonalNormal, AutoNormal
from torch import Tensor

from pyro_vae import posterior
from pyro_vae.distributions import SphericalUniform, VonMisesFisher
from pyro_vae.guides import FlowGuide
from pyro_vae.inference import GuideMean
from pyro_vae.inference.posterior.guide_mean import centre_of
from pyro_vae.models import VAE


@pytest.mark.parametrize("known", KNOWN, ids=str)
def test_known_posteriors_have_their_means(known: Known) -> None:
    found = posterior((known.model, known.exact), **known.data, method=GuideMean(), num_draws=2)
    for name, (mean, _) in known.moments.items():
        torch.testing.assert_close(found.draws[name][0], mean, atol=1e-5, rtol=1e-5)
        assert torch.equal(found.draws[name][0], found.draws[name][1])
    assert "mean" in repr(found)


def test_centres() -> None:
    normal = dist.Normal(torch.tensor([1.0, 2.0]), 1.0).to_event(1).expand([3])
    assert centre_of(normal).tolist() == [[1, 2]] * 3
    assert centre_of(dist.Delta(torch.tensor(4.0))).item() == 4
    assert centre_of(dist.LogNormal(0.0, 1.0)).item() == pytest.approx(math.exp(0.5))
    one_hot = centre_of(dist.OneHotCategorical(torch.tensor([0.1, 0.7, 0.2])))
    assert one_hot.tolist() == [0, 1, 0]
    assert centre_of(dist.Bernoulli(0.8)).item() == 1
    loc = torch.tensor([0.0, 0.6, 0.8])
    torch.testing.assert_close(centre_of(VonMisesFisher(loc, torch.tensor(3.0))), loc)
    assert centre_of(SphericalUniform(torch.zeros(3))).shape == (3,)
    flow = dist.TransformedDistribution(
        dist.Normal(torch.zeros(50), 1.0), [dist.transforms.AffineTransform(2.0, 3.0)]
    )
    assert ((centre_of(flow) - 2) * math.sqrt(1000) / 3).abs().max() < 4.5
    assert torch.isfinite(centre_of(dist.Cauchy(torch.tensor([0.0]), 1.0))).all()


def test_pyros_guides_are_at_their_centre() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
            pyro.sample("x", dist.Normal(0.0, scale), obs=x)

    x = torch.randn(6)
    for kind in (AutoNormal, AutoDiagonalNormal):
        guide = kind(model)
        guide(x)
        found = posterior((model, guide), x, method=GuideMean(), num_draws=1)
        torch.testing.assert_close(found.draws["scale"][0], guide.median(x)["scale"])


def test_a_flow_has_the_mean_of_draws_and_a_seed() -> None:
    vae, x = VAE((6,), 2, guide=FlowGuide), torch.rand(9, 6).round()
    one, other = (
        posterior(vae, x, method=GuideMean(), num_draws=1, seed=seed).draws["z"] for seed in (0, 0)
    )
    assert torch.equal(one, other)
    drawn = vae.recognition(x).sample((4000,))
    error = drawn.std(0) * math.sqrt(1 / 1000 + 1 / 4000)
    assert ((one[0] - drawn.mean(0)) / error).abs().max() < 4.5
