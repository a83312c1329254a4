"""Guides over one of several classes."""

from typing import ClassVar

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor

from pyro_vae.errors import positive
from pyro_vae.guides.guide import AmortizedGuide
from pyro_vae.networks import MLP, NetworkFactory, Shape


class Categorical(AmortizedGuide):
    """q(z = e_k | x) = softmax(encoder(x))_k: z is one of latent_dim classes, one-hot.

    Its draws have no gradient; an ELBO uses the score function.

    >>> Categorical((6,), 3)(torch.zeros(5, 6)).sample().sum(-1)
    tensor([1., 1., 1., 1., 1.])
    """

    support: ClassVar = constraints.one_hot

    def numbers(self) -> Shape:
        return (self.latent_dim,)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        return dist.OneHotCategorical(logits=self.encoder(x))


class RelaxedCategorical(AmortizedGuide):
    """One of latent_dim classes, relaxed: z lies in the simplex, and its draws have a gradient.

    Source: C. J. Maddison, A. Mnih, Y. W. Teh, "The concrete distribution: a continuous relaxation of
    discrete random variables", 2016, https://arxiv.org/abs/1611.00712.

    Args:
        data_shape: shape of x.
        latent_dim: number of classes.
        encoder: makes the network from the two shapes.
        temperature: 0 would be one-hot.

    :raises InputError: ``temperature`` is not positive.

    >>> RelaxedCategorical((6,), 3)(torch.zeros(5, 6)).sample().shape
    torch.Size([5, 3])
    """

    support: ClassVar = constraints.simplex
    temperature: Tensor

    def __init__(
        self,
        data_shape: Shape,
        latent_dim: int,
        encoder: NetworkFactory = MLP,
        temperature: float = 0.67,
    ) -> None:
        super().__init__(data_shape, latent_dim, encoder)
        temperature = positive("temperature", temperature)
        self.register_buffer("temperature", torch.tensor(temperature), persistent=False)

    def numbers(self) -> Shape:
        return (self.latent_dim,)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        return dist.RelaxedOneHotCategorical(self.temperature, logits=self.encoder(x))
