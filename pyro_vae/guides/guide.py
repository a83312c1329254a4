"""What an amortised guide is."""

import abc
from typing import Any, ClassVar

import pyro.distributions as dist
from pyro.distributions import constraints
from torch import Tensor

from pyro_vae.errors import at_least_1, sizes
from pyro_vae.networks import MLP, Network, NetworkFactory, Shape
from pyro_vae.parts import Part


class AmortizedGuide(Part):
    """``guide(x)`` for x of shape ``batch | data_shape`` is a distribution ``batch | latent_dim``.

    Its encoder maps ``batch | data_shape`` to ``batch | self.numbers()``.
    """

    support: ClassVar[Any] = constraints.real_vector

    def __init__(self, data_shape: Shape, latent_dim: int, encoder: NetworkFactory = MLP) -> None:
        super().__init__()
        self.data_shape = sizes("data_shape", data_shape)
        self.latent_dim = at_least_1("latent_dim", latent_dim)
        self.encoder = Network.make(encoder, data_shape, self.numbers())

    @abc.abstractmethod
    def numbers(self) -> Shape:
        """The shape of what the encoder says of one datum."""

    @abc.abstractmethod
    def forward(self, x: Tensor) -> dist.TorchDistribution: ...
