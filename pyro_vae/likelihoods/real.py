"""Likelihoods of real values: in the data's units, which the decoder's outputs are multiples of."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_vae import distributions
from pyro_vae.errors import positive
from pyro_vae.likelihoods.likelihood import Likelihood
from pyro_vae.links import RATE, log_link
from pyro_vae.networks import MLP, NetworkFactory, Shape
from pyro_vae.units import Units


class Real(Likelihood):
    """Of values whose location and scale a first fit learns from its rows."""

    in_logs = False

    def __init__(self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.units = Units(data_shape)

    def learn_units(self, x: Tensor) -> None:
        self.units.learn(x)

    def located(self, loc: Tensor) -> Tensor:
        """Locations in the data's units, of numbers of size 1."""
        return self.units.location + self.units.scale * loc


class Normal(Real):
    """p(x | z) = prod_i Normal(x_i | m_i + s_i decoder(z)_i, s_i scale), one learned scale for all values.

    m and s are the data's location and scale (:class:`pyro_vae.units.Units`): columns' means and standard
    deviations, or 0 and 1 where all values lie in [0, 1].

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from the two shapes.
        initial_scale: where the scale starts, over the data's.

    :raises InputError: ``initial_scale`` is not positive.
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

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        (loc,) = self.split(outputs)
        return dist.Normal(self.located(loc), self.units.scale * self.log_scale.exp())


class FixedScaleNormal(Real):
    """p(x | z) = prod_i Normal(x_i | m_i + s_i decoder(z)_i, scale), with a given scale, in data units.

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from the two shapes.
        scale: the standard deviation of every value.

    :raises InputError: ``scale`` is not positive.
    """

    scale: Tensor

    def __init__(
        self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP, scale: float = 1.0
    ) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.register_buffer("scale", torch.tensor(positive("scale", scale)))

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        (loc,) = self.split(outputs)
        return dist.Normal(self.located(loc), self.scale)


class HeteroscedasticNormal(Real):
    """p(x | z) = prod_i Normal(x_i | m_i + s_i loc_i(z), s_i scale_i(z)): every value has its own scale.

    m and s are the data's location and scale, as of :class:`Normal`; the decoder gives loc and scale.

    Without a floor under the scale the likelihood of a value that never varies is unbounded.

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from the two shapes.
        min_scale: the floor under every scale_i(z); 0 is none.

    :raises InputError: ``min_scale`` is negative.
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
        self.min_scale = min_scale and positive("min_scale", min_scale)

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        loc, raw_scale = self.split(outputs)
        scale = self.min_scale + softplus(raw_scale)
        return dist.Normal(self.located(loc), self.units.scale * scale)


class LogNormal(HeteroscedasticNormal):
    """p(x | z) = prod_i LogNormal(x_i | m_i + s_i loc_i(z), s_i scale_i(z)), for positive values.

    Loc and scale are those of log x, and so are the data's m and s.

    >>> bool((LogNormal(2, (4,))(torch.zeros(5, 2)).sample() > 0).all())
    True
    """

    in_logs = True

    def learn_units(self, x: Tensor) -> None:
        self.units.learn(x.log(), may_keep=False)

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        log_x = super().of_values(outputs)
        return dist.LogNormal(log_x.loc, log_x.scale)


class StudentT(Normal):
    """p(x | z) = prod_i StudentT(x_i | df, m_i + s_i decoder(z)_i, s_i scale), for values with outliers.

    The scale and the degrees of freedom, which stay above 1, are learned, one for all values.

    Source: K. L. Lange, R. J. A. Little, J. M. G. Taylor, "Robust statistical modeling using the t
    distribution", 1989, https://doi.org/10.2307/2290063.

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from the two shapes.
        initial_scale: where the scale starts.

    :raises InputError: ``initial_scale`` is not positive.

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
        self.log_df = nn.Parameter(torch.tensor(3.0).log())  # of what lies above 1

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        normal = super().of_values(outputs)
        df = 1 + log_link(self.log_df, RATE).exp()
        return distributions.StudentT(df, normal.loc, normal.scale)
