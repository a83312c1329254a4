"""Networks: shapes for any batch, independence of data, and refusals."""

from functools import partial
from typing import Any

import pytest
import torch
from controls import GRAPHS
from hypothesis import given, settings
from hypothesis import strategies as st
from parts.parts import ENCODERS, small
from refused import refused
from torch import nn

from pyro_vae import fit
from pyro_vae.likelihoods import FixedScaleNormal, Tokens
from pyro_vae.models import VAE
from pyro_vae.networks import (
    GRU,
    MLP,
    ConvDecoder,
    ConvEncoder,
    DCGANDiscriminator,
    DCGANGenerator,
    DeepSets,
    EmbeddedTokens,
    MaskedInput,
    ResidualDecoder,
    ResidualEncoder,
    SpectralNorm,
    Transformer,
)

NAN = float("nan")


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
    for shape, found in (((2, 8, 1, 8), "(8, 1, 8)"), ((8,), "(8,)")):
        with refused("MLP", expected="(1, 8, 8)") as caught:
            MLP((1, 8, 8), (3,))(torch.zeros(shape))
        assert found in caught.value.problem
    with refused("convolutional network", expected="images", remedy="MLP"):
        ConvEncoder((8,), (3,))


@settings(deadline=None, max_examples=20)
@given(
    st.integers(1, 3),
    st.integers(1, 30),
    st.integers(1, 30),
    st.lists(st.integers(1, 3), max_size=2),
)
def test_residual_networks_take_any_image_and_any_batch(
    channels: int, height: int, width: int, batch: list[int]
) -> None:
    image = (channels, height, width)
    encoder = ResidualEncoder(image, (2, 5), channels=(4, 4))
    decoder = ResidualDecoder((5,), (2, *image), channels=(4, 4), blocks=2)
    assert encoder(torch.zeros(*batch, *image)).shape == (*batch, 2, 5)
    assert decoder(torch.zeros(*batch, 5)).shape == (*batch, 2, *image)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 3), st.integers(1, 30), st.integers(1, 30))
def test_networks_of_gans_take_any_image(channels: int, height: int, width: int) -> None:
    image = (channels, height, width)
    generator = DCGANGenerator((5,), image, channels=(4, 4))
    assert generator(torch.randn(3, 2, 5)).shape == (3, 2, *image)
    assert DCGANDiscriminator(image, (2,), channels=(4, 4))(torch.zeros(3, *image)).shape == (3, 2)


def test_spectral_norm_leaves_no_layer_that_stretches() -> None:
    network = SpectralNorm((6,), (4,), partial(MLP, hidden_dims=(16,), activation=nn.ReLU))
    for _ in range(200):  # a step of the power iteration each
        network(torch.randn(8, 6))
    layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert len(layers) == 2
    for layer in layers:
        assert float(torch.linalg.matrix_norm(layer.weight.detach(), 2)) == pytest.approx(
            1, rel=1e-3
        )
    network.eval()
    x, y = torch.randn(2, 500, 6)
    assert ((network(x) - network(y)).norm(dim=-1) <= (x - y).norm(dim=-1) * 1.001).all()
    torch.testing.assert_close(network(x)[7], network(x[7]))


@pytest.mark.parametrize("name", ENCODERS)
def test_data_are_independent_and_every_parameter_counts(name: str) -> None:
    make, shape = ENCODERS[name]
    network, x = make(shape, (2, 3)), torch.randn(3, 4, *shape)
    out = network(x)
    assert out.shape == (3, 4, 2, 3)
    torch.testing.assert_close(out[1, 2], network(x[1, 2]), rtol=1e-4, atol=1e-5)
    out.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("name", ENCODERS)
def test_a_step_with_it_becomes_a_graph(name: str) -> None:
    make, shape = ENCODERS[name]
    vae = VAE(shape, 2, likelihood=FixedScaleNormal, encoder=make, decoder=small)
    options = {"progress": False, "device": "cpu", "control": GRAPHS}
    notes = fit(vae, torch.randn(8, *shape), epochs=1, **options).notes
    assert "run as a graph, without Pyro" in notes[-1]


def test_sets_have_no_order_and_may_be_smaller() -> None:
    network, x = DeepSets((5, 3), (2,)), torch.randn(4, 5, 3)
    torch.testing.assert_close(network(x[:, [3, 1, 4, 0, 2]]), network(x))
    padded = x.clone()
    padded[:, 3:] = NAN
    smaller = DeepSets((3, 3), (2,))
    smaller.load_state_dict(network.state_dict())
    torch.testing.assert_close(network(padded), smaller(x[:, :3]))
    assert network(torch.full((1, 5, 3), NAN)).isfinite().all()
    network(padded).sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
    with refused("DeepSets", expected="(elements, values)", remedy="MLP"):
        DeepSets((5,), (2,))


@pytest.mark.parametrize("kind", [GRU, Transformer])
def test_sequences_have_an_order(kind: Any) -> None:
    network, x = kind((5, 3), (2,)), torch.randn(4, 5, 3)
    assert ((network(x) - network(x.flip(1))).abs() > 1e-4).any()
    assert kind((5,), (2,))(torch.zeros(4, 5)).shape == (4, 2)


def test_a_missing_value_is_not_a_zero() -> None:
    network = MaskedInput((3,), (2,))
    x = torch.tensor([[1.0, NAN, 2.0], [1.0, 0.0, 2.0]])
    missing, zero = network(x)
    assert missing.isfinite().all()
    assert (missing != zero).all()


def test_tokens_from_end_to_end() -> None:
    x = torch.randint(5, (12, 6)).float()
    encoder = partial(EmbeddedTokens, network=ENCODERS["GRU"][0], num_tokens=5)
    likelihood = partial(Tokens, num_tokens=5)
    vae = VAE((6,), 2, likelihood=likelihood, encoder=encoder, decoder=small)
    before = {n: p.detach().clone() for n, p in vae.named_parameters()}
    fit(vae, x, epochs=2, progress=False, device="cpu")
    assert all((p != before[n]).any() for n, p in vae.named_parameters())


def test_attention_heads_share_the_width() -> None:
    with refused("num_heads", expected="width, 10"):
        Transformer((5, 3), (2,), width=10)
