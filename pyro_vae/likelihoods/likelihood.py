"""What a likelihood is."""

import abc
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import pyro.distributions as dist
from torch import Tensor

from pyro_vae.errors import InputError, sizes
from pyro_vae.networks import MLP, Network, NetworkFactory, Scaled, Shape
from pyro_vae.parts import Part


class Likelihood(Part):
    """Calls its decoder and turns ``numbers_per_value`` outputs for each value of x into p(x | z).

    Of likelihoods of single values others are made; ``no_part`` says why one is none of those. ``in_logs``
    says whether an encoder is to read such values as logs, or else scaled; None: as they are. ``num_names``
    says how many names there are where values are such, by number.
    """

    numbers_per_value = 1
    no_part: ClassVar[str] = ""
    in_logs: ClassVar[bool | None] = None
    num_names = 0

    def __init__(self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP) -> None:
        super().__init__()
        shape = sizes("data_shape", data_shape)
        self.event_dim = len(shape)
        self.decoder = Network.make(decoder, (latent_dim,), (self.numbers_per_value, *shape))

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        outputs = self.decoder(z)  # B | numbers_per_value, X
        return self.of_values(outputs).to_event(self.event_dim)

    def reading(self, encoder: NetworkFactory) -> NetworkFactory:
        """The encoder that reads such values in their own units."""
        if self.in_logs is None:
            return encoder
        return partial(Scaled, network=encoder, logs=self.in_logs)

    @abc.abstractmethod
    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        """The values' distribution, ``B, X |``, from outputs ``B, numbers_per_value, X |``."""

    def split(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """One tensor, ``B, X |``, for each of the numbers per value."""
        return outputs.unbind(-1 - self.event_dim)

    def check_part(self, part: "Likelihood") -> None:
        """:raises InputError: it is none of single values, of which this one could be made."""
        if part.no_part:
            raise InputError(
                f"{type(part).__name__} can be no part of {type(self).__name__}: {part.no_part}; take one "
                "of single values, such as Bernoulli or Normal"
            )


class Outputs(Network):
    """Stands where a part's decoder would: its numbers come from a network of the whole."""

    def transform(self, x: Tensor) -> Tensor:
        raise NotImplementedError


LikelihoodFactory = Callable[[int, Shape, NetworkFactory], Likelihood]
