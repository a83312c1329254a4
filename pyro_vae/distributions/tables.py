"""Distributions over the cells of a table: columns of different kinds, cells that are missing."""

from collections.abc import Sequence
from typing import Any, cast

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import biject_to, constraints
from torch.nn.functional import logsigmoid


class Names(dist.Categorical):
    """A categorical distribution that knows that its values, being names, have no mean.

    >>> Names(logits=torch.zeros(3, 4)).log_prob(torch.tensor([0, 1, 2])).exp()
    tensor([0.2500, 0.2500, 0.2500])
    """

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError("names have no mean")


class Grades(dist.Categorical):
    """Ordered grades 0, ..., L - 1: p(x >= k) = sigmoid(location - cutpoint_k).

    :param location: ``batch``.
    :param cutpoints: ``batch, L - 1``, rising.

    >>> Grades(torch.zeros(2), torch.tensor([-1.0, 1.0])).mean
    tensor([1., 1.])
    """

    def __init__(self, location: Tensor, cutpoints: Tensor) -> None:
        above = logsigmoid(location.unsqueeze(-1) - cutpoints)  # log p(x >= k), k = 1, ..., L - 1
        below = logsigmoid(cutpoints - location.unsqueeze(-1))
        # s(a) - s(b) = s(a) s(-b) (1 - exp(b - a)) keeps its digits far out
        width = torch.log(-torch.expm1(cutpoints[..., :-1] - cutpoints[..., 1:]))
        between = above[..., :-1] + below[..., 1:] + width
        super().__init__(logits=torch.cat([below[..., :1], between, above[..., -1:]], -1))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return super().expand(batch_shape, _instance or self.__new__(type(self)))

    @property
    def mean(self) -> Tensor:
        return self.probs @ torch.arange(self.probs.shape[-1]).to(self.probs)


class ByColumn(constraints.Constraint):
    """Each group of columns, along the last dimension, in a support of its own."""

    event_dim = 0

    def __init__(self, parts: Sequence[Any], places: Sequence[Sequence[int]]) -> None:
        self.parts, self.places = parts, places
        self.is_discrete = all(part.is_discrete for part in parts)
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        checks = [p.check(value[..., at]) for p, at in zip(self.parts, self.places, strict=True)]
        return _joined(checks, self.places)


class Columns(dist.TorchDistribution):
    """Independent values, ``batch, columns |``, of which each group of columns has its distribution.

    The ``mean`` of names, which have none, is the most probable one.

    :param parts: distributions ``batch, columns of the group |``.
    :param places: the numbers of each group's columns.

    >>> zero = torch.zeros(5, 1)
    >>> p = Columns([dist.Normal(zero, 1.0), dist.Bernoulli(logits=zero)], [[1], [0]])
    >>> p.log_prob(torch.zeros(5, 2)).shape
    torch.Size([5, 2])
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own protocol

    def __init__(self, parts: Sequence[Any], places: Sequence[Sequence[int]]) -> None:
        self.parts, self.places = parts, places
        shape = (*parts[0].batch_shape[:-1], sum(map(len, places)))
        super().__init__(torch.Size(shape), validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        return ByColumn([part.support for part in self.parts], self.places)

    @property
    def mean(self) -> Tensor:
        centres = [p.mode if isinstance(p, Names) else p.mean for p in self.parts]
        return _joined(centres, self.places)

    def log_prob(self, value: Tensor) -> Tensor:
        pairs = zip(self.parts, self.places, strict=True)
        return _joined([part.log_prob(value[..., at]) for part, at in pairs], self.places)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        return _joined([part.sample(shape) for part in self.parts], self.places)

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> "Columns":
        rows = torch.Size(batch_shape)[:-1]
        pairs = zip(self.parts, self.places, strict=True)
        return Columns([part.expand((*rows, len(at))) for part, at in pairs], self.places)


class WithMissing(dist.TorchDistribution):
    """Independent values, ``batch |``, any of which may be NaN: it was not observed, and counts 0 nats.

    :param base: the distribution of all values.

    >>> WithMissing(dist.Normal(torch.zeros(2), 1.0)).log_prob(torch.tensor([0.0, float("nan")]))
    tensor([-0.9189,  0.0000])
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, base: Any) -> None:
        self.base_dist = base
        super().__init__(base.batch_shape, validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        return OrMissing(self.base_dist.support)

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean

    def log_prob(self, value: Tensor) -> Tensor:
        missing, filled = _filled(value, self.base_dist.support)
        return torch.where(missing, 0.0, self.base_dist.log_prob(filled))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base_dist.sample(torch.Size(sample_shape))

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> "WithMissing":
        return WithMissing(self.base_dist.expand(torch.Size(batch_shape)))


class OrMissing(constraints.Constraint):
    """NaN, or in another support."""

    event_dim = 0

    def __init__(self, base: Any) -> None:
        self.base, self.is_discrete = base, base.is_discrete
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        missing, filled = _filled(value, self.base)
        return missing | self.base.check(filled)


def _filled(value: Tensor, support: Any) -> tuple[Tensor, Tensor]:
    """Where values are missing, and the values with something possible in their place.

    A density there could be infinite or not differentiable, and 0 times that is NaN.
    """
    missing = value.isnan()
    return missing, torch.where(missing, _possible(value, support), value)


def _possible(like: Tensor, support: Any) -> Tensor:
    """A value in the middle of a support, of the shape of ``like``."""
    if isinstance(support, ByColumn):
        pairs = zip(support.parts, support.places, strict=True)
        return _joined([_possible(like[..., at], part) for part, at in pairs], support.places)
    zeros = torch.zeros_like(like)
    if support.is_discrete:  # counts, names, levels: all have a 0
        return zeros
    return cast(Tensor, biject_to(support)(zeros))


def _joined(values: Sequence[Tensor], places: Sequence[Sequence[int]]) -> Tensor:
    """Groups of columns put back in order."""
    order = [column for at in places for column in at]
    back = sorted(range(len(order)), key=order.__getitem__)
    return torch.cat(list(values), -1)[..., back]
