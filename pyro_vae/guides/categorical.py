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
    """Draw one of ``latent_dim`` classes, one-hot: q(z = e_k | x) = softmax(encoder(x))_k.

    The draws have no gradient, so an ELBO uses the score function.

    >>> Categorical((6,), 3)(torch.zeros(5, 6)).sample().sum(-1)
    tensor([1., 1., 1., 1., 1.])
    """

    support: ClassVar = constraints.one_hot

    def parameter_shape(self) -> Shape:
        return (self.latent_dim,)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        return dist.OneHotCategorical(logits=self.encoder(x))


class RelaxedCategorical(AmortizedGuide):
    """Draw a relaxed one-hot z from the simplex: q(z | x) = Concrete(z | temperature, softmax(encoder(x))).

    The draws have a gradient. A lower temperature puts z nearer to a corner.

    Args:
        data_shape: shape of x.
        latent_dim: number of classes.
        encoder: makes the network from an input and an output shape.
        temperature: positive; in the limit 0, z is one-hot.

    Raises:
        InputError: ``temperature`` is not positive.

    Source: C. J. Maddison, A. Mnih, Y. W. Teh, "The concrete distribution: a continuous relaxation of
    discrete random variables", 2016, https://arxiv.org/abs/1611.00712.

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

    def parameter_shape(self) -> Shape:
        return (self.latent_dim,)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        return dist.RelaxedOneHotCategorical(self.temperature, logits=self.encoder(x))
