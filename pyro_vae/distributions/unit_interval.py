"""The continuous Bernoulli distribution, exact at any logit.

Torch's own computes its constant from a probability, which float32 rounds to 1 at logits above 16.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from pyro.distributions import constraints
from torch import Tensor

from pyro_vae.distributions.expandable import Expandable

SMALL = 0.2  # below it, slopes of the closed forms lose digits, and the series is exact in float64
SERIES = (1 / 24, -1 / 2880, 1 / 181440, -1 / 9676800)  # log(sinh(l/2) / (l/2)), from l^2 on
SLOPES = tuple(2 * k * c for k, c in enumerate(SERIES, 1))


class ContinuousBernoulli(Expandable):
    """Draw x from [0, 1] with the density p(x) = exp(l x) l / (exp(l) - 1).

    The mass lies at one end. With d the distance from that end and a = |l|, the density is
    exp(-a d) a / (1 - exp(-a)), where nothing cancels.

    Args:
        logits: l, ``batch``.

    Source: G. Loaiza-Ganem, J. P. Cunningham, "The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders", 2019, https://arxiv.org/abs/1907.06845.

    >>> p = ContinuousBernoulli(torch.tensor([0.0, 60.0, -1e4]))
    >>> p.log_prob(torch.tensor([0.5, 1.0, 0.0])).exp().round()
    tensor([1.0000e+00, 6.0000e+01, 1.0000e+04])
    """

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012 - torch's own protocol
    event_dims_of: ClassVar = {"logits": 0}
    support = constraints.unit_interval

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        is_small, small, size = self._split_logits()
        distance = 1 / size + torch.exp(-size) / torch.expm1(-size)
        far = torch.where(self.logits > 0, 1 - distance, distance)
        return torch.where(is_small, 0.5 + small * _polynomial(SLOPES, small.square()), far)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        right = self.logits > 0
        is_small, small, size = self._split_logits()
        square = small.square()
        near = torch.where(right, small, -small) / 2 - square * _polynomial(SERIES, square)
        at_end = torch.where(is_small, near, size.log() - torch.log(-torch.expm1(-size)))
        return torch.where(right, value - 1, value) * self.logits + at_end

    def icdf(self, value: Tensor) -> Tensor:
        """Return the quantile x of a probability."""
        right, a = self.logits > 0, self.logits.abs().clamp(min=1e-20)
        mass = torch.where(right, 1 - value, value)
        distance = -torch.log1p(mass * torch.expm1(-a)) / a
        return torch.where(right, 1 - distance, distance)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.icdf(torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device))

    def _split_logits(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return which logits are small, these (or 0), and the size of the others (or 1).

        Each of the two formulas gets values that keep its gradient finite.
        """
        is_small, size = self.logits.abs() < SMALL, self.logits.abs()
        return is_small, torch.where(is_small, self.logits, 0.0), torch.where(is_small, 1.0, size)


def _polynomial(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """Return sum_k c_k x^k."""
    total = torch.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total
