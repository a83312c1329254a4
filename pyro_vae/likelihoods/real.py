"""Likelihoods of real values, whose location and scale are in units of the data."""

import abc
from collections.abc import Sequence
from typing import ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_vae import distributions
from pyro_vae.errors import positive
from pyro_vae.likelihoods.likelihood import EncoderScaling, Likelihood
from pyro_vae.links import RATE, log_link
from pyro_vae.networks import MLP, NetworkFactory, Shape
from pyro_vae.scaling import Scaling


class LocationScale(Likelihood):
    """Model values by a family of distributions with a location and a scale.

    The location is m_i + s_i loc_i(z), with m and s the data's location and scale, which the first fit
    learns from its rows (:mod:`pyro_vae.scaling`): means and standard deviations of the columns, or
    0 and 1 where all values lie in [0, 1].
    """

    encoder_scaling: ClassVar[EncoderScaling] = "linear"

    def __init__(self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.scaling = Scaling(data_shape)

    def learn_scaling(self, x: Tensor) -> None:
        self.scaling.learn(x)

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        loc, *rest = self.split(parameters)
        return self.distribution(
            self.scaling.location + self.scaling.scale * loc, self.scale_of(rest)
        )

    def distribution(self, loc: Tensor, scale: Tensor) -> dist.TorchDistribution:
        """Return the member of the family, ``B, X |``."""
        return dist.Normal(loc, scale)

    @abc.abstractmethod
    def scale_of(self, rest: Sequence[Tensor]) -> Tensor:
        """Return the scale in the data's units, from the parameters that follow the location."""


class Normal(LocationScale):
    """Model real values with one learned scale: p(x | z) = prod_i Normal(x_i | loc_i(z), s_i scale).

    loc_i(z) = m_i + s_i decoder(z)_i, with m and s the data's location and scale
    (:class:`pyro_vae.scaling.Scaling`).

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from an input and an output shape.
        initial_scale: the scale before a fit, in units of the data's scale.

    Raises:
        InputError: ``initial_scale`` is not positive.

    >>> Normal(2, (4,))(torch.zeros(5, 2)).base_dist.scale[0, 0]
    tensor(0.5000, grad_fn=<SelectBackward0>)
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        decoder: NetworkFactory = MLP,
        initial_scale: float = 0.5,
    ) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.log_scale = nn.Parameter(torch.tensor(positive("initial_scale", initial_scale)).log())

    def scale_of(self, rest: Sequence[Tensor]) -> Tensor:
        return self.scaling.scale * self.log_scale.exp()


class FixedScaleNormal(LocationScale):
    """Model real values with a given scale: p(x | z) = prod_i Normal(x_i | m_i + s_i decoder(z)_i, scale).

    m and s are the data's location and scale (:class:`pyro_vae.scaling.Scaling`).

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from an input and an output shape.
        scale: the standard deviation of every value, in the data's own units.

    Raises:
        InputError: ``scale`` is not positive.

    >>> FixedScaleNormal(2, (4,), scale=0.1)(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 4])
    """

    scale: Tensor

    def __init__(
        self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP, scale: float = 1.0
    ) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.register_buffer("scale", torch.tensor(positive("scale", scale)))

    def scale_of(self, rest: Sequence[Tensor]) -> Tensor:
        return self.scale


class HeteroscedasticNormal(LocationScale):
    """Model real values, each with its own scale.

        p(x | z) = prod_i Normal(x_i | m_i + s_i loc_i(z), s_i scale_i(z)).

    The decoder gives loc_i(z) and scale_i(z); m and s are the data's location and scale
    (:class:`pyro_vae.scaling.Scaling`). Without a floor the likelihood of a constant value is unbounded.

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from an input and an output shape.
        min_scale: the floor of every scale_i(z); 0 removes it.

    Raises:
        InputError: ``min_scale`` is negative.

    >>> HeteroscedasticNormal(2, (4,))(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 4])
    """

    parameters_per_value = 2

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        decoder: NetworkFactory = MLP,
        min_scale: float = 0.01,
    ) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.min_scale = min_scale and positive("min_scale", min_scale)

    def scale_of(self, rest: Sequence[Tensor]) -> Tensor:
        (raw_scale,) = rest
        return self.scaling.scale * (self.min_scale + softplus(raw_scale))


class LogNormal(HeteroscedasticNormal):
    """Model positive values: p(x | z) = prod_i LogNormal(x_i | m_i + s_i loc_i(z), s_i scale_i(z)).

    Location and scale are those of log x, and m and s are those of the data's logs.

    >>> bool((LogNormal(2, (4,))(torch.zeros(5, 2)).sample() > 0).all())
    True
    """

    encoder_scaling = "log"

    def distribution(self, loc: Tensor, scale: Tensor) -> dist.TorchDistribution:
        return dist.LogNormal(loc, scale)

    def learn_scaling(self, x: Tensor) -> None:
        self.scaling.learn(x.log(), may_keep=False)


class StudentT(Normal):
    """Model values with outliers: p(x | z) = prod_i StudentT(x_i | df, m_i + s_i decoder(z)_i, s_i scale).

    All values share one learned scale and one learned df above 1.

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from an input and an output shape.
        initial_scale: the scale before a fit, in units of the data's scale.

    Raises:
        InputError: ``initial_scale`` is not positive.

    Source: K. L. Lange, R. J. A. Little, J. M. G. Taylor, "Robust statistical modeling using the t
    distribution", 1989, https://doi.org/10.2307/2290063.

    >>> StudentT(2, (4,))(torch.zeros(5, 2)).base_dist.df[0, 0]
    tensor(4., grad_fn=<SelectBackward0>)
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        decoder: NetworkFactory = MLP,
        initial_scale: float = 0.5,
    ) -> None:
        super().__init__(latent_dim, data_shape, decoder, initial_scale)
        self.log_df = nn.Parameter(torch.tensor(3.0).log())  # log(df - 1)

    def distribution(self, loc: Tensor, scale: Tensor) -> dist.TorchDistribution:
        return distributions.StudentT(1 + log_link(self.log_df, RATE).exp(), loc, scale)
