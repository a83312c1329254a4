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
    """q(z | x) ∝ exp(concentration(x) loc(x)'z) on the unit sphere, the concentration at least 1.

    Source: T. R. Davidson, L. Falorsi, N. De Cao, T. Kipf, J. M. Tomczak, "Hyperspherical variational
    auto-encoders", 2018, https://arxiv.org/abs/1804.00891.

    :raises InputError: ``latent_dim`` is less than 2.

    >>> VonMisesFisher((6,), 3)(torch.zeros(5, 6)).sample().shape
    torch.Size([5, 3])
    """

    support: ClassVar = constraints.sphere

    def __init__(self, data_shape: Shape, latent_dim: int, encoder: NetworkFactory = MLP) -> None:
        at_least(2, "a sphere's latent_dim", latent_dim)
        super().__init__(data_shape, latent_dim, encoder)

    def numbers(self) -> Shape:
        return (self.latent_dim + 1,)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        direction, raw = self.encoder(x).split((self.latent_dim, 1), -1)
        concentration = 1 + softplus(raw.squeeze(-1))
        return distributions.VonMisesFisher(normalize(direction, dim=-1), concentration)
