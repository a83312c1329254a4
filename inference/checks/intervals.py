"""The interval that holds each number of a distribution's values, by how the distribution is built."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import MixtureSameFamily, TransformedDistribution, constraints
from torch.distributions.transforms import (
    AbsTransform,
    ComposeTransform,
    IndependentTransform,
    Transform,
)

from pyro_vae.program.support import support_of
from pyro_vae.program.wrappers import inside

ROUNDING = 1e-5  # of an interval, at most of 1: closer ends are the same
PROBES, EDGE_DRAWS = 1200, 16  # to find values beyond an end
REACH_DRAWS = 64  # of a flow's base
REACH_FACTORS = (1.0, 10.0, 100.0, 1000.0)  # that these draws are multiplied by


@dataclass(frozen=True)
class Range:
    """Hold the ends, perhaps infinite, of an interval; their shape broadcasts to the values'."""

    lower: Tensor
    upper: Tensor


def range_of(fn: Any, device: torch.device) -> Range | None:
    """Return the range of a distribution's values; None if unknown, or no interval, as on a simplex."""
    fn = inside(fn)
    if isinstance(fn, MixtureSameFamily):
        part = fn.component_distribution
        each = range_of(part, device)
        shape, dim = part.batch_shape + part.event_shape, -1 - len(part.event_shape)
        return each and Range(
            each.lower.expand(shape).amin(dim), each.upper.expand(shape).amax(dim)
        )
    if is_plainly_transformed(fn):
        return _image(fn.transforms, range_of(fn.base_dist, device))
    with contextlib.suppress(NotImplementedError):
        return _range_of_support(support_of(fn), device)
    return None


def declared_range(fn: Any, device: torch.device) -> Range | None:
    """Return the range of the declared support: torch does not follow values through transforms."""
    return _range_of_support(support_of(fn), device)


def reaches_beyond(fn: Any, own: Range, other: Range, value: Tensor, least: float) -> bool:
    """Return whether a distribution has more than some probability outside another's range.

    Its own range does not decide that alone: it may have been declared wider than it is.

    Args:
        fn: the distribution.
        own: its range.
        other: the other's range.
        value: a value within both ranges.
        least: the log of that probability.
    """
    part = inside(fn)
    gaps = _gaps(own, other)
    return any(_reaches(part, sign, edge, end, value, least) for sign, edge, end in gaps)


def goes_beyond(own: Range, other: Range) -> bool:
    return bool(_gaps(own, other))


def _gaps(own: Range, other: Range) -> list[tuple[int, Tensor, Tensor]]:
    """Return the sides (1 above, -1 below) on which a range goes beyond another, with the gap's ends."""
    width = (other.upper - other.lower).clamp(max=1.0)
    gaps = []
    for sign, edge, end in ((1, other.upper, own.upper), (-1, other.lower, own.lower)):
        slack = ROUNDING * (width + edge.abs() / 10)
        if (sign * (end - edge) > slack).any():
            gaps.append((sign, edge + sign * slack, end))
    return gaps


def _reaches(fn: Any, sign: int, edge: Tensor, end: Tensor, value: Tensor, least: float) -> bool:
    """Try draws, and log-densities at growing distances from the edge, as far as the end."""
    if isinstance(fn, dist.ImproperUniform):  # all values count
        return True
    value, edge, _ = torch.broadcast_tensors(value, edge, value.new_empty(fn.shape()))
    if ((fn.sample((EDGE_DRAWS,)) - edge) * sign > 0).any():
        return True
    steps = torch.logspace(-8, 8, PROBES, device=value.device)
    if fn.support.is_discrete:
        steps, edge = steps.clamp(min=1).round().unique(), (edge * sign).floor() * sign
    probes = edge + sign * steps.reshape(-1, *[1] * edge.dim())
    in_gap = (probes - end) * sign <= 0
    probes = torch.where(in_gap, probes, value.to(probes.dtype))
    log_density = fn.log_prob(probes)
    log_mass = log_density + steps.log().reshape(-1, *[1] * (log_density.dim() - 1))
    for _ in range(fn.event_dim):
        in_gap = in_gap.any(-1)
    return bool(((log_mass > least) & in_gap).any())


def reach_of(fn: Any) -> Range | None:
    """Return how far a flow's values reach, by draws of its base that are also sent far out.

    A flow declares that it fills a space, and one that ends in bounded units (tanh) does not. None for any
    other distribution, such as one on a simplex, whose map is known to cover it.
    """
    fn = inside(fn)
    if not isinstance(fn, TransformedDistribution) or not any(
        cast(Any, t.domain).event_dim for t in fn.transforms
    ):
        return None
    support: Any = fn.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    if support is not constraints.real:
        return None
    with contextlib.suppress(Exception):  # the base may have no draws, or no support
        base = fn.base_dist.sample(torch.Size((REACH_DRAWS,)))
        value = torch.cat([base * factor for factor in REACH_FACTORS])
        for transform in fn.transforms:
            value = transform(value)
        value = value.nan_to_num(0.0)
        return Range(value.amin(0), value.amax(0))
    return None


def is_plainly_transformed(fn: Any) -> bool:
    """Return whether a transformed distribution has the support that its base and transforms give it.

    HalfNormal, say, declares its own: undoing the absolute value would show nothing.
    """
    plain = TransformedDistribution.support
    return isinstance(fn, TransformedDistribution) and type(fn).support is plain


def _range_of_support(support: Any, device: torch.device) -> Range | None:
    while isinstance(support, constraints.independent) or hasattr(support, "base_constraint"):
        support = cast(Any, support).base_constraint
    if support.event_dim:
        return None
    if support is constraints.boolean:
        low, high = 0.0, 1.0
    elif support is constraints.real:
        low, high = -torch.inf, torch.inf
    elif hasattr(support, "lower_bound") or hasattr(support, "upper_bound"):
        low = getattr(support, "lower_bound", -torch.inf)
        high = getattr(support, "upper_bound", torch.inf)
    else:
        return None
    dtype = torch.get_default_dtype()
    lower, upper = (torch.as_tensor(end, device=device) for end in (low, high))
    return Range(*(x if x.is_floating_point() else x.to(dtype) for x in (lower, upper)))


def _image(transforms: Iterable[Transform], of: Range | None) -> Range | None:
    for transform in transforms:
        if of is None:
            return None
        if isinstance(transform, ComposeTransform):
            of = _image(transform.parts, of)
        elif isinstance(transform, IndependentTransform):
            of = _image([transform.base_transform], of)
        elif isinstance(transform, AbsTransform):
            ends = torch.stack(torch.broadcast_tensors(of.lower, of.upper)).abs()
            crosses = (of.lower < 0) & (of.upper > 0)
            of = Range(torch.where(crosses, 0.0, ends.amin(0)), ends.amax(0))
        else:
            of = _of_one(transform, of)
    return of


def _of_one(transform: Transform, of: Range) -> Range | None:
    domain, codomain = (
        _range_of_support(end, of.lower.device) for end in (transform.domain, transform.codomain)
    )
    # a transform that mixes numbers has a known range only if it maps all numbers onto all
    if cast(Any, transform.domain).event_dim:
        whole = (x is not None and not x.lower.isfinite().any() for x in (domain, codomain, of))
        return codomain if all(whole) and not of.upper.isfinite().any() else None
    if not transform.bijective:
        return None
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        ends = torch.stack(torch.broadcast_tensors(transform(of.lower), transform(of.upper)))
        return None if ends.isnan().any() else Range(ends.amin(0), ends.amax(0))
    return None
