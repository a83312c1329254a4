"""Priors on the unit sphere."""

from typing import ClassVar

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor

from pyro_vae import distributions
from pyro_vae.errors import at_least
from pyro_vae.guides import AmortizedGuide
from pyro_vae.priors.prior import Prior


class SphericalUniform(Prior):
    """Draw z uniformly from the unit sphere; its guide is :class:`pyro_vae.guides.VonMisesFisher`.

    Raises:
        InputError: ``latent_dim`` is less than 2.

    Source: T. R. Davidson, L. Falorsi, N. De Cao, T. Kipf, J. M. Tomczak, "Hyperspherical variational
    auto-encoders", 2018, https://arxiv.org/abs/1804.00891.

    >>> round(SphericalUniform(3)().sample().norm().item(), 5)
    1.0
    """

    support: ClassVar = constraints.sphere
    zero: Tensor

    def __init__(self, latent_dim: int, guide: AmortizedGuide | None = None) -> None:
        super().__init__(at_least(2, "latent_dim", latent_dim), guide)
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        return distributions.SphericalUniform(self.zero)
