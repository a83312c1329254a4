"""Guides with several modes."""

import pyro.distributions as dist
from torch import Tensor

from pyro_vae.distributions import NormalMixture
from pyro_vae.errors import at_least_1
from pyro_vae.guides.guide import AmortizedGuide
from pyro_vae.links import SCALE, log_link
from pyro_vae.networks import MLP, NetworkFactory, Shape


class MixtureNormal(AmortizedGuide):
    """Draw z from a mixture: q(z | x) = sum_k w_k(x) prod_d Normal(z_d | loc_kd(x), scale_kd(x)).

    The draws have pathwise gradients, also for the weights.

    Args:
        data_shape: shape of x.
        latent_dim: size Z of z.
        encoder: makes the network from an input and an output shape.
        num_components: K.

    Raises:
        InputError: ``num_components`` is less than 1.

    Source: A. Graves, "Stochastic backpropagation through mixture density distributions", 2016,
    https://arxiv.org/abs/1607.05690.

    >>> MixtureNormal((6,), 3, num_components=4)(torch.zeros(5, 6)).sample().shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        data_shape: Shape,
        latent_dim: int,
        encoder: NetworkFactory = MLP,
        num_components: int = 2,
    ) -> None:
        self.num_components = at_least_1("num_components", num_components)
        super().__init__(data_shape, latent_dim, encoder)

    def parameter_shape(self) -> Shape:
        return self.num_components, 1 + 2 * self.latent_dim

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        sizes = 1, self.latent_dim, self.latent_dim
        logits, locs, log_scales = self.encoder(x).split(sizes, -1)  # (B | K, ...)
        return NormalMixture(logits.squeeze(-1), locs, log_link(log_scales, SCALE).exp())
