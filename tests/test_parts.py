"""Networks, priors, likelihoods and guides: shapes for any batch, and what they refuse."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_vae import InputError
from pyro_vae.guides import MeanFieldNormal
from pyro_vae.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    FixedScaleNormal,
    HeteroscedasticNormal,
    Normal,
)
from pyro_vae.networks import MLP, ConvDecoder, ConvEncoder
from pyro_vae.priors import StandardNormal

LIKELIHOODS = [
    Bernoulli,
    ContinuousBernoulli,
    Normal,
    partial(FixedScaleNormal, scale=0.3),
    HeteroscedasticNormal,
    partial(Categorical, levels=17),
    partial(DiscretizedLogistic, levels=17),
]


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 4),
    st.integers(1, 40),
    st.integers(1, 40),
    st.lists(st.integers(1, 3), max_size=2),
)
def test_convolutions_take_any_image_and_any_batch(
    channels: int, height: int, width: int, batch: list[int]
) -> None:
    image = (channels, height, width)
    encoder, decoder = ConvEncoder(image, (2, 5)), ConvDecoder((5,), (2, *image))
    assert encoder(torch.zeros(*batch, *image)).shape == (*batch, 2, 5)
    assert decoder(torch.zeros(*batch, 5)).shape == (*batch, 2, *image)


def test_batch_dimensions_are_independent() -> None:
    x = torch.randn(3, 4, 1, 9, 7)
    encoder = ConvEncoder((1, 9, 7), (2, 5))
    torch.testing.assert_close(encoder(x)[1, 2], encoder(x[1, 2]))


def test_networks_refuse_other_shapes() -> None:
    with pytest.raises(InputError, match=r"MLP takes inputs of shape \(1, 8, 8\), not \(8, 1, 8\)"):
        MLP((1, 8, 8), (3,))(torch.zeros(2, 8, 1, 8))
    with pytest.raises(InputError, match="not \\(8,\\)"):
        MLP((1, 8, 8), (3,))(torch.zeros(8))
    with pytest.raises(InputError, match="needs images"):
        ConvEncoder((8,), (3,))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("shape", [(6,), (3, 4, 5)])
def test_likelihoods(likelihood, shape) -> None:
    p = likelihood(2, shape)(torch.randn(5, 4, 2))
    assert (p.batch_shape, p.event_shape) == ((5, 4), shape)
    x = p.sample()
    assert p.support.check(x).all()
    assert p.log_prob(x).isfinite().all()
    assert p.mean.shape == (5, 4, *shape)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_parameter_of_a_likelihood_gets_a_gradient(likelihood) -> None:
    module = likelihood(2, (1, 6, 6), ConvDecoder)
    p = module(torch.randn(7, 2))
    p.log_prob(p.sample()).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in module.parameters())


def test_prior_and_guide() -> None:
    assert StandardNormal(3)().log_prob(torch.zeros(3)).item() == pytest.approx(-2.756815, abs=1e-5)
    q = MeanFieldNormal((4,), 3)(torch.randn(5, 4))
    assert (q.batch_shape, q.event_shape) == ((5,), (3,))
    assert StandardNormal(3).double()().mean.dtype == torch.float64  # it moves with the module
