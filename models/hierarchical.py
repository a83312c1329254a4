"""The VAE with several layers of latents."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import pyro
from torch import Tensor, nn

from pyro_vae.compatibility import check_reads_missing
from pyro_vae.errors import InputError, sizes
from pyro_vae.guides import (
    BottomUp,
    HierarchicalGuide,
    HierarchicalGuideFactory,
    MeanFieldNormal,
)
from pyro_vae.likelihoods import Bernoulli, Likelihood, LikelihoodFactory
from pyro_vae.networks import MLP, NetworkFactory, Shape
from pyro_vae.priors import Prior, StandardNormal


class HierarchicalVAE(nn.Module):
    """Model data by layers: z_L ~ p(z_L), z_l ~ Normal(loc(z_(l+1)), scale(z_(l+1))), x ~ p(x | z_1).

    The guide :class:`~pyro_vae.guides.BottomUp` draws from the data up, :class:`~pyro_vae.guides.Ladder`
    from the top down, in the model's order.

    Args:
        data_shape: shape X of one datum.
        latent_dims: sizes of z_1 (nearest to the data), ..., z_L.
        prior: p(z_L), made from its size; it cannot depend on a guide.
        likelihood: p(x | z_1), made from the latent dimension, the data's shape and the decoder.
        guide: q(z_1, ..., z_L | x), made from the data's shape, the latent sizes, the encoder, the
            networks between layers and the model's layers.
        encoder: the guide's network on the data, made from an input and an output shape.
        decoder: the likelihood's network, made from an input and an output shape.
        between: the networks between layers, in model and guide, made from an input and an output shape.

    Raises:
        InputError: there is no layer, a part does not fit these shapes, the prior does not cover R^Z, or
            the encoder cannot read missing values.

    Source: C. K. Sønderby, T. Raiko, L. Maaløe, S. K. Sønderby, O. Winther, "Ladder variational
    autoencoders", 2016, https://arxiv.org/abs/1602.02282; D. J. Rezende, S. Mohamed, D. Wierstra,
    "Stochastic backpropagation and approximate inference in deep generative models", 2014,
    https://arxiv.org/abs/1401.4082.

    >>> import torch
    >>> from pyro_vae.guides import Ladder
    >>> vae = HierarchicalVAE((1, 8, 8), (16, 4), guide=Ladder)
    >>> vae.layers[0](torch.zeros(3, 4)).event_shape
    torch.Size([16])
    """

    def __init__(
        self,
        data_shape: Shape,
        latent_dims: Sequence[int] = (32, 16),
        *,
        prior: Callable[[int], Prior] = StandardNormal,
        likelihood: LikelihoodFactory = Bernoulli,
        guide: HierarchicalGuideFactory = BottomUp,
        encoder: NetworkFactory = MLP,
        decoder: NetworkFactory = MLP,
        between: NetworkFactory = MLP,
    ) -> None:
        super().__init__()
        if not sizes("latent_dims", latent_dims):
            raise InputError(
                "latent_dims is empty",
                subject="latent_dims",
                expected="a size for each layer, such as (32, 16)",
            )
        self.prior = Prior.make(prior, latent_dims[-1])
        _check_top_layer(self.prior, latent_dims[-1])
        layers = [MeanFieldNormal((z,), size, between) for size, z in pairwise(latent_dims)]
        self.layers = nn.ModuleList(layers)  # p(z_1 | z_2), ..., p(z_(L-1) | z_L)
        self.likelihood = Likelihood.make(likelihood, latent_dims[0], data_shape, decoder)
        parts = self.likelihood.wrap_encoder(encoder), between, layers
        self.recognition = HierarchicalGuide.make(guide, data_shape, latent_dims, *parts)
        check_reads_missing(self.likelihood, self.recognition.encoder)

    def model(self, x: Tensor) -> None:
        top = len(self.layers) + 1
        with pyro.plate("data", len(x)):
            z = pyro.sample(f"z_{top}", self.prior())  # (B | Z_L)
            for layer in reversed(range(1, top)):
                z = pyro.sample(f"z_{layer}", self.layers[layer - 1](z))  # (B | Z_l)
            pyro.sample("x", self.likelihood(z), obs=x)  # (B | X)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = x
            for layer, q in self.recognition(x):
                z = pyro.sample(f"z_{layer}", q(z))  # (B | Z_l)


def _check_top_layer(prior: Prior, size: int) -> None:
    """Check that a prior is over R^size, where the guides, which are Gaussian, put z_L."""
    name = type(prior).__name__
    if (prior.support, prior.latent_dim) != (MeanFieldNormal.support, size):
        raise InputError(
            f"{name} puts {prior.latent_dim} latent numbers on {prior.support}",
            subject=name,
            expected=f"a prior over R^{size}, the top layer",
            remedy="take another one, such as StandardNormal",
        )
