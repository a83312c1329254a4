"""Families of factors that are the prior's own."""

import pyro.distributions as dist
import pytest
import torch

from pyro_vae.guides.latent import LatentCoordinates
from pyro_vae.guides.own_family import beta, gamma, inverse_gamma, own_family


def test_location_and_scale_are_those_of_the_coordinates() -> None:
    loc, scale = torch.tensor([-2.0, 0.0, 1.5]), torch.tensor([0.05, 0.02, 0.1])
    cases = [(gamma, torch.log), (inverse_gamma, torch.log), (beta, torch.logit)]
    for family, coordinates in cases:
        torch.manual_seed(0)
        draws = coordinates(family(loc, scale).sample((100_000,)))
        error = scale / 100_000**0.5
        assert ((draws.mean(0) - loc).abs() < 4 * error + scale.square()).all()
        assert ((draws.std(0) / scale - 1).abs() < 0.02).all()


@pytest.mark.parametrize(
    ("prior", "family"),
    [
        (dist.Gamma(1.0, 2.0).expand([3]).to_event(1), gamma),
        (dist.Exponential(1.0).mask(torch.tensor(True)), gamma),
        (dist.InverseGamma(2.0, 1.0), inverse_gamma),
        (dist.Beta(torch.ones(4), 1.0), beta),
        (dist.LogNormal(0.0, 1.0), None),
        (
            dist.TransformedDistribution(
                dist.Gamma(1.0, 1.0), [dist.transforms.AffineTransform(0.0, 2.0)]
            ),
            None,
        ),
    ],
)
def test_which_priors_lend_their_family(prior, family) -> None:
    assert own_family(prior) is family


def test_a_narrow_factor_knows_the_density_of_its_own_draws() -> None:
    """Covariances are in units of a row's own scale: none is left over when the scale has shrunk."""
    torch.manual_seed(0)
    coordinates = LatentCoordinates.of("z", dist.Normal(torch.zeros(12), 1.0).to_event(1))
    q = coordinates.distribution(torch.zeros(12), torch.full((12,), 6e-6), 0.3 * torch.randn(66))
    z = q.sample((200,))
    exact = dist.MultivariateNormal(q.loc.double(), scale_tril=q.scale_tril.double())
    assert (q.log_prob(z) - exact.log_prob(z.double())).abs().max() < 1e-2


@pytest.mark.parametrize("size", [(), (3,)])
def test_the_draws_of_a_factor_that_went_astray_are_its_own(size: tuple[int, ...]) -> None:
    """A draw at 1e8 is rounded to 8: a standard deviation of 1e-10 made an ELBO of 1e22 nats."""
    torch.manual_seed(0)
    prior = dist.Normal(torch.zeros(size), 1.0).to_event(len(size))
    coordinates = LatentCoordinates.of("z", prior)
    loc = torch.full((4000, coordinates.size), 1e8)
    q = coordinates.distribution(loc, torch.full_like(loc, 1e-10), None)
    log_q = q.log_prob(q.sample())
    error = log_q.std() / 4000**0.5
    assert abs(log_q.mean() + q.entropy().mean()) < 5 * error + 0.01 * coordinates.size
