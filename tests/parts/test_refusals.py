"""What is refused when a model is built: parts of another kind, sizes and numbers that nothing has."""

from collections.abc import Callable
from functools import partial
from math import inf, nan, prod
from typing import Any

import pytest
import torch
from parts.parts import small
from torch import Tensor, nn

from pyro_vae import InputError, flows, guides, item_models, priors
from pyro_vae import likelihoods as of_data
from pyro_vae import networks as nets
from pyro_vae.models import (
    VAE,
    VQVAE,
    ConditionalVAE,
    DeepMarkov,
    FactorAnalysis,
    FlowDensity,
    HierarchicalVAE,
    ItemResponse,
    MixtureVAE,
    TokenVAE,
)

ROW, IMAGE = (4,), (1, 8, 8)


def to_seven(in_shape: Any, _: Any) -> nets.Network:
    return small(in_shape, (7,))


def from_nine(_: Any, out_shape: Any) -> nets.Network:
    return small((9,), out_shape)


def an_mlp(*_: Any) -> nets.Network:
    return small(ROW, ROW)


def of_five(*_: Any) -> priors.Prior:
    return priors.StandardNormal(5)


OTHER_KINDS: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (
        partial(VAE, ROW),
        {"prior": guides.MeanFieldNormal},
        "it is not of class Prior: take one, such as",
    ),
    (partial(VAE, ROW), {"prior": priors.StandardNormal(2)}, "a StandardNormal object is not one"),
    (partial(VAE, ROW), {"prior": None}, "a Prior is made by a factory, and None is not one"),
    (
        partial(VAE, ROW),
        {"prior": "VampPrior"},
        "'VampPrior' is not one; expected a class, or a partial of one",
    ),
    (partial(VAE, ROW), {"prior": an_mlp}, "an_mlp makes a MLP, which is not of class Prior"),
    (partial(VAE, ROW), {"guide": priors.StandardNormal}, "it is not of class AmortizedGuide"),
    (
        partial(VAE, ROW),
        {"likelihood": nets.MLP},
        "MLP does not fit here, as it is not of class Likelihood",
    ),
    (
        partial(VAE, ROW),
        {"likelihood": item_models.TwoParameter},
        "it is not of class Likelihood: .* Bernoulli",
    ),
    (partial(VAE, ROW), {"encoder": of_data.Bernoulli}, "Bernoulli .* it is not of class Network"),
    (partial(VAE, ROW), {"encoder": to_seven}, r"\(4,\) to \(2, 16\) is wanted .*\(4,\) to \(7,\)"),
    (partial(VAE, ROW), {"decoder": to_seven}, r"\(16,\) to \(1, 4\) is wanted .* to \(7,\)"),
    (partial(VAE, ROW), {"decoder": from_nine}, r"\(16,\) to \(1, 4\) is wanted .*\(9,\) to"),
    (priors.FlowPrior, {"flow": nets.MLP}, "MLP does not fit here, as it is not of class Flow"),
    (priors.FlowPrior, {"flow": flows.Glow}, r"missing a required .*image_shape'.*partial\(Glow"),
    (FlowDensity, {"flow": nets.MLP}, "MLP does not fit here, as it is not of class Flow"),
    (
        DeepMarkov,
        {"transition": nets.MLP},
        "it is not of class Transition: take one, such as GatedTrans",
    ),
    (
        ItemResponse,
        {"item": of_data.Bernoulli},
        "Bernoulli does not fit here, as it is not of class Item",
    ),
    (
        of_data.Heterogeneous,
        {"columns": ["Normal"] * 4},
        "a Likelihood is made by .*'Normal' is not one",
    ),
    (ConditionalVAE, {"condition": nets.MLP}, "condition must be a network, as MLP"),
    (HierarchicalVAE, {"prior": of_five}, "StandardNormal has 5 latent numbers, and the top layer"),
]


@pytest.mark.parametrize(("make", "options", "message"), OTHER_KINDS)
def test_parts_of_another_kind(
    make: Callable[..., Any], options: dict[str, Any], message: str
) -> None:
    first = {priors.FlowPrior: (2,), of_data.Heterogeneous: (2, ROW), DeepMarkov: ((4, 3),)}
    shape = () if isinstance(make, partial) else first.get(make, (ROW,))
    with pytest.raises(InputError, match=message):
        make(*shape, **options)


