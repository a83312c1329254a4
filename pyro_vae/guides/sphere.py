"""Guides on the unit sphere."""

from typing import ClassVar

import pyro.distributions as dist
from pyro.distributions import constraints
from torch import Tensor
from torch.nn.functional import normalize, softplus

from pyro_vae import distributions
from pyro_vae.errors import at_least
from pyro_vae.guides.guide import AmortizedGuide
from pyro_vae.networks import MLP, NetworkFactory, Shape


class VonMisesFisher(AmortizedGuide):
    """Draw z from the unit sphere: q(z | x) ∝ exp(concentration(x) loc(x)'z), the concentration above 1.

    Raises:
        InputError: ``latent_dim`` is less than 2.

    Source: T. R. Davidson, L. Falorsi, N. De Cao, T. Kipf, J. M. Tomczak, "Hyperspherical variational
    auto-encoders", 2018, https://arxiv.org/abs/1804.00891.

    >>> VonMisesFisher((6,), 3)(torch.zeros(5, 6)).sample().shape
    torch.Size([5, 3])
    """

    support: ClassVar = constraints.sphere

    def __init__(self, data_shape: Shape, latent_dim: int, encoder: NetworkFactory = MLP) -> None:
        super().__init__(data_shape, at_least(2, "latent_dim", latent_dim), encoder)

    def parameter_shape(self) -> Shape:
        return (self.latent_dim + 1,)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        direction, raw = self.encoder(x).split((self.latent_dim, 1), -1)
        concentration = 1 + softplus(raw.squeeze(-1))
        return distributions.VonMisesFisher(normalize(direction, dim=-1), concentration)
