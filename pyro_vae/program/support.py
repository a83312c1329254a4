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
    """Return a distribution's support; of an angle the circle, where torch has the real line."""
    if not _is_angle(fn):
        return fn.support
    circle: Any = constraints.interval(-math.pi, math.pi)
    return constraints.independent(circle, fn.event_dim) if fn.event_dim else circle


def _is_angle(fn: Any) -> bool:
    fn = inside(fn)
    if isinstance(fn, MixtureSameFamily):
        return _is_angle(fn.component_distribution)
    return isinstance(fn, ANGLES)


def where_within(fn: Any, value: Tensor, log_prob: Tensor) -> Tensor:
    """Return minus infinity outside the support, where a density's formula may give any number."""
    return torch.where(support_of(fn).check(value), log_prob, -math.inf)
