"""A guide without a density: a function of data and noise."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vae.errors import at_least_1, sizes
from pyro_vae.guides.guide import AmortizedGuide
from pyro_vae.networks import MLP, NetworkFactory, Shape


class Implicit(AmortizedGuide):
    """Draw z = encoder(x, e) with e ~ Normal(0, I): q(z | x) can be drawn from, and not be scored.

    It may have any shape, as long as the network makes it. The distribution that it returns is a point, the
    draw itself. ``AVB``, ``AAE`` and ``BiGAN`` train it; an ELBO would find its best point.

    Args:
        data_shape: shape of x.
        latent_dim: size Z of z.
        encoder: makes the network from the size of x and e, joined to a vector, and (Z,).
        noise_dim: size of e; Z by default.

    Raises:
        InputError: a size is below 1, or the encoder has other shapes.

    >>> guide = Implicit((1, 4, 4), 2)
    >>> x = torch.zeros(5, 1, 4, 4)
    >>> bool((guide(x).sample() != guide(x).sample()).all())
    True
    """

    def __init__(
        self,
        data_shape: Shape,
        latent_dim: int,
        encoder: NetworkFactory = MLP,
        noise_dim: int | None = None,
    ) -> None:
        shape = sizes("data_shape", data_shape)
        size = at_least_1("noise_dim", latent_dim if noise_dim is None else noise_dim)
        super().__init__((math.prod(shape) + size,), latent_dim, encoder)
        self.data_shape, self.noise_dim = shape, size

    def parameter_shape(self) -> Shape:
        return (self.latent_dim,)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        batch = x.shape[: x.dim() - len(self.data_shape)]
        noise = torch.randn(*batch, self.noise_dim, dtype=x.dtype, device=x.device)
        z = self.encoder(torch.cat([x.reshape(*batch, -1), noise], -1))
        return dist.Delta(z, event_dim=1)
