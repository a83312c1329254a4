"""One factor of a guide: a normal distribution with free parameters in each cell of a latent's plates."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae.guides.latent import Latent, with_prior
from pyro_vae.links import SCALE, log_link

# A cell sees less than what all cells share, so it stays closer to the prior.
START, GAIN = 0.1, 3.0
FEATURES = 4  # of what a latent depends on, besides these numbers themselves


class FreeFactor(nn.Module):
    """Give a latent, in each cell of its plates, a normal distribution with parameters of its own.

    Of what the latent depends on, e, the features are f = (e, tanh(W e + w)). In cell c, coordinates have
    the mean a_c + s_c A_c f and the standard deviation s_c exp(B_c f). (a_c and s_c are in units of the
    prior's location and scale. A coordinate's covariances with others of its cell do not depend on f.)
    Where the prior is normal given e, this is what the data say, and the prior is multiplied by it
    (:func:`pyro_vae.guides.latent.with_prior`).

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
        self.shapes = nn.Parameter(
            location.new_zeros(2, *latent.cells, latent.coordinates.num_shaped)
        )
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
        for slopes in (self.below, self.shapes, self.mean_slopes, self.scale_slopes):
            slopes.zero_()

    def forward(
        self, inputs: Tensor | None, prior: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Any, Tensor, Tensor]:
        """Return the latent's distribution, and mean and standard deviation of its coordinates.

        Args:
            inputs: e, ``particles, cells | in_dim``, with 1 for cells that share it.
            prior: mean and standard deviation of the coordinates given e, ``particles, cells | D``.
        """
        mean = self.location + GAIN * self.unit * self.mean
        log_scale = log_link(GAIN * self.log_scale, SCALE)
        scale = self.unit * log_scale.exp()
        if inputs is not None and self.hidden is not None:
            features = torch.cat([inputs, self.hidden(inputs).tanh()], -1)
            mean_slopes, scale_slopes = GAIN * self.mean_slopes, GAIN * self.scale_slopes
            mean = mean + scale * torch.einsum("...f,...df->...d", features, mean_slopes)
            log_scale = log_scale + torch.einsum("...f,...df->...d", features, scale_slopes)
        mean, scale = with_prior(prior, mean, self.unit * log_link(log_scale, SCALE).exp())
        raw = self.below.expand(*mean.shape[:-1], -1) if self.below.shape[-1] else None
        skew, log_tail = (GAIN * self.shapes).unbind()
        shapes = (skew, log_tail) if skew.shape[-1] else None
        return self.latent.coordinates.distribution(mean, scale, raw, shapes), mean, scale
