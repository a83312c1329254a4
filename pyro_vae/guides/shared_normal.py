"""The joint normal distribution of latents that all units share."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from pyro.infer.autoguide import AutoContinuous
from torch import Tensor, nn

from pyro_vae.distributions import LowRankMultivariateNormal
from pyro_vae.guides.amortized_factor import lower_triangular
from pyro_vae.links import SCALE, log_link

FULL_COVARIANCE = 200  # coordinates, up to which all their covariances are learnt
START = 0.1  # of the scale, as a share of the prior's
# One step of an optimizer moves a parameter by about the learning rate. A mean has to go several of the
# prior's standard deviations, in steps whose size suits a network's weights.
GAIN = 10.0


class SharedNormal(AutoContinuous):
    """Draw latents from one normal distribution in unconstrained coordinates, with free parameters.

    Up to 200 coordinates have all their covariances, more of them a covariance of low rank.

    Args:
        model: has these latents and no other ones.
        location: where the mean starts, such as the prior's, (D,).
        scale: the unit of each coordinate, such as the prior's standard deviation.
    """

    def __init__(self, model: Any, location: Tensor, scale: Tensor) -> None:
        super().__init__(model)
        size = len(location)
        self.register_buffer("location", location)
        self.register_buffer("unit", scale)
        self.mean = nn.Parameter(location.new_zeros(size))
        self.log_scale = nn.Parameter(location.new_full((size,), math.log(START) / GAIN))
        below = location.new_zeros(size * (size - 1) // 2)
        low_rank = 1e-3 * torch.randn(size, round(size**0.5), device=location.device)
        self.covariance = nn.Parameter(below if self.is_full else low_rank)

    @property
    def is_full(self) -> bool:
        """Whether the distribution has all covariances."""
        return len(self.location) <= FULL_COVARIANCE

    def get_posterior(self, *args: Any, **kwargs: Any) -> Any:
        """Return the distribution of the coordinates."""
        loc = self.location + GAIN * self.unit * self.mean
        scale = self.unit * log_link(GAIN * self.log_scale, SCALE).exp()
        if self.is_full:
            # rows below the diagonal are in units of their own scale
            tril = lower_triangular(torch.ones_like(scale), GAIN * self.covariance)
            return dist.MultivariateNormal(loc, scale_tril=scale.unsqueeze(-1) * tril)
        return LowRankMultivariateNormal(
            loc, self.unit.unsqueeze(-1) * self.covariance, scale.square()
        )
