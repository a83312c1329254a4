"""Gaussian priors."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae.guides import AmortizedGuide
from pyro_vae.priors.prior import Prior


class StandardNormal(Prior):
    """Draw z from the standard Gaussian: p(z) = Normal(z | 0, I).

    >>> StandardNormal(3)().event_shape
    torch.Size([3])
    """

    zero: Tensor

    def __init__(self, latent_dim: int, guide: AmortizedGuide | None = None) -> None:
        super().__init__(latent_dim, guide)
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        return dist.Normal(self.zero, torch.ones_like(self.zero)).to_event(1)


class LearnedNormal(Prior):
    """Draw z from a learned diagonal Gaussian: p(z) = prod_d Normal(z_d | loc_d, scale_d).

    It starts as Normal(0, I).

    >>> LearnedNormal(3)().base_dist.scale
    tensor([1., 1., 1.], grad_fn=<ExpBackward0>)
    """

    def __init__(self, latent_dim: int, guide: AmortizedGuide | None = None) -> None:
        super().__init__(latent_dim, guide)
        self.loc = nn.Parameter(torch.zeros(latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(latent_dim))

    def forward(self) -> dist.TorchDistribution:
        return dist.Normal(self.loc, self.log_scale.exp()).to_event(1)
