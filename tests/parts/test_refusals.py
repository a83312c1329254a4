"""Refusals when a model is built: parts of another kind, impossible sizes and numbers."""

from collections.abc import Callable, Sequence
from functools import partial
from math import inf, nan, prod
from typing import Any

import pytest
import torch
from parts.parts import small
from refused import refused
from torch import Tensor, nn

from pyro_vae import flows, guides, item_models, priors
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
    StateSpace,
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


# what makes it, its options, the subject of the refusal, and the names that it gives
OTHER_KINDS: list[tuple[Callable[..., Any], dict[str, Any], str, Sequence[str]]] = [
    (partial(VAE, ROW), {"prior": guides.MeanFieldNormal}, "Prior", ["MeanFieldNormal"]),
    (partial(VAE, ROW), {"prior": priors.StandardNormal(2)}, "Prior", ["StandardNormal"]),
    (partial(VAE, ROW), {"prior": None}, "Prior", ["None"]),
    (partial(VAE, ROW), {"prior": priors.PriorFactory}, "Prior", ["type hint", "VampPrior"]),
    (partial(VAE, ROW), {"likelihood": "foo"}, "Likelihood", ["'foo'", "Bernoulli", "partial"]),
    (
        partial(VAE, ROW),
        {"prior": partial(priors.StandardNormal, scale=3)},
        "StandardNormal",
        ["partial(StandardNormal"],
    ),
    (partial(VAE, ROW), {"prior": priors.Categorical}, "MeanFieldNormal", ["such as Categorical"]),
    (partial(VAE, ROW), {"prior": "VampPrior"}, "Prior", ["'VampPrior'"]),
    (partial(VAE, ROW), {"prior": an_mlp}, "Prior", ["an_mlp", "MLP"]),
    (partial(VAE, ROW), {"guide": priors.StandardNormal}, "AmortizedGuide", ["StandardNormal"]),
    (partial(VAE, ROW), {"likelihood": nets.MLP}, "Likelihood", ["MLP"]),
    (
        partial(VAE, ROW),
        {"likelihood": item_models.TwoParameter},
        "Likelihood",
        ["TwoParameter", "such as", "Bernoulli"],
    ),
    (partial(VAE, ROW), {"encoder": of_data.Bernoulli}, "Network", ["Bernoulli"]),
    (partial(VAE, ROW), {"encoder": to_seven}, "MLP", ["(4,) to (2, 16)", "(4,) to (7,)"]),
    (partial(VAE, ROW), {"decoder": to_seven}, "MLP", ["(16,) to (1, 4)", "(16,) to (7,)"]),
    (partial(VAE, ROW), {"decoder": from_nine}, "MLP", ["(16,) to (1, 4)", "(9,) to (1, 4)"]),
    (priors.FlowPrior, {"flow": nets.MLP}, "Flow", ["MLP"]),
    (priors.FlowPrior, {"flow": flows.Glow}, "Glow", ["'image_shape'", "partial(Glow"]),
    (FlowDensity, {"flow": nets.MLP}, "Flow", ["MLP"]),
    (DeepMarkov, {"transition": nets.MLP}, "Transition", ["MLP", "GatedTransition"]),
    (ItemResponse, {"item": of_data.Bernoulli}, "Item", ["Bernoulli"]),
    (of_data.Heterogeneous, {"columns": ["Normal"] * 4}, "Likelihood", ["'Normal'"]),
    (ConditionalVAE, {"condition": nets.MLP}, "condition", ["MLP((3,), (8,))"]),
    (HierarchicalVAE, {"prior": of_five}, "StandardNormal", ["5 latent numbers", "R^16"]),
]


@pytest.mark.parametrize(("make", "options", "subject", "names"), OTHER_KINDS)
def test_parts_of_another_kind(
    make: Callable[..., Any], options: dict[str, Any], subject: str, names: Sequence[str]
) -> None:
    first = {priors.FlowPrior: (2,), of_data.Heterogeneous: (2, ROW), DeepMarkov: ((4, 3),)}
    shape = () if isinstance(make, partial) else first.get(make, (ROW,))
    with refused(subject) as caught:
        make(*shape, **options)
    assert all(name in str(caught.value) for name in names)


