"""The base class of amortised guides."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import pyro.distributions as dist
from pyro.distributions import constraints
from torch import Tensor

from pyro_vae.errors import at_least_1, sizes
from pyro_vae.networks import MLP, Network, NetworkFactory, Shape
from pyro_vae.parts import Part


class AmortizedGuide(Part):
    """Map x, ``batch | data_shape``, to a distribution q(z | x), ``batch | latent_dim``.

    Args:
        data_shape: shape of x.
        latent_dim: size Z of z.
        encoder: makes the network from an input and an output shape.

    Raises:
        InputError: a size is below 1, or the encoder has other shapes.
    """

    support: ClassVar[Any] = constraints.real_vector

    def __init__(self, data_shape: Shape, latent_dim: int, encoder: NetworkFactory = MLP) -> None:
        super().__init__()
        self.data_shape = sizes("data_shape", data_shape)
        self.latent_dim = at_least_1("latent_dim", latent_dim)
        self.encoder = Network.make(encoder, data_shape, self.parameter_shape())

    @abc.abstractmethod
    def parameter_shape(self) -> Shape:
        """Return the shape of q's parameters for one datum, which the encoder gives."""

    @abc.abstractmethod
    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z | x), ``batch | latent_dim``."""


GuideFactory = Callable[[Shape, int, NetworkFactory], AmortizedGuide]
