"""The values that a distribution can give."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import MixtureSameFamily, constraints

from pyro_vae.program.wrappers import inside

ANGLES = (dist.VonMises, dist.SineBivariateVonMises, dist.SineSkewed)


def support_of(fn: Any) -> Any:
    """Return a distribution's support; of an angle the circle, where torch has the real line.

    Raises:
        NotImplementedError: it is not known.
    """
    if not _is_angle(fn):
        flow = vars(inside(fn)).get("dist")  # in Pyro's wrapper of zuko's
        return fn.support if flow is None else _support_of_flow(flow)
    circle: Any = constraints.interval(-math.pi, math.pi)
    return constraints.independent(circle, fn.event_dim) if fn.event_dim else circle


def _support_of_flow(flow: Any) -> Any:
    """Return the support of a distribution of zuko's: a flow from all real numbers has its transform's.

    Raises:
        NotImplementedError: it has none, or the flow is of angles, whose range zuko gives as the real line.
    """
    transform = getattr(flow, "transform", None)
    if transform is None:
        return flow.support
    base = flow.base.support
    while isinstance(base, constraints.independent):
        base = base.base_constraint
    if base is not constraints.real:
        raise NotImplementedError
    return transform.domain


def _is_angle(fn: Any) -> bool:
    fn = inside(fn)
    if isinstance(fn, MixtureSameFamily):
        return _is_angle(fn.component_distribution)
    return isinstance(fn, ANGLES)


def where_within(fn: Any, value: Tensor, log_prob: Tensor) -> Tensor:
    """Return minus infinity outside the support, where a density's formula may give any number."""
    return torch.where(support_of(fn).check(value), log_prob, -math.inf)