POSITIVE, WHOLE = "at least 1", "a whole number"
LIST = "a sequence of whole numbers, such as"
# what makes it, its options, of which the last one is at fault, and what it should be
SIZES: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (VAE, {"data_shape": 4}, f"{LIST} (4,)"),
    (VAE, {"data_shape": (-4,)}, POSITIVE),
    (VAE, {"data_shape": (4.5,)}, WHOLE),
    (VAE, {"data_shape": "ab"}, LIST),
    (VAE, {"data_shape": ROW, "latent_dim": True}, WHOLE),
    (MixtureVAE, {"data_shape": ROW, "num_components": 2.5}, WHOLE),
    (VQVAE, {"data_shape": ROW, "num_positions": 1.5}, WHOLE),
    (FactorAnalysis, {"data_shape": ROW, "latent_dim": 0}, POSITIVE),
    (FactorAnalysis, {"data_shape": ROW, "latent_dim": -1}, POSITIVE),
    (FactorAnalysis, {"data_shape": (0,)}, POSITIVE),
    (DeepMarkov, {"data_shape": (4, 3), "hidden_dim": 0}, POSITIVE),
    (TokenVAE, {"data_shape": ROW, "hidden_dim": 0}, POSITIVE),
    (ItemResponse, {"data_shape": ()}, "at least one item"),
    (StateSpace, {"data_shape": ()}, "(steps, values)"),
    (priors.GaussianMixture, {"latent_dim": 2, "num_components": 2.5}, WHOLE),
    *(
        (partial(kind, ROW, (2,)), options, expected)
        for kind, options, expected in (
            (nets.MLP, {"hidden_dims": 8}, f"{LIST} (8,)"),
            (nets.MLP, {"hidden_dims": (-1,)}, POSITIVE),
            (nets.GatedMLP, {"hidden_dims": [0]}, POSITIVE),
            (nets.GRU, {"hidden_dim": 0}, POSITIVE),
            (nets.GRU, {"num_layers": 0}, POSITIVE),
            (nets.Transformer, {"width": 0}, POSITIVE),
            (nets.Transformer, {"width": -4}, POSITIVE),
            (nets.Transformer, {"num_layers": 0}, POSITIVE),
            (nets.EmbeddedTokens, {"num_tokens": 0}, POSITIVE),
            (nets.EmbeddedTokens, {"embedding_dim": 0}, POSITIVE),
        )
    ),
    (partial(nets.ConvEncoder, IMAGE, (2,)), {"channels": (0,)}, POSITIVE),
    (partial(nets.ConvDecoder, (2,), IMAGE), {"channels": 4}, LIST),
    (partial(nets.ResidualEncoder, IMAGE, (2,)), {"blocks": -1}, "at least 0"),
    (partial(nets.DeepSets, (4, 3), (2,)), {"width": 0}, POSITIVE),
    (partial(flows.NeuralSpline, 2), {"bins": 0}, POSITIVE),
    (partial(flows.Coupling, 2), {"hidden_dims": (0,)}, POSITIVE),
    (partial(flows.Coupling, 2), {"context_dim": -1}, "at least 0"),
    (partial(guides.FlowGuide, ROW, 2), {"context_dim": -1}, "at least 0"),
    (partial(flows.Glow, 64, image_shape=IMAGE), {"channels": 0}, POSITIVE),
]


@pytest.mark.parametrize(("make", "options", "expected"), SIZES)
def test_sizes_that_nothing_has(
    make: Callable[..., Any], options: dict[str, Any], expected: str
) -> None:
    with refused([*options][-1], expected=expected):
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
    with refused(name, expected="a positive number"):
        make(**{name: value})


class Plain(nn.Module):
    """A network that does not use pyro_vae."""

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
    with refused("encoder", remedy="network=Plain"):
        VAE(ROW, 2, encoder=Plain, likelihood=of_data.Missing)
