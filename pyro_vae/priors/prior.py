"""What a prior is."""

import abc
from typing import Any, ClassVar

import pyro.distributions as dist
from pyro.distributions import constraints

from pyro_vae.errors import at_least_1
from pyro_vae.guides import AmortizedGuide
from pyro_vae.parts import Part


class Prior(Part):
    """``prior()`` is a distribution of event shape ``(latent_dim,)`` and no batch shape.

    Args:
        latent_dim: size Z of z.
        guide: the guide beside it, for a prior that is made of it.

    :raises InputError: ``latent_dim`` is less than 1.
    """

    support: ClassVar[Any] = constraints.real_vector

    def __init__(self, latent_dim: int, guide: AmortizedGuide | None = None) -> None:
        super().__init__()
        self.latent_dim = at_least_1("latent_dim", latent_dim)

    @abc.abstractmethod
    def forward(self) -> dist.TorchDistribution: ...
