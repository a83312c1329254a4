"""Likelihoods of grey levels k / (levels - 1)."""

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import softplus

from pyro_vae import distributions
from pyro_vae.errors import at_least, at_least_1
from pyro_vae.likelihoods.likelihood import Likelihood
from pyro_vae.networks import MLP, NetworkFactory, Shape


class Categorical(Likelihood):
    """Model grey levels, each with a probability of its own.

        p(x | z) = prod_i Categorical(x_i | softmax(decoder(z)_i)).

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from an input and an output shape.
        levels: number of grey levels; x takes the values k / (levels - 1).

    Raises:
        InputError: ``levels`` is less than 2.

    >>> Categorical(2, (1, 4, 4), levels=17)(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 1, 4, 4])
    """

    def __init__(
        self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP, levels: int = 256
    ) -> None:
        self.parameters_per_value = at_least(2, "levels", levels)
        super().__init__(latent_dim, data_shape, decoder)

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        return distributions.GreyLevelCategorical(self.move_last(parameters))


class DiscretizedLogistic(Likelihood):
    """Model grey levels: p(x | z) = prod_i DiscretizedLogistic(x_i | loc_i(z), scale_i(z)).

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from an input and an output shape.
        levels: number of grey levels; x takes the values k / (levels - 1).

    Raises:
        InputError: ``levels`` is less than 2.

    >>> DiscretizedLogistic(2, (1, 4, 4))(torch.zeros(5, 2)).event_shape
    torch.Size([1, 4, 4])
    """

    parameters_per_value = 2

    def __init__(
        self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP, levels: int = 256
    ) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.levels = at_least(2, "levels", levels)

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        loc, raw_scale = self.split(parameters)
        # a location may lie outside [0, 1]: a pixel that is nearly always black, or any grey, needs that
        return distributions.DiscretizedLogistic(
            0.5 + loc, _scale(raw_scale, self.levels), self.levels
        )


class DiscretizedLogisticMixture(Likelihood):
    """Model grey levels: p(x | z) = prod_i sum_k w_ik(z) DiscretizedLogistic(x_i | loc_ik(z), scale_ik(z)).

    Every value, also each channel of a pixel, has its own mixture.

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from an input and an output shape.
        levels: number of grey levels; x takes the values k / (levels - 1).
        num_components: number of logistics in each mixture.

    Raises:
        InputError: ``levels`` is less than 2, or ``num_components`` less than 1.

    Source: T. Salimans, A. Karpathy, X. Chen, D. P. Kingma, "PixelCNN++: improving the PixelCNN with
    discretized logistic mixture likelihood and other modifications", 2017, https://arxiv.org/abs/1701.05517
    (there all channels of a pixel share one mixture).

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
        self.parameters_per_value = 3 * at_least_1("num_components", num_components)
        super().__init__(latent_dim, data_shape, decoder)
        self.levels = at_least(2, "levels", levels)
        # components that start alike stay alike
        starts = torch.linspace(0, 1, num_components + 2)[1:-1]
        self.register_buffer("starts", starts, persistent=False)

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        parameters = self.move_last(parameters).unflatten(-1, (3, -1))  # B, X | 3, K
        logits, loc, raw_scale = parameters.unbind(-2)
        scale = _scale(raw_scale, self.levels)
        components = distributions.DiscretizedLogistic(loc + self.starts, scale, self.levels)
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), components)


def _scale(raw: Tensor, levels: int) -> Tensor:
    """Return a positive scale, 0.13 at a decoder's initial output of 0.

    The floor keeps the mass of a level below 1.
    """
    return softplus(raw - 2) + 0.1 / levels
