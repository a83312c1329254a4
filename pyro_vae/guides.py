"""Amortised guides q(z | x): an encoder's output, as a distribution over a latent vector."""

import abc

import pyro.distributions as dist
from torch import Tensor, nn

from pyro_vae.networks import MLP, NetworkFactory, Shape


class AmortizedGuide(nn.Module, abc.ABC):
    """``guide(x)`` for x of shape ``batch | data_shape`` is a distribution ``batch | latent_dim``."""

    @abc.abstractmethod
    def forward(self, x: Tensor) -> dist.TorchDistribution: ...


class MeanFieldNormal(AmortizedGuide):
    """q(z | x) = prod_d Normal(z_d | loc_d(x), scale_d(x)), with scale = exp(log_scale).

    >>> MeanFieldNormal((1, 8, 8), 4)(torch.zeros(5, 1, 8, 8)).batch_shape
    torch.Size([5])
    """

    def __init__(self, data_shape: Shape, latent_dim: int, encoder: NetworkFactory = MLP) -> None:
        super().__init__()
        self.encoder = encoder(data_shape, (2, latent_dim))

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        loc, log_scale = self.encoder(x).unbind(-2)  # (B | Z) each
        return dist.Normal(loc, log_scale.exp()).to_event(1)
