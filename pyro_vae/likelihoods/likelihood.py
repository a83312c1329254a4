"""The base class of likelihoods."""

import abc
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

import pyro.distributions as dist
from torch import Tensor
from torch.nn.functional import pad

from pyro_vae.errors import InputError, sizes
from pyro_vae.networks import MLP, Network, NetworkFactory, Scaled, Shape
from pyro_vae.parts import Part

EncoderScaling = Literal["linear", "log", "ranks"] | None


class Likelihood(Part):
    """Map z, ``batch | latent_dim``, to a distribution p(x | z), ``batch | data_shape``.

    The decoder gives ``parameters_per_value`` parameters for each value of x.

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from an input and an output shape.

    Attributes:
        encoder_scaling: the scale on which an encoder should read such values; None: as they are.
        num_categories: number of categories, where the values are categories; otherwise 0.
        not_a_part: why it cannot be a part of another likelihood; empty: it can.
    """

    parameters_per_value = 1
    encoder_scaling: ClassVar[EncoderScaling] = None
    num_categories = 0
    not_a_part: ClassVar[str] = ""

    def __init__(self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP) -> None:
        super().__init__()
        shape = sizes("data_shape", data_shape)
        self.event_dim = len(shape)
        self.decoder = Network.make(decoder, (latent_dim,), (self.parameters_per_value, *shape))

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        parameters = self.decoder(z)  # B | parameters_per_value, X
        return self.from_parameters(parameters).to_event(self.event_dim)

    def wrap_encoder(self, encoder: NetworkFactory) -> NetworkFactory:
        """Return a factory of encoders that read such values on the scale that suits them."""
        if self.encoder_scaling is None:
            return encoder
        logs, ranks = self.encoder_scaling == "log", self.encoder_scaling == "ranks"
        return partial(Scaled, network=encoder, logs=logs, ranks=ranks)

    @abc.abstractmethod
    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        """Return the values' distribution, ``B, X |``, from ``B, parameters_per_value, X |``."""

    def of_column(
        self, parameters: Tensor, place: int, columns: int
    ) -> tuple[dist.TorchDistribution, int]:
        """Return a distribution that holds one of ``columns``, and its place there, from its parameters.

        Others may stand beside it, as here, where each could have a state of its own.

        Args:
            parameters: of that column, ``B, parameters_per_value |``.
            place: of the column.
            columns: their number.
        """
        beside = (place, columns - place - 1)
        return self.from_parameters(pad(parameters.unsqueeze(-1), beside)), place

    def split(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """Return one tensor, ``B, X |``, for each of the parameters per value."""
        return parameters.unbind(-1 - self.event_dim)

    def move_last(self, parameters: Tensor) -> Tensor:
        """Return ``B, X | parameters_per_value``, for a distribution that takes a vector per value."""
        return parameters.movedim(-1 - self.event_dim, -1)

    def check_part(self, part: "Likelihood") -> None:
        """Check that this likelihood can be made of ``part``.

        Raises:
            InputError: the values of ``part`` are not independent.
        """
        if part.not_a_part:
            name = type(part).__name__
            raise InputError(
                f"{name} cannot be a part of {type(self).__name__}, because {part.not_a_part}",
                subject=name,
                expected="a likelihood of single values",
                remedy="take another one, such as Bernoulli or Normal",
            )


class PlaceholderDecoder(Network):
    """Hold the place of a part's decoder, where one network gives the parameters of all parts."""

    is_offered = False

    def transform(self, x: Tensor) -> Tensor:
        raise NotImplementedError


LikelihoodFactory = Callable[[int, Shape, NetworkFactory], Likelihood]
