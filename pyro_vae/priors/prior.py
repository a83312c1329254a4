"""The base class of priors."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import pyro.distributions as dist
from pyro.distributions import constraints

from pyro_vae.errors import at_least_1
from pyro_vae.guides import AmortizedGuide
from pyro_vae.parts import Part


class Prior(Part):
    """Return p(z), ``| latent_dim``, when called.

    Args:
        latent_dim: size Z of z.
        guide: the model's guide; most priors do not use it.

    Raises:
        InputError: ``latent_dim`` is less than 1.
    """

    support: ClassVar[Any] = constraints.real_vector

    def __init__(self, latent_dim: int, guide: AmortizedGuide | None = None) -> None:
        super().__init__()
        self.latent_dim = at_least_1("latent_dim", latent_dim)

    @abc.abstractmethod
    def forward(self) -> dist.TorchDistribution:
        """Return p(z), ``| latent_dim``."""


PriorFactory = Callable[[int, AmortizedGuide], Prior]