NEITHER = "must be at least 1, not"
SIZES: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (VAE, {"data_shape": 4}, r"data_shape must be a sequence .*, such as \(4,\), not 4"),
    (VAE, {"data_shape": (-4,)}, "each of data_shape must be at least 1, not -4"),
    (VAE, {"data_shape": (4.5,)}, "each of data_shape must be a whole number, not 4.5"),
    (VAE, {"data_shape": "ab"}, "data_shape must be a sequence of whole numbers"),
    (VAE, {"data_shape": ROW, "latent_dim": True}, "latent_dim must be a whole number, not True"),
    (MixtureVAE, {"data_shape": ROW, "num_components": 2.5}, "must be a whole number, not 2.5"),
    (VQVAE, {"data_shape": ROW, "num_positions": 1.5}, "must be a whole number, not 1.5"),
    (FactorAnalysis, {"data_shape": ROW, "latent_dim": 0}, f"latent_dim {NEITHER} 0"),
    (FactorAnalysis, {"data_shape": ROW, "latent_dim": -1}, f"latent_dim {NEITHER} -1"),
    (FactorAnalysis, {"data_shape": (0,)}, f"each of data_shape {NEITHER} 0"),
    (DeepMarkov, {"data_shape": (4, 3), "hidden_dim": 0}, f"hidden_dim {NEITHER} 0"),
    (TokenVAE, {"data_shape": ROW, "hidden_dim": 0}, f"hidden_dim {NEITHER} 0"),
    (ItemResponse, {"data_shape": ()}, "needs an item and a trait at least"),
    (priors.GaussianMixture, {"latent_dim": 2, "num_components": 2.5}, "a whole number, not 2.5"),
    *(
        (partial(kind, ROW, (2,)), options, message)
        for kind, options, message in (
            (nets.MLP, {"hidden_dims": 8}, r"a sequence of whole numbers, such as \(8,\), not 8"),
            (nets.MLP, {"hidden_dims": (-1,)}, f"each of hidden_dims {NEITHER} -1"),
            (nets.GatedMLP, {"hidden_dims": [0]}, f"each of hidden_dims {NEITHER} 0"),
            (nets.GRU, {"hidden_dim": 0}, f"hidden_dim {NEITHER} 0"),
            (nets.GRU, {"num_layers": 0}, f"num_layers {NEITHER} 0"),
            (nets.Transformer, {"width": 0}, f"width {NEITHER} 0"),
            (nets.Transformer, {"width": -4}, f"width {NEITHER} -4"),
            (nets.Transformer, {"num_layers": 0}, f"num_layers {NEITHER} 0"),
            (nets.EmbeddedTokens, {"num_tokens": 0}, f"num_tokens {NEITHER} 0"),
            (nets.EmbeddedTokens, {"embedding_dim": 0}, f"embedding_dim {NEITHER} 0"),
        )
    ),
    (partial(nets.ConvEncoder, IMAGE, (2,)), {"channels": (0,)}, f"each of channels {NEITHER} 0"),
    (partial(nets.ConvDecoder, (2,), IMAGE), {"channels": 4}, "channels must be a sequence"),
    (partial(nets.ResidualEncoder, IMAGE, (2,)), {"blocks": -1}, "blocks must be at least 0"),
    (partial(nets.DeepSets, (4, 3), (2,)), {"width": 0}, f"width {NEITHER} 0"),
    (partial(flows.NeuralSpline, 2), {"bins": 0}, f"bins {NEITHER} 0"),
    (partial(flows.Coupling, 2), {"hidden_dims": (0,)}, f"each of hidden_dims {NEITHER} 0"),
    (partial(flows.Coupling, 2), {"context_dim": -1}, "context_dim must be at least 0, not -1"),
    (partial(guides.FlowGuide, ROW, 2), {"context_dim": -1}, "context_dim must be at least 0"),
    (partial(flows.Glow, 64, image_shape=IMAGE), {"channels": 0}, f"channels {NEITHER} 0"),
]


@pytest.mark.parametrize(("make", "options", "message"), SIZES)
def test_sizes_that_nothing_has(
    make: Callable[..., Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make(**options)


@pytest.mark.parametrize("value", [0.0, -1.0, nan, inf, "a"])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (partial(of_data.FixedScaleNormal, 2, ROW), "scale"),
        (partial(of_data.Normal, 2, ROW), "initial_scale"),
        (partial(of_data.StudentT, 2, ROW), "initial_scale"),
        (partial(of_data.HeteroscedasticNormal, 2, ROW), "min_scale"),
        (partial(of_data.LogNormal, 2, ROW), "min_scale"),
        (partial(flows.NeuralSpline, 2), "bound"),
        (partial(priors.RelaxedCategorical, 2), "temperature"),
        (partial(guides.RelaxedCategorical, ROW, 2), "temperature"),
    ],
)
def test_numbers_that_are_not_positive(make: Callable[..., Any], name: str, value: Any) -> None:
    if (name, value) == ("min_scale", 0.0):  # no floor at all
        make(**{name: value})
        return
    with pytest.raises(InputError, match=f"{name} must be a positive number, not '?{value}"):
        make(**{name: value})


class Plain(nn.Module):
    """A network that knows nothing of this library."""

    def __init__(self, in_shape: Any, out_shape: Any) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(prod(in_shape), prod(out_shape)), nn.Unflatten(-1, out_shape)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def test_a_network_may_be_any_module() -> None:
    vae = VAE(ROW, 2, encoder=Plain, decoder=lambda *shapes: Plain(*shapes).layers)
    assert vae.recognition(torch.zeros(3, 4)).event_shape == (2,)
    assert vae.likelihood(torch.zeros(3, 2)).event_shape == ROW
    with pytest.raises(InputError, match="the encoder Plain cannot"):
        VAE(ROW, 2, encoder=Plain, likelihood=of_data.Missing)
