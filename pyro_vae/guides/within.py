"""Keep a latent's coordinates where numbers can hold its value."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from pyro_vae.links import slowed

MOST = 30.0  # of logs and logits: in float32, exp(30) and exp(-30) still have squares
SCALES = 3.0  # of a prior, on each side of its location, that lie within the bounds anyway
ROOM = 20.0  # of logs, between the bounds and the largest and smallest numbers


class Within(Transform):
    """Leave numbers between two bounds as they are, and let them grow like a logarithm beyond.

    A wide normal distribution of a logarithm has draws whose exponential no float32 holds. With this map
    before exp they stay numbers, and the density of the draws is exact, since the map has an inverse:
    y = high + log(1 + x - high) above ``high``, and the same below ``low``.

    >>> far = Within(-30.0, 30.0)(torch.tensor([-2.0, 29.0, 130.0]))
    >>> [f"{y:.2f}" for y in far.tolist()]
    ['-2.00', '29.00', '34.62']
    """

    domain = constraints.real
    codomain = constraints.real
    bijective = True
    sign = 1

    def __init__(self, low: float, high: float, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.low, self.high = low, high

    @classmethod
    def around(cls, location: Tensor, scale: Tensor) -> "Within":
        """Return the map whose bounds are -30 and 30, or beyond a prior that lies further out."""
        finite = torch.finfo(torch.get_default_dtype())
        low = float((location - SCALES * scale).min())
        high = float((location + SCALES * scale).max())
        return cls(
            max(math.log(finite.tiny) + ROOM, min(low, -MOST)),
            min(math.log(finite.max) - ROOM, max(high, MOST)),
        )

    def with_cache(self, cache_size: int = 1) -> "Within":
        return self if cache_size == self._cache_size else Within(self.low, self.high, cache_size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Within) and (self.low, self.high) == (other.low, other.high)

    def _call(self, x: Tensor) -> Tensor:
        return slowed(x, self.low, self.high)

    def _inverse(self, y: Tensor) -> Tensor:
        over, under = self._beyond(y)
        return y.clamp(self.low, self.high) + over.expm1() - under.expm1()

    def log_abs_det_jacobian(self, x: Tensor, y: Any) -> Tensor:
        over, under = self._beyond(x)
        return -(over + under).log1p()

    def _beyond(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.high).relu(), (self.low - x).relu()
