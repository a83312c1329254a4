"""The VAE with several layers of latents."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import pyro
from torch import Tensor, nn

from pyro_vae.compatibility import check_reads_missing
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.guides import AmortizedGuide, BottomUp, HierarchicalGuide, MeanFieldNormal
from pyro_vae.likelihoods import Bernoulli, Likelihood
from pyro_vae.networks import MLP, NetworkFactory, Shape
from pyro_vae.priors import Prior, StandardNormal


class HierarchicalVAE(nn.Module):
    """z_L ~ p(z_L), z_l ~ Normal(loc(z_(l+1)), scale(z_(l+1))), x ~ p(x | z_1).

    The guide is a part: :class:`~pyro_vae.guides.BottomUp` draws from the data up,
    :class:`~pyro_vae.guides.Ladder` from the top down, in the model's order.

    Source: C. K. Sønderby, T. Raiko, L. Maaløe, S. K. Sønderby, O. Winther, "Ladder variational
    autoencoders", 2016, https://arxiv.org/abs/1602.02282; D. J. Rezende, S. Mohamed, D. Wierstra,
    "Stochastic backpropagation and approximate inference in deep generative models", 2014,
    https://arxiv.org/abs/1401.4082.

    Args:
        data_shape: shape X of one datum.
        latent_dims: sizes of z_1 (nearest to the data), ..., z_L.
        prior: p(z_L), made from its size; one that is made of a guide's density cannot be had here.
        likelihood: p(x | z_1), made from the latent dimension, the data's shape and the decoder.
        guide: q(z_1, ..., z_L | x), made from the data's shape, the latent sizes, the encoder, the
            networks between layers and the model's layers.
        encoder: the guide's network on the data, made from an input and an output shape.
        decoder: the likelihood's network, made from an input and an output shape.
        between: the networks from layer to layer, likewise, in model and guide.

    :raises InputError: there is no layer, or one of size 0; a part cannot be made of these shapes, the
        prior is not on all of R^Z, or values may be missing that the encoder cannot do without.

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
        likelihood: Callable[[int, Shape, NetworkFactory], Likelihood] = Bernoulli,
        guide: Callable[
            [Shape, Sequence[int], NetworkFactory, NetworkFactory, Sequence[AmortizedGuide]],
            HierarchicalGuide,
        ] = BottomUp,
        encoder: NetworkFactory = MLP,
        decoder: NetworkFactory = MLP,
        between: NetworkFactory = MLP,
    ) -> None:
        super().__init__()
        if not isinstance(latent_dims, Sequence) or not latent_dims:
            raise InputError(
                "latent_dims must hold a size of at least 1 for each layer, as (32, 16) does, not "
                f"{latent_dims!r}"
            )
        for size in latent_dims:
            at_least_1("a layer's size in latent_dims", size)
        self.prior = Prior.make(prior, latent_dims[-1])
        if self.prior.support != MeanFieldNormal.support:
            raise InputError(
                f"{type(self.prior).__name__} puts the top layer on {self.prior.support}; the guides of "
                "several layers are Gaussian and need a prior on all of R^Z, such as StandardNormal"
            )
        if self.prior.latent_dim != latent_dims[-1]:
            raise InputError(
                f"{type(self.prior).__name__} has {self.prior.latent_dim} latent numbers, and the top "
                f"layer {latent_dims[-1]}"
            )
        pairs = list(pairwise(latent_dims))
        layers = [MeanFieldNormal((above,), size, between) for size, above in pairs]
        self.layers = nn.ModuleList(layers)  # p(z_1 | z_2), ..., p(z_(L-1) | z_L)
        self.likelihood = Likelihood.make(likelihood, latent_dims[0], data_shape, decoder)
        parts = self.likelihood.reading(encoder), between, layers
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
