"""What a prior is."""

import abc
from typing import Any, ClassVar

import pyro.distributions as dist
from pyro.distributions import constraints
from torch import nn

from pyro_vae.guides import AmortizedGuide


class Prior(nn.Module, abc.ABC):
    """``prior()`` is a distribution of event shape ``(latent_dim,)`` and no batch shape.

    Args:
        latent_dim: size Z of z.
        guide: the guide beside it, for a prior that is made of it.
    """

    support: ClassVar[Any] = constraints.real_vector

    def __init__(self, latent_dim: int, guide: AmortizedGuide | None = None) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    @abc.abstractmethod
    def forward(self) -> dist.TorchDistribution: ...
