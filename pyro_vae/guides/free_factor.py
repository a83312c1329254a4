"""One factor of a guide: a normal distribution with free parameters in each cell of a latent's plates."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae.guides.latent import Latent
from pyro_vae.links import SCALE, log_link

# A cell sees less than what all cells share, so it stays closer to the prior.
START, GAIN = 0.1, 3.0
FEATURES = 4  # of what a latent depends on, besides these numbers themselves


class FreeFactor(nn.Module):
    """Give a latent, in each cell of its plates, a normal distribution with parameters of its own.

    Of what the latent depends on, e, the features are f = (e, tanh(W e + w)). In cell c, coordinates have
    the mean a_c + s_c A_c f and the standard deviation s_c exp(B_c f). (a_c and s_c are in units of the
    prior's location and scale. A coordinate's covariances with others of its cell do not depend on f.)

    Args:
        latent: its coordinates, plates and prior.
        in_dim: the number of numbers in e.
    """

    location: Tensor
    unit: Tensor

    def __init__(self, latent: Latent, in_dim: int) -> None:
        super().__init__()
        self.latent, size, location = latent, latent.coordinates.size, latent.location
        self.register_buffer("location", location)
        self.register_buffer("unit", latent.scale)
        shape = (*latent.cells, size)
        self.mean = nn.Parameter(location.new_zeros(shape))
        self.log_scale = nn.Parameter(location.new_full(shape, math.log(START) / GAIN))
        correlated = latent.coordinates.num_correlated
        below = correlated * (correlated - 1) // 2
        self.below = nn.Parameter(location.new_zeros(*latent.cells, below))
        self.hidden = nn.Linear(in_dim, FEATURES, device=location.device) if in_dim else None
        num_features = in_dim + FEATURES if in_dim else 0
        self.mean_slopes = nn.Parameter(location.new_zeros(*shape, num_features))
        self.scale_slopes = nn.Parameter(location.new_zeros(*shape, num_features))

    def start_at(self, value: Tensor) -> None:
        """Move the means to the latent's value in each cell."""
        free = self.latent.coordinates(value).reshape(self.mean.shape)
        self.mean.copy_((free - self.location) / (GAIN * self.unit))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start anew: at draws of a normal distribution with the prior's location and scale."""
        self.mean.normal_(0.0, 1 / GAIN)
        self.log_scale.fill_(math.log(START) / GAIN)
        for slopes in (self.below, self.mean_slopes, self.scale_slopes):
            slopes.zero_()

    def forward(self, inputs: Tensor | None) -> tuple[Any, Tensor, Tensor]:
        """Return the latent's distribution, and mean and standard deviation of its coordinates.

        Args:
            inputs: e, ``particles, cells | in_dim``, with 1 for cells that share it.
        """
        mean = self.location + GAIN * self.unit * self.mean
        log_scale = self.unit.log() + log_link(GAIN * self.log_scale, SCALE)
        scale = log_scale.exp()
        if inputs is not None and self.hidden is not None:
            features = torch.cat([inputs, self.hidden(inputs).tanh()], -1)
            mean = mean + scale * torch.einsum("...f,...df->...d", features, self.mean_slopes)
            log_scale = log_scale + torch.einsum("...f,...df->...d", features, self.scale_slopes)
        raw = self.below.expand(*mean.shape[:-1], -1) if self.below.shape[-1] else None
        q = self.latent.coordinates.distribution(mean, log_scale, raw)
        return q, mean, log_link(log_scale, SCALE).exp()
