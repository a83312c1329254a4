"""The shelf: every model, and each way to compose it that differs in kind, with data that it takes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae.flows import Glow
from pyro_vae.guides import BottomUp, FullCovarianceNormal, Ladder, LowRankNormal, MixtureNormal
from pyro_vae.likelihoods import (
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    FixedScaleNormal,
    HeteroscedasticNormal,
    Normal,
    PixelCNN,
)
from pyro_vae.models import (
    GAN,
    VAE,
    VQVAE,
    Autoencoder,
    ConditionalVAE,
    DeepMarkov,
    DequantizedFlow,
    ExemplarDensity,
    FactorAnalysis,
    FlowDensity,
    HierarchicalVAE,
    ItemResponse,
    MixtureVAE,
    SemiSupervisedVAE,
    StateSpace,
    Table,
    TokenVAE,
)
from pyro_vae.networks import ConvDecoder, ConvEncoder
from pyro_vae.priors import FlowPrior, GaussianMixture, VampPrior
from pyro_vae.sequences.transitions import LinearTransition

Shelf = list[tuple[str, Callable[[], nn.Module], Callable[[], Any]]]


def grey(*shape: int) -> Tensor:
    """Return values in [0, 1], on 256 levels."""
    return torch.randint(0, 256, shape) / 255


def binary(*shape: int) -> Tensor:
    return torch.bernoulli(torch.full(shape, 0.4))


def labelled() -> tuple[Tensor, Tensor]:
    return binary(9, *IMAGE), torch.arange(9) % 4


def some_labelled() -> tuple[Tensor, Tensor]:
    return binary(9, *IMAGE), torch.arange(9) % 4 - 1


def ragged() -> tuple[Tensor, Tensor]:
    return torch.randn(9, 3, 2), torch.tensor([3, 1, 2] * 3)


def sentences() -> Tensor:
    x = torch.randint(0, 3, (9, 4))
    return torch.where((x == 0).cumsum(1) > 0, 0, x)  # 0 is the end


def gappy() -> Tensor:
    return torch.where(torch.rand(9, 4) < 0.2, torch.nan, binary(9, 4))


IMAGE, ROW = (1, 6, 5), (4,)
CONV = {
    "encoder": partial(ConvEncoder, channels=(4, 4)),
    "decoder": partial(ConvDecoder, channels=(4, 4)),
}
# every model, and each way to compose it that differs in kind
SHELF: Shelf = [
    ("VAE", partial(VAE, IMAGE, 3), partial(binary, 9, *IMAGE)),
    ("VAE", partial(VAE, IMAGE, 3, **CONV), partial(binary, 9, *IMAGE)),
    *(
        ("VAE", partial(VAE, ROW, 2, prior=prior, guide=guide), partial(binary, 9, *ROW))
        for prior, guide in (
            (partial(VampPrior, num_components=20), MixtureNormal),
            (FlowPrior, FullCovarianceNormal),
            (GaussianMixture, LowRankNormal),
        )
    ),
    *(
        ("VAE", partial(VAE, ROW, 2, likelihood=likelihood), partial(grey, 9, *ROW))
        for likelihood in (
            Normal,
            FixedScaleNormal,
            HeteroscedasticNormal,
            ContinuousBernoulli,
            Categorical,
            DiscretizedLogistic,
        )
    ),
    (
        "VAE",
        partial(VAE, IMAGE, 3, likelihood=partial(PixelCNN, width=8, num_layers=1)),
        partial(binary, 9, *IMAGE),
    ),
    ("ConditionalVAE", partial(ConditionalVAE, IMAGE, 3, num_classes=4), labelled),
    ("FactorAnalysis", partial(FactorAnalysis, (5,), 2), partial(torch.randn, 9, 5)),
    ("FactorAnalysis", partial(FactorAnalysis, (2, 3), 2, True), partial(torch.randn, 9, 2, 3)),
    ("ExemplarDensity", partial(ExemplarDensity, (5,), 6), partial(torch.randn, 9, 5)),
    ("ExemplarDensity", partial(ExemplarDensity, (1, 2, 3), 9), partial(torch.randn, 9, 1, 2, 3)),
    ("FlowDensity", partial(FlowDensity, IMAGE), partial(torch.randn, 9, *IMAGE)),
    (
        "FlowDensity",
        partial(FlowDensity, (1, 4, 4), flow=partial(Glow, image_shape=(1, 4, 4), channels=8)),
        partial(torch.randn, 9, 1, 4, 4),
    ),
    ("DequantizedFlow", partial(DequantizedFlow, ROW), partial(grey, 9, *ROW)),
    *(
        (
            "HierarchicalVAE",
            partial(HierarchicalVAE, IMAGE, (4, 3, 2), guide=guide),
            partial(binary, 9, *IMAGE),
        )
        for guide in (BottomUp, Ladder)
    ),
    ("Autoencoder", partial(Autoencoder, IMAGE, 3), partial(binary, 9, *IMAGE)),
    ("DeepMarkov", partial(DeepMarkov, (3, 2), 2), partial(binary, 9, 3, 2)),
    ("DeepMarkov", partial(DeepMarkov, (1, 3, 4), 2), partial(binary, 9, 1, 3, 4)),
    (
        "DeepMarkov",
        partial(DeepMarkov, (3, 2), 2, transition=LinearTransition, likelihood=Normal),
        ragged,
    ),
    ("TokenVAE", partial(TokenVAE, ROW, 2, num_tokens=3, end=0), sentences),
    ("TokenVAE", partial(TokenVAE, (1, 2, 3), 2, word_dropout=0.3), partial(binary, 9, 1, 2, 3)),
    ("VQVAE", partial(VQVAE, ROW, 2, 3, 2, straight_through=False), partial(binary, 9, *ROW)),
    ("VQVAE", partial(VQVAE, ROW, 2, 3, 2), partial(binary, 9, *ROW)),
    ("ItemResponse", partial(ItemResponse, ROW, 2), gappy),
    ("MixtureVAE", partial(MixtureVAE, ROW, 2, 3), partial(binary, 9, *ROW)),
    ("SemiSupervisedVAE", partial(SemiSupervisedVAE, IMAGE, 3, num_classes=3), some_labelled),
    ("StateSpace", partial(StateSpace, (3, 2), 2), partial(torch.randn, 9, 3, 2)),
    ("StateSpace", partial(StateSpace, (3, 2), 1), ragged),
    ("Table", partial(Table, ROW, [0, 2, 0, 2], width=8), gappy),
    ("GAN", partial(GAN, ROW, 2, scale=0.5), partial(torch.randn, 9, *ROW)),
]
