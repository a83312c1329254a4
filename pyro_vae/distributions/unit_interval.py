"""A density on [0, 1] of one parameter.

Torch has it, but takes its constant from a probability, which float32 rounds to 1 from a logit of 16 on.
"""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor

FEW = 0.2  # below, the closed forms' slopes lose their digits; the series is exact in float64
SERIES = (1 / 24, -1 / 2880, 1 / 181440, -1 / 9676800)  # log(sinh(l/2) / (l/2)), from l^2 on
SLOPES = tuple(2 * k * c for k, c in enumerate(SERIES, 1))


class ContinuousBernoulli(dist.TorchDistribution):
    """p(x) = exp(l x) l / (exp(l) - 1), a density on [0, 1], as exact at a logit l of 1e4 as at 0.

    The mass lies at one end. With d the distance from it and a = |l|, the density is
    exp(-a d) a / (1 - exp(-a)), where nothing cancels.

    Source: G. Loaiza-Ganem, J. P. Cunningham, "The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders", 2019, https://arxiv.org/abs/1907.06845.

    :param logits: ``batch``.

    >>> p = ContinuousBernoulli(torch.tensor([0.0, 60.0, -1e4]))
    >>> p.log_prob(torch.tensor([0.5, 1.0, 0.0])).exp().round()
    tensor([1.0000e+00, 6.0000e+01, 1.0000e+04])
    """

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012 - torch's own protocol
    support = constraints.unit_interval

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        is_few, example, a = self._few_or_size()
        distance = 1 / a + torch.exp(-a) / torch.expm1(-a)
        far = torch.where(self.logits > 0, 1 - distance, distance)
        return torch.where(is_few, 0.5 + example * _polynomial(SLOPES, example.square()), far)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        right = self.logits > 0
        is_few, example, a = self._few_or_size()
        square = example.square()
        near = torch.where(right, example, -example) / 2 - square * _polynomial(SERIES, square)
        at_end = torch.where(is_few, near, a.log() - torch.log(-torch.expm1(-a)))
        return torch.where(right, value - 1, value) * self.logits + at_end

    def icdf(self, value: Tensor) -> Tensor:
        """The x below which lies so much of the mass."""
        right, a = self.logits > 0, self.logits.abs().clamp(min=1e-20)
        mass = torch.where(right, 1 - value, value)
        distance = -torch.log1p(mass * torch.expm1(-a)) / a
        return torch.where(right, 1 - distance, distance)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.icdf(torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device))

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> "ContinuousBernoulli":
        new = ContinuousBernoulli(self.logits.expand(torch.Size(batch_shape)), validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _few_or_size(self) -> tuple[Tensor, Tensor, Tensor]:
        """Whether a logit is small; that, or 0; its size, or 1: what each of two formulas can take."""
        is_few = self.logits.abs() < FEW
        return (
            is_few,
            torch.where(is_few, self.logits, 0.0),
            torch.where(is_few, 1.0, self.logits.abs()),
        )


def _polynomial(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """sum_k c_k x^k."""
    total = torch.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total
