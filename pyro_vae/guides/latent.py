"""A latent of a guide: its unconstrained coordinates, its plates, and where its prior lies."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import (
    AffineTransform,
    ComposeTransform,
    IndependentTransform,
    ReshapeTransform,
    Transform,
    identity_transform,
)

from pyro_vae.distributions import SinhArcsinh
from pyro_vae.errors import InputError
from pyro_vae.guides.own_family import Family, own_family
from pyro_vae.guides.within import MOST, Within
from pyro_vae.program.bijections import biject
from pyro_vae.program.unconstrained import known_support
from pyro_vae.program.wrappers import SHAPES_AND_MASKS, inside

FULL_COVARIANCE = 64  # coordinates, up to which a factor has all their covariances
MOST_SHAPE = 1.5  # of a skew, and of the log of a tail
SLOW = Within(-MOST, MOST)  # of dependences, in units of a scale
ROUNDINGS = 4.0  # of a mean, that a standard deviation has at least


@dataclass(frozen=True)
class LatentCoordinates:
    """Map a latent to unconstrained coordinates ``batch | D``, and their distribution to the latent's.

    Attributes:
        bijection: from unconstrained values to the latent's support.
        shape: the event shape of unconstrained values.
        event_dim: of the latent's own values.
        family: the prior's own, if a factor takes it in place of a normal distribution.
        is_log_normal: whether the coordinates are normal under the prior.
        within: where numbers can hold a value, once it is known where its prior lies.
    """

    bijection: Transform
    shape: torch.Size
    event_dim: int
    family: Family | None = None
    is_log_normal: bool = False
    within: Within | None = None

    @classmethod
    def of(cls, name: str, fn: Any) -> "LatentCoordinates":
        """Return the coordinates of the latent with a prior ``fn``.

        Raises:
            InputError: the prior is discrete, or its support is not one for all units.
        """
        support = known_support(name, fn)
        if support.is_discrete:
            raise InputError(
                f"latent {name!r} is discrete, and the guide draws continuous latents",
                subject=name,
                expected="a continuous prior",
                remedy='have it summed out: infer={"enumerate": "parallel"} in the model',
            )
        bijection = biject(_of_one_unit(name, support))
        shape = torch.Size(bijection.inverse_shape(fn.event_shape))
        is_log_normal = isinstance(inside(fn, SHAPES_AND_MASKS), dist.LogNormal)
        return cls(bijection, shape, len(fn.event_shape), own_family(fn), is_log_normal)

    @cached_property
    def transform(self) -> Transform:
        """The map from coordinates to the support, which keeps values where numbers hold them."""
        if self.within is None:
            return self.bijection
        return ComposeTransform([self.within, self.bijection])

    @property
    def size(self) -> int:
        """D, the number of coordinates."""
        return self.shape.numel()

    @property
    def num_correlated(self) -> int:
        """The number of coordinates that have covariances with each other."""
        return self.size if self.size <= FULL_COVARIANCE and self.family is None else 0

    @property
    def num_shaped(self) -> int:
        """The number of coordinates with a skew and tails of their own.

        A density that does not vanish at a bound has exponential tails in the coordinates.
        """
        return 0 if self.is_identity or self.is_log_normal or self.family is not None else self.size

    @property
    def is_identity(self) -> bool:
        transform: Any = self.bijection
        while isinstance(transform, IndependentTransform):
            transform = transform.base_transform
        return bool(transform == identity_transform)

    @property
    def description(self) -> str:
        """The family of a factor in words."""
        if self.family is not None:
            name = self.family.__name__.replace("_", " ")
            return name if self.size == 1 else f"{self.size} independent {name}"
        words = "normal" if self.is_identity else "transformed normal"
        if self.num_shaped:
            words = "transformed normal with skew"
        if self.size == 1:
            return words
        covariance = "full" if self.size <= FULL_COVARIANCE else "diagonal"
        return f"{words} of {self.size} dimensions, {covariance} covariance"

    def same_support(self, other: "LatentCoordinates", device: torch.device) -> bool:
        """Return whether other coordinates, on the same device, lead to the same values."""
        if self.shape != other.shape:
            return False
        points = torch.linspace(-1.5, 2.0, 5 * self.size, device=device).reshape(5, *self.shape)
        return torch.equal(self.transform(points), other.transform(points))

    def __call__(self, value: Tensor) -> Tensor:
        """Return a value's coordinates, ``batch | D``, as if ``within`` had no bounds."""
        free = self.bijection.inv(value)
        return free.reshape(*free.shape[: free.dim() - len(self.shape)], self.size)

    def prior_of(self, fn: Any) -> tuple[Tensor, Tensor] | None:
        """Return mean and standard deviation of the coordinates under a prior, ``batch | D``.

        None where its coordinates are not normal, or depend on each other, or have a family of their own.
        """
        base = None if self.family is not None else inside(fn, SHAPES_AND_MASKS)
        if not isinstance(base, (dist.Normal, dist.LogNormal)):
            return None
        shape, flat = (*fn.batch_shape, *fn.event_shape), (*fn.batch_shape, self.size)
        return base.loc.expand(shape).reshape(flat), base.scale.expand(shape).reshape(flat)

    def distribution(
        self,
        loc: Tensor,
        scale: Tensor,
        raw_tril: Tensor | None,
        raw_shapes: tuple[Tensor, Tensor] | None = None,
    ) -> Any:
        """Return the distribution of the latent: of its family, or else with normal coordinates.

        Args:
            loc: means, ``batch | D``.
            scale: the Cholesky factor's diagonal, ``batch | D``.
            raw_tril: its rows below the diagonal, ``batch | D (D - 1) / 2``, each in units of its own
                diagonal, so that narrow distributions keep their precision; None for independent ones.
            raw_shapes: skews and logs of tails, ``batch | D``; None for normal coordinates.
        """
        if self.family is not None:
            loc = loc if self.within is None else self.within(loc)
            loc, scale = (x.reshape((*x.shape[:-1], *self.shape)) for x in (loc, scale))
            return self.family(loc, scale).to_event(len(self.shape))
        # the density of a draw takes its coordinates from the cache: those found from the value are rounded
        parts: list[Transform] = [] if self.is_identity else [self.transform.with_cache(1)]
        if len(self.shape) > 1:
            parts.insert(0, ReshapeTransform(torch.Size((self.size,)), self.shape))
        unit_tril = torch.ones_like(scale)
        if raw_tril is not None and self.size > 1:
            unit_tril = lower_triangular(unit_tril, SLOW(raw_tril / math.sqrt(self.size)))
        if self.is_identity:  # a draw is rounded as its mean is: closer to it, log q would be wrong
            scale = torch.hypot(scale, _rounding(loc, unit_tril))
        loc, scale = self._number(loc), self._number(scale)
        if raw_shapes is not None:
            skew, log_tail = (self._number(x) for x in raw_shapes)
            parts = [skewed(skew, log_tail), AffineTransform(loc, scale, cache_size=1), *parts]
            loc, scale = torch.zeros_like(loc), torch.ones_like(scale)
        base: Any
        if self.shape == ():
            base = dist.Normal(loc, scale)
        elif unit_tril.dim() > scale.dim():
            base = dist.MultivariateNormal(loc, scale_tril=scale.unsqueeze(-1) * unit_tril)
        else:
            base = dist.Normal(loc, scale).to_event(1)
        return dist.TransformedDistribution(base, parts) if parts else base

    def _number(self, x: Tensor) -> Tensor:
        """Return ``batch | 1`` as ``batch |`` for latents that are numbers."""
        return x.squeeze(-1) if self.shape == () else x


