"""The values that a distribution can give."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Independent, MixtureSameFamily, constraints

ANGLES = (dist.VonMises, dist.SineBivariateVonMises, dist.SineSkewed)


def support_of(fn: Any) -> Any:
    """A distribution's support: of an angle once round the circle, which torch takes for the real line."""
    part = fn
    while isinstance(part, (Independent, MixtureSameFamily, dist.MaskedDistribution)):
        part = (
            part.component_distribution if isinstance(part, MixtureSameFamily) else part.base_dist
        )
    if not isinstance(part, ANGLES):
        return fn.support
    circle: Any = constraints.interval(-math.pi, math.pi)
    return constraints.independent(circle, fn.event_dim) if fn.event_dim else circle


def where_within(fn: Any, value: Tensor, log_prob: Tensor) -> Tensor:
    """A log-density that is minus infinity outside of the support, where a formula may say anything."""
    return torch.where(support_of(fn).check(value), log_prob, -math.inf)
