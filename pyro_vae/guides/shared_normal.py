"""The joint normal distribution of latents that all units share."""

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.util import sum_rightmost
from torch import Tensor, nn

from pyro_vae.distributions import LowRankMultivariateNormal
from pyro_vae.guides.amortized_factor import LatentCoordinates, lower_triangular
from pyro_vae.links import SCALE, log_link

FULL_COVARIANCE = 200  # coordinates, up to which all their covariances are learnt
START = 0.1  # of the scale, as a share of the prior's
# One step of an optimizer moves a parameter by about the learning rate. A mean has to go several of the
# prior's standard deviations, in steps whose size suits a network's weights.
GAIN = 10.0


@dataclass(frozen=True)
class SharedLatent:
    """Hold a latent's coordinates, the names of its plates, and the sizes of their dimensions."""

    coordinates: LatentCoordinates
    plates: tuple[str, ...]
    cells: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of coordinates of all cells together."""
        return math.prod(self.cells) * self.coordinates.size


class SharedNormal(nn.Module):
    """Draw latents from one normal distribution in unconstrained coordinates, with free parameters.

    The coordinates are drawn as the auxiliary site ``_shared``, and each latent is a point there. Up to 200
    coordinates have all their covariances, more of them a covariance of low rank.

    Args:
        latents: by name.
        location: where the mean starts, such as the prior's, (D,).
        scale: the unit of each coordinate, such as the prior's standard deviation.
        nesting: the number of dimensions of the program's plates.
    """

    location: Tensor
    unit: Tensor

    def __init__(
        self, latents: Mapping[str, SharedLatent], location: Tensor, scale: Tensor, nesting: int
    ) -> None:
        super().__init__()
        self.latents, self.nesting, size = dict(latents), nesting, len(location)
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

    def distribution(self) -> Any:
        """Return the distribution of the coordinates, in the latents' order."""
        loc = self.location + GAIN * self.unit * self.mean
        scale = self.unit * log_link(GAIN * self.log_scale, SCALE).exp()
        if self.is_full:
            # rows below the diagonal are in units of their own scale
            tril = lower_triangular(torch.ones_like(scale), GAIN * self.covariance)
            return dist.MultivariateNormal(loc, scale_tril=scale.unsqueeze(-1) * tril)
        return LowRankMultivariateNormal(
            loc, self.unit.unsqueeze(-1) * self.covariance, scale.square()
        )

    def forward(self, plates: Mapping[str, Any]) -> dict[str, Tensor]:
        """Draw the latents in these plates, and return them by name."""
        drawn = pyro.sample("_shared", self.distribution(), infer={"is_auxiliary": True})
        parts = drawn.split([latent.size for latent in self.latents.values()], -1)
        pairs = zip(self.latents.items(), parts, strict=True)
        values = {}
        for (name, latent), part in pairs:
            with ExitStack() as stack:
                for plate in latent.plates:
                    stack.enter_context(plates[plate])
                values[name] = pyro.sample(name, self._at(latent, part))
        return values

    def _at(self, latent: SharedLatent, part: Tensor) -> Any:
        """Return the point mass of a latent at its coordinates, with the map's density."""
        transform, shape = latent.coordinates.transform, latent.coordinates.shape
        particles = part.shape[:-1][: max(0, part.dim() - 1 - self.nesting)]
        padding = (1,) * (self.nesting - len(latent.cells)) if particles else ()
        free = part.reshape((*particles, *padding, *latent.cells, *shape))
        value: Tensor = transform(free)
        log_density = transform.inv.log_abs_det_jacobian(value, free)
        batch_dims = value.dim() - latent.coordinates.event_dim
        log_density = sum_rightmost(log_density, log_density.dim() - batch_dims)
        return dist.Delta(value, log_density=log_density, event_dim=latent.coordinates.event_dim)