@torch.no_grad()
def _rounding(loc: Tensor, unit_tril: Tensor) -> Tensor:
    """Return how far draws have to spread, so that their rounding hardly counts in log q.

    Dependences multiply it: noise is found from a draw by the inverse of the unit triangle.
    """
    eps = torch.finfo(loc.dtype).eps
    rounding = ROUNDINGS * eps * loc
    if unit_tril.dim() == loc.dim():
        return rounding
    one = torch.eye(loc.shape[-1], dtype=loc.dtype, device=loc.device)
    inverse = torch.linalg.solve_triangular(unit_tril, one, upper=False, unitriangular=True)
    return rounding * inverse.abs().sum(-1).amax(-1, keepdim=True).clamp(max=1 / (ROUNDINGS * eps))


def skewed(raw_skew: Tensor, raw_log_tail: Tensor) -> SinhArcsinh:
    """Return a map that gives a distribution a skew, and tails that are as heavy or heavier.

    Lighter ones would fit the middle of a posterior better, and leave a few draws with large weights.
    """
    skew = MOST_SHAPE * (raw_skew / MOST_SHAPE).tanh()
    tail = (-MOST_SHAPE * (raw_log_tail - 3).sigmoid()).exp()  # 0.93 to start with
    return SinhArcsinh(skew, tail, cache_size=1)


