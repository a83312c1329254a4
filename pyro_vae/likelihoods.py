"""Likelihoods p(x | z): a decoder's output, as a distribution over the data.

Each is made from the latent dimension, the data's shape and a decoder (anything that makes a network
from an input and an output shape), and maps z, ``batch | latent_dim``, to a distribution
``batch | data_shape``.
"""

import abc

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_vae import distributions
from pyro_vae.networks import MLP, NetworkFactory, Shape


class Likelihood(nn.Module, abc.ABC):
    """Calls its decoder and turns ``numbers_per_value`` outputs for each value of x into p(x | z)."""

    numbers_per_value = 1

    def __init__(self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP) -> None:
        super().__init__()
        self.event_dim = len(data_shape)
        self.decoder = decoder((latent_dim,), (self.numbers_per_value, *data_shape))

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        outputs = self.decoder(z)  # B | numbers_per_value, X
        return self.of_values(outputs).to_event(self.event_dim)

    @abc.abstractmethod
    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        """The values' distribution, ``B, X |``, from outputs ``B, numbers_per_value, X |``."""

    def split(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """One tensor, ``B, X |``, for each of the numbers per value."""
        return outputs.unbind(-1 - self.event_dim)


class Bernoulli(Likelihood):
    """p(x | z) = prod_i Bernoulli(x_i | logits = decoder(z)_i), for data that are 0 or 1.

    >>> Bernoulli(2, (1, 8, 8))(torch.zeros(5, 2)).event_shape
    torch.Size([1, 8, 8])
    """

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        (logits,) = self.split(outputs)
        return dist.Bernoulli(logits=logits)


class ContinuousBernoulli(Likelihood):
    """p(x | z) = prod_i C(l_i) l_i^x_i (1 - l_i)^(1 - x_i), a density on [0, 1].

    Source: G. Loaiza-Ganem, J. P. Cunningham, "The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders", 2019, https://arxiv.org/abs/1907.06845.
    """

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        (logits,) = self.split(outputs)
        return dist.ContinuousBernoulli(logits=logits)


class Normal(Likelihood):
    """p(x | z) = prod_i Normal(x_i | decoder(z)_i, scale), with one learned scale for all values.

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from the two shapes.
        initial_scale: where the scale starts.
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        decoder: NetworkFactory = MLP,
        initial_scale: float = 0.5,
    ) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.log_scale = nn.Parameter(torch.tensor(initial_scale).log())

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        (loc,) = self.split(outputs)
        return dist.Normal(loc, self.log_scale.exp())


class FixedScaleNormal(Likelihood):
    """p(x | z) = prod_i Normal(x_i | decoder(z)_i, scale), with a given scale.

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from the two shapes.
        scale: the standard deviation of every value.
    """

    scale: Tensor

    def __init__(
        self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP, scale: float = 1.0
    ) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.register_buffer("scale", torch.tensor(scale))

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        (loc,) = self.split(outputs)
        return dist.Normal(loc, self.scale)


class HeteroscedasticNormal(Likelihood):
    """p(x | z) = prod_i Normal(x_i | loc_i(z), scale_i(z)): the decoder gives every value its own scale.

    Without a floor under the scale the likelihood of a value that never varies is unbounded.

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from the two shapes.
        min_scale: the floor under every scale.
    """

    numbers_per_value = 2

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        decoder: NetworkFactory = MLP,
        min_scale: float = 0.01,
    ) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.min_scale = min_scale

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        loc, raw_scale = self.split(outputs)
        return dist.Normal(loc, self.min_scale + softplus(raw_scale))


class Categorical(Likelihood):
    """p(x | z) = prod_i Categorical(x_i | softmax(decoder(z)_i)) over grey levels on a grid in [0, 1].

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from the two shapes.
        levels: number of grey levels; x takes the values k / (levels - 1).
    """

    def __init__(
        self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP, levels: int = 256
    ) -> None:
        self.numbers_per_value = levels
        super().__init__(latent_dim, data_shape, decoder)

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        return distributions.GridCategorical(outputs.movedim(-1 - self.event_dim, -1))


class DiscretizedLogistic(Likelihood):
    """p(x | z) = prod_i DiscretizedLogistic(x_i | loc_i(z), scale_i(z)) over grey levels in [0, 1].

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from the two shapes.
        levels: number of grey levels; x takes the values k / (levels - 1).
    """

    numbers_per_value = 2

    def __init__(
        self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP, levels: int = 256
    ) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.levels = levels

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        loc, raw_scale = self.split(outputs)
        # scales of a few levels to the whole range at the start; the floor keeps a level's mass below 1
        scale = softplus(raw_scale - 2) + 0.1 / self.levels
        return distributions.DiscretizedLogistic(loc.sigmoid(), scale, self.levels)
