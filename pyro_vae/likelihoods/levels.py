"""Likelihoods of grey levels on a grid, k / (levels - 1)."""

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import softplus

from pyro_vae import distributions
from pyro_vae.errors import at_least, at_least_1
from pyro_vae.likelihoods.likelihood import Likelihood
from pyro_vae.networks import MLP, NetworkFactory, Shape


class Categorical(Likelihood):
    """p(x | z) = prod_i Categorical(x_i | softmax(decoder(z)_i)) over grey levels on a grid in [0, 1].

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from the two shapes.
        levels: number of grey levels; x takes the values k / (levels - 1).

    :raises InputError: ``levels`` is less than 2.
    """

    def __init__(
        self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP, levels: int = 256
    ) -> None:
        self.numbers_per_value = at_least(2, "levels", levels)
        super().__init__(latent_dim, data_shape, decoder)

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        return distributions.GridCategorical(outputs.movedim(-1 - self.event_dim, -1))


class DiscretizedLogistic(Likelihood):
    """p(x | z) = prod_i DiscretizedLogistic(x_i | loc_i(z), scale_i(z)) over grey levels in [0, 1].

    Locations may lie beyond the ends, where a scale that is not small leaves little to other levels.

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from the two shapes.
        levels: number of grey levels; x takes the values k / (levels - 1).

    :raises InputError: ``levels`` is less than 2.
    """

    numbers_per_value = 2

    def __init__(
        self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP, levels: int = 256
    ) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.levels = at_least(2, "levels", levels)

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        loc, raw_scale = self.split(outputs)
        # scales of a few levels to the whole range at the start; the floor keeps a level's mass below 1
        scale = softplus(raw_scale - 2) + 0.1 / self.levels
        # beyond the ends, too: black for nearly certain, and else any grey, is a location below 0
        return distributions.DiscretizedLogistic(0.5 + loc, scale, self.levels)


class DiscretizedLogisticMixture(Likelihood):
    """p(x | z) = prod_i sum_k w_ik(z) DiscretizedLogistic(x_i | loc_ik(z), scale_ik(z)).

    Every value, each channel of a pixel too, has a mixture of its own.

    Source: T. Salimans, A. Karpathy, X. Chen, D. P. Kingma, "PixelCNN++: improving the PixelCNN with
    discretized logistic mixture likelihood and other modifications", 2017,
    https://arxiv.org/abs/1701.05517 (there one mixture for all channels of a pixel).

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from the two shapes.
        levels: number of grey levels; x takes the values k / (levels - 1).
        num_components: number of logistics in each mixture.

    :raises InputError: ``levels`` is less than 2, or ``num_components`` less than 1.

    >>> DiscretizedLogisticMixture(2, (1, 4, 4))(torch.zeros(5, 2)).event_shape
    torch.Size([1, 4, 4])
    """

    starts: Tensor

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        decoder: NetworkFactory = MLP,
        levels: int = 256,
        num_components: int = 5,
    ) -> None:
        self.numbers_per_value = 3 * at_least_1("num_components", num_components)
        super().__init__(latent_dim, data_shape, decoder)
        self.levels = at_least(2, "levels", levels)
        # apart from the start, so that they learn different things
        starts = torch.linspace(0, 1, num_components + 2)[1:-1]
        self.register_buffer("starts", starts, persistent=False)

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        numbers = outputs.movedim(-1 - self.event_dim, -1)  # B, X | 3K
        logits, loc, raw_scale = numbers.unflatten(-1, (3, -1)).unbind(-2)
        scale = softplus(raw_scale - 2) + 0.1 / self.levels
        components = distributions.DiscretizedLogistic(loc + self.starts, scale, self.levels)
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), components)