def with_prior(
    prior: tuple[Tensor, Tensor] | None, loc: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of prior(z) Normal(z; loc, scale), once it integrates to 1.

    So a factor of a conjugate model only has to know what the data say, however the prior moves with the
    latents that were drawn before.

    Args:
        prior: mean p and standard deviation s of a normal prior; None for a flat one.
        loc: where the data put z.
        scale: how precisely they do.

    >>> mean, sd = with_prior((torch.tensor(0.0), torch.tensor(1.0)), torch.tensor(4.0), torch.tensor(1.0))
    >>> f"{mean.item():.2f} {sd.item() ** 2:.2f}"
    '2.00 0.50'
    """
    if prior is None:
        return loc, scale
    mean, sd = prior
    both = torch.hypot(sd, scale)
    return loc + (scale / both).square() * (mean - loc), sd * (scale / both)


def lower_triangular(diagonal: Tensor, below: Tensor) -> Tensor:
    """Return matrices ``batch | D, D`` with this diagonal, and these numbers below it, row by row."""
    size = diagonal.shape[-1]
    rows, columns = torch.tril_indices(size, size, -1, device=diagonal.device)
    below = below.expand(*diagonal.shape[:-1], len(rows))
    # not written in place, which would keep graphs from merging what is computed twice
    matrix = diagonal.diag_embed().flatten(-2).index_copy(-1, size * rows + columns, below)
    return matrix.unflatten(-1, (size, size))


def _of_one_unit(name: str, support: Any, event_dims: int = 0) -> Any:
    """Return a support whose bounds have no batch dimensions, since all units share them.

    Raises:
        InputError: units have different bounds.
    """
    if isinstance(support, constraints.independent):
        dims = support.reinterpreted_batch_ndims
        base = _of_one_unit(name, support.base_constraint, event_dims + dims)
        return constraints.independent(base, dims)
    support = copy.copy(support)
    for attribute, bound in vars(support).items():
        if not isinstance(bound, Tensor) or bound.dim() <= event_dims:
            continue
        rows = bound.flatten(0, bound.dim() - event_dims - 1)
        if not bool((rows == rows[:1]).all()):
            raise InputError(
                f"latent {name!r} has another support in each unit ({support})",
                subject=name,
                expected="one support for all units",
                remedy=f"draw {name!r} from (0, 1), say, and scale it in the model",
            )
        setattr(support, attribute, rows[0])
    return support


@dataclass(frozen=True)
class Latent:
    """Hold what a guide knows of a latent.

    Attributes:
        coordinates: its unconstrained coordinates.
        frames: its plates, from the outermost on.
        depth: how many batch dimensions it has.
        location: the prior's median of each coordinate, (D,).
        scale: half the distance of its 16% and 84% quantiles, the standard deviation of a normal one.
    """

    coordinates: LatentCoordinates
    frames: Sequence[Any]
    depth: int
    location: Tensor
    scale: Tensor

    @property
    def plates(self) -> tuple[str, ...]:
        return tuple(frame.name for frame in self.frames)

    @property
    def cells(self) -> tuple[int, ...]:
        """The sizes of the plates' dimensions, from the leftmost on; 1 where no plate is."""
        return self.cells_in(self.depth)

    @property
    def num_cells(self) -> int:
        return math.prod(self.cells)

    @property
    def size(self) -> int:
        """The number of coordinates of all cells together."""
        return self.num_cells * self.coordinates.size

    def cells_in(self, depth: int, without: int | None = None) -> tuple[int, ...]:
        """Return the sizes of ``depth`` dimensions; but for that of the units' plate, if ``without`` it."""
        sizes = {frame.dim: frame.size for frame in self.frames}
        return tuple(sizes.get(dim, 1) for dim in range(-depth, 0) if dim != without)

    def lies_in(self, other: "Latent") -> bool:
        """Return whether each cell of this latent lies in one cell of the other."""
        return set(other.plates) <= set(self.plates)
