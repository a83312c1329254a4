"""Distributions over grey levels, 0, 1/(L-1), ..., 1.

They score the probability *mass* of a value, so their log-likelihoods are those of a discrete distribution
and compare with bits per dimension.
"""

from collections.abc import Sequence
from typing import ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from pyro_vae.distributions.expandable import Expandable
from pyro_vae.errors import at_least


class GreyLevels(constraints.Constraint):
    """Constrain values to k / (levels - 1), k = 0, ..., levels - 1."""

    is_discrete = True
    event_dim = 0

    def __init__(self, levels: int) -> None:
        self.levels = levels
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        steps = value * (self.levels - 1)
        return (value >= 0) & (value <= 1) & ((steps - steps.round()).abs() < 1e-3)

    def __repr__(self) -> str:
        return f"{self.levels} levels from 0 to 1"


class _GreyLevelDistribution(Expandable):
    """Share the support and a mean, which is a sum over the levels."""

    levels: int

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        return GreyLevels(self.levels)

    @property
    def mean(self) -> Tensor:
        parameter = getattr(self, next(iter(self.event_dims_of)))
        grid = torch.linspace(0, 1, self.levels, device=parameter.device, dtype=parameter.dtype)
        shape = (-1,) + (1,) * len(self.batch_shape)
        return (self.log_prob(grid.reshape(shape)).exp() * grid.reshape(shape)).sum(0)


class GreyLevelCategorical(_GreyLevelDistribution):
    """Draw a grey level with a probability of its own: p(k / (L-1)) = softmax(logits)_k.

    Args:
        logits: ``batch | levels``.

    Raises:
        InputError: there are fewer than 2 levels.

    >>> GreyLevelCategorical(torch.zeros(4, 256)).log_prob(torch.ones(4)).exp() * 256
    tensor([1., 1., 1., 1.])
    """

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012 - torch's own protocol
    event_dims_of: ClassVar = {"logits": 1}

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits, self.levels = logits, at_least(2, "levels", logits.shape[-1])
        super().__init__(logits.shape[:-1], validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        level = (value * (self.levels - 1)).round().long()  # batch
        shape = torch.broadcast_shapes(level.shape, self.batch_shape)
        log_p = self.logits.log_softmax(-1).expand(*shape, self.levels)
        return log_p.gather(-1, level.expand(shape).unsqueeze(-1)).squeeze(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        level = dist.Categorical(logits=self.logits).sample(torch.Size(sample_shape))
        return level.to(self.logits.dtype) / (self.levels - 1)

    @property
    def mean(self) -> Tensor:
        p = self.logits.softmax(-1)
        return p @ torch.linspace(0, 1, self.levels, device=p.device, dtype=p.dtype)


class DiscretizedLogistic(_GreyLevelDistribution):
    """Draw from a logistic distribution and round to the nearest grey level; the tails go to the ends.

    p(x) = s((x + d/2 - loc) / scale) - s((x - d/2 - loc) / scale) with d = 1 / (levels - 1) and s the
    sigmoid; the first term is 1 at x = 1, the second 0 at x = 0.

    Args:
        loc: ``batch``.
        scale: ``batch``; the logistic's standard deviation is pi / sqrt(3) times its scale.
        levels: number of grey levels.

    Raises:
        InputError: ``levels`` is below 2.

    Source: D. P. Kingma, T. Salimans, R. Jozefowicz, X. Chen, I. Sutskever, M. Welling, "Improving
    variational inference with inverse autoregressive flow", 2016, https://arxiv.org/abs/1606.04934.

    >>> p = DiscretizedLogistic(torch.tensor(0.3), torch.tensor(0.2), levels=17)
    >>> bool(torch.isclose(p.log_prob(torch.linspace(0, 1, 17)).exp().sum(), torch.tensor(1.0)))
    True
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    event_dims_of: ClassVar = {"loc": 0, "scale": 0}

    def __init__(
        self, loc: Tensor, scale: Tensor, levels: int = 256, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        self.levels = at_least(2, "levels", levels)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        distance, end = (value - self.loc) / self.scale, 0.5 / (self.levels - 1)
        half = end / self.scale
        above, below = logsigmoid(distance + half), logsigmoid(half - distance)
        # s(a) - s(b) = s(a) s(-b) (1 - exp(b - a)) keeps its digits where both sigmoids are near 0 or 1
        inside = above + below + torch.log(-torch.expm1(-2 * half))
        return torch.where(value < end, above, torch.where(value > 1 - end, below, inside))

    @property
    def mean(self) -> Tensor:
        """sum_k p(x > k d) d, one level at a time, which saves memory for images of 256 levels."""
        steps, total = self.levels - 1, torch.zeros_like(self.loc)
        for k in range(steps):
            total = total + ((self.loc - (k + 0.5) / steps) / self.scale).sigmoid()
        return total / steps

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        uniform = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
        noise = torch.logit(uniform.clamp(1e-7, 1 - 1e-7))
        steps = self.levels - 1
        return ((self.loc + self.scale * noise) * steps).round().clamp(0, steps) / steps


class Quantized(_GreyLevelDistribution):
    """Round y in [0, 1] to its grey level: x = k / (levels - 1) where y is in [k, k + 1) / levels.

    Args:
        y: ``batch``.
        levels: number of grey levels.

    Raises:
        InputError: ``levels`` is below 2.

    >>> Quantized(torch.tensor([0.2, 0.9]), levels=3).sample()
    tensor([0., 1.])
    """

    arg_constraints = {"y": constraints.unit_interval}  # noqa: RUF012
    event_dims_of: ClassVar = {"y": 0}

    def __init__(self, y: Tensor, levels: int = 256, validate_args: bool | None = None) -> None:
        self.y, self.levels = y, at_least(2, "levels", levels)
        super().__init__(y.shape, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        above = self.y * self.levels - value * (self.levels - 1)
        # a draw from a cell may be rounded beyond its end, so both levels are allowed there
        is_in = (above > -1e-3) & (above < 1 + 1e-3)
        return torch.where(is_in, 0.0, -torch.inf).to(self.y.dtype)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        level = (self.y.detach() * self.levels).floor().clamp(max=self.levels - 1)
        return (level / (self.levels - 1)).expand(self._extended_shape(torch.Size(sample_shape)))

    @property
    def mean(self) -> Tensor:
        return self.sample()
