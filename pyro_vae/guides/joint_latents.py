"""One distribution of latents that all units share."""

import math
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.util import sum_rightmost
from torch import Tensor, nn
from torch.distributions.transforms import AffineTransform

from pyro_vae.distributions import LowRankMultivariateNormal
from pyro_vae.guides.family_factor import free_guide
from pyro_vae.guides.guide import GuideFactory
from pyro_vae.guides.latent import Latent, lower_triangular, skewed
from pyro_vae.links import SCALE, log_link

JOINT_COVARIANCE = 200  # coordinates, up to which all their covariances are learnt
START = 0.01  # of the scale, as a share of the prior's
START_OF_FAMILY = 0.5  # wide enough to find several modes
# One step of an optimizer moves a parameter by about the learning rate. A mean has to go several of the
# prior's standard deviations, in steps whose size suits a network's weights.
GAIN = 10.0


class SkewedStudentT(dist.TransformedDistribution):
    """Name a Student t distribution whose coordinates have skews and tails of their own."""


class JointLatents(nn.Module):
    """Draw latents from one distribution in unconstrained coordinates, with free parameters.

    The coordinates are drawn as the auxiliary site ``_shared``, and each latent is a point there. Up to 200
    coordinates, D, have a Student t distribution with all their covariances and 5 D + 10 degrees of
    freedom: it costs about 0.01 nats where the posterior is normal, and bounds the weights where the
    posterior's tails are heavier. Each coordinate then gets a skew and tails of its own
    (:class:`pyro_vae.distributions.SinhArcsinh`): the logarithm of a spread that may be near 0 has an
    exponential tail. More coordinates have a normal distribution, whose covariance is of low rank. With a
    family, coordinates are mean + scale * e, and e has the distribution of the family's guide.

    Args:
        latents: by name; the mean starts at their priors' location, and their scale is the unit.
        nesting: the number of dimensions of the program's plates.
        family: makes the guide of e from an input shape, the number of coordinates and a network.
    """

    location: Tensor
    unit: Tensor

    def __init__(
        self,
        latents: Mapping[str, Latent],
        nesting: int,
        family: GuideFactory | None = None,
    ) -> None:
        super().__init__()
        self.latents, self.nesting = dict(latents), nesting
        location = torch.cat([each.location.repeat(each.num_cells) for each in latents.values()])
        scale = torch.cat([each.scale.repeat(each.num_cells) for each in latents.values()])
        size = len(location)
        self.register_buffer("location", location)
        self.register_buffer("unit", scale)
        self.mean = nn.Parameter(location.new_zeros(size))
        self.guide = None if family is None else free_guide(family, size=size).to(location.device)
        self.start = math.log(START if family is None else START_OF_FAMILY) / GAIN
        self.log_scale = nn.Parameter(location.new_full((size,), self.start))
        if self.guide is not None:
            return
        below = location.new_zeros(size * (size - 1) // 2)
        low_rank = 1e-3 * torch.randn(size, round(size**0.5), device=location.device)
        self.covariance = nn.Parameter(below if self.is_full else low_rank)
        num_shapes = size if self.is_full else 0
        self.skew = nn.Parameter(location.new_zeros(num_shapes))
        self.log_tail = nn.Parameter(location.new_zeros(num_shapes))

    @property
    def is_full(self) -> bool:
        """Whether it is the Student t distribution, with all covariances."""
        return self.guide is None and len(self.location) <= JOINT_COVARIANCE

    @property
    def description(self) -> str:
        """The distribution in words."""
        if self.guide is not None:
            return type(self.guide).__name__
        full, low_rank = (
            "skewed Student t with full covariance",
            "normal with covariance of low rank",
        )
        return full if self.is_full else low_rank

    def distribution(self) -> Any:
        """Return the distribution of the coordinates, in the latents' order."""
        loc = self.location + GAIN * self.unit * self.mean
        scale = self.unit * log_link(GAIN * self.log_scale, SCALE).exp()
        if self.guide is not None:
            e = self.guide(loc.new_zeros(1))
            affine = AffineTransform(loc, scale, event_dim=1, cache_size=1)
            return dist.TransformedDistribution(e, [affine])
        if not self.is_full:
            factor = self.unit.unsqueeze(-1) * self.covariance
            return LowRankMultivariateNormal(loc, factor, scale.square())
        # Rows below the diagonal are in units of their own scale. A step of an optimizer moves each of
        # the D numbers in a row: their sum must not jump.
        below = GAIN / math.sqrt(len(loc)) * self.covariance
        df = loc.new_full((), 5.0 * len(loc) + 10.0)
        tril = lower_triangular(torch.ones_like(scale), below)
        shape = skewed(GAIN * self.skew, GAIN * self.log_tail)
        return SkewedStudentT(
            dist.MultivariateStudentT(df, torch.zeros_like(loc), tril),
            [shape, AffineTransform(loc, scale, cache_size=1)],
        )

    def _standardised(self, q: Any, drawn: Tensor) -> Tensor:
        """Return coordinates less their location, in units of about their standard deviation."""
        if self.guide is not None:
            (affine,) = q.transforms
            return (drawn - affine.loc) / affine.scale
        if not self.is_full:
            return (drawn - q.loc) / q.stddev
        _, affine = q.transforms
        return (drawn - affine.loc) / (affine.scale * q.base_dist.scale_tril.norm(dim=-1))

    def start_at(self, values: Mapping[str, Tensor]) -> None:
        """Move the mean to the latents' values."""
        free = [each.coordinates(values[n]).flatten() for n, each in self.latents.items()]
        self.mean.copy_((torch.cat(free) - self.location) / (GAIN * self.unit))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start anew: at a draw of a normal distribution with the priors' location and scale."""
        self.mean.normal_(0.0, 1 / GAIN)
        self.log_scale.fill_(self.start)
        if self.guide is not None:
            return  # whose own modules start anew, too
        if self.is_full:
            for each in (self.covariance, self.skew, self.log_tail):
                each.zero_()
        else:
            self.covariance.normal_(0.0, 1e-3)

    def forward(self, plates: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Draw the latents in these plates; return them and their standardised coordinates by name.

        The coordinates, ``particles, cells | D``, have mean 0 and scale 1.
        """
        q = self.distribution()
        drawn = pyro.sample("_shared", q, infer={"is_auxiliary": True})
        sizes = [latent.size for latent in self.latents.values()]
        values, standardised = {}, {}
        for (name, latent), part, noise in zip(
            self.latents.items(),
            drawn.split(sizes, -1),
            self._standardised(q, drawn).split(sizes, -1),
            strict=True,
        ):
            with ExitStack() as stack:
                for plate in latent.plates:
                    stack.enter_context(plates[plate])
                values[name] = pyro.sample(name, self._at(latent, self._in_plates(latent, part)))
            standardised[name] = self._in_plates(latent, noise)
        return values, standardised

    def _in_plates(self, latent: Latent, part: Tensor) -> Tensor:
        """Return a latent's numbers ``particles | size`` as ``particles, cells | D``."""
        particles = part.shape[:-1][: max(0, part.dim() - 1 - self.nesting)]
        padding = (1,) * (self.nesting - len(latent.cells)) if particles else ()
        return part.reshape((*particles, *padding, *latent.cells, latent.coordinates.size))

    def _at(self, latent: Latent, free: Tensor) -> Any:
        """Return the point mass of a latent at its coordinates, with the map's density."""
        transform, shape = latent.coordinates.transform, latent.coordinates.shape
        free = free.reshape((*free.shape[:-1], *shape))
        value: Tensor = transform(free)
        log_density = transform.inv.log_abs_det_jacobian(value, free)
        batch_dims = value.dim() - latent.coordinates.event_dim
        log_density = sum_rightmost(log_density, log_density.dim() - batch_dims)
        return dist.Delta(value, log_density=log_density, event_dim=latent.coordinates.event_dim)
