"""A map that gives a distribution skew and other tails, number by number."""

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform


class SinhArcsinh(Transform):
    """Map e to sinh((arcsinh(e) + skew) / tail).

    Of a normal e, the result is normal for skew = 0 and tail = 1. Positive skews lengthen the right tail;
    tails below 1 are heavier: log-densities fall like |x|^(2 tail), so 1/2 gives exponential ones.

    Args:
        skew: ``batch |``.
        tail: positive, ``batch |``.
        cache_size: 1 to keep the last result, whose inverse then is exact.

    Source: M. C. Jones, A. Pewsey, "Sinh-arcsinh distributions", Biometrika 96, 2009,
    https://doi.org/10.1093/biomet/asp053.

    >>> e = torch.tensor([-1.0, 0.0, 2.0])
    >>> SinhArcsinh(torch.zeros(3), torch.ones(3))(e)
    tensor([-1.,  0.,  2.])
    >>> skewed = SinhArcsinh(torch.tensor(0.5), torch.tensor(0.8))
    >>> torch.allclose(skewed.inv(skewed(e)), e, atol=1e-5)
    True
    """

    domain = constraints.real
    codomain = constraints.real
    bijective = True
    sign = 1

    def __init__(self, skew: Tensor, tail: Tensor, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.skew, self.tail = skew, tail

    def with_cache(self, cache_size: int = 1) -> "SinhArcsinh":
        return (
            self
            if cache_size == self._cache_size
            else SinhArcsinh(self.skew, self.tail, cache_size)
        )

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, SinhArcsinh) and torch.equal(self.skew, other.skew)
        return same and torch.equal(self.tail, other.tail)

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return ((x.asinh() + self.skew) / self.tail).sinh()

    def _inverse(self, y: Tensor) -> Tensor:
        return (y.asinh() * self.tail - self.skew).sinh()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return (y.square().log1p() - x.square().log1p()) / 2 - self.tail.log()
