"""Distributions over the cells of a table: columns of different kinds, missing cells."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import biject_to, constraints

from pyro_vae.distributions.expandable import Expandable
from pyro_vae.distributions.ordinal import Nominal


class ColumnSupports(constraints.Constraint):
    """Constrain each group of columns, along the last dimension, to its own support."""

    event_dim = 0

    def __init__(self, parts: Sequence[Any], places: Sequence[Sequence[int]]) -> None:
        self.parts, self.places = parts, places
        self.is_discrete = all(part.is_discrete for part in parts)
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        return _by_column(lambda part, at: part.check(value[..., at]), self.parts, self.places)


class Columns(dist.TorchDistribution):
    """Draw the columns of a table, ``batch, columns |``: each group of columns has its own distribution.

    ``mean`` holds the most probable category where a column is nominal.

    Args:
        parts: distributions ``batch, columns of the group |``.
        places: the column numbers of each group.

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
        return ColumnSupports([part.support for part in self.parts], self.places)

    @property
    def mean(self) -> Tensor:
        def centre(part: Any, _: Sequence[int]) -> Tensor:
            return part.mode if isinstance(part, Nominal) else part.mean

        return _by_column(centre, self.parts, self.places)

    def log_prob(self, value: Tensor) -> Tensor:
        return _by_column(lambda part, at: part.log_prob(value[..., at]), self.parts, self.places)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        return _by_column(lambda part, _: part.sample(shape), self.parts, self.places)

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> "Columns":
        rows = torch.Size(batch_shape)[:-1]
        pairs = zip(self.parts, self.places, strict=True)
        return Columns([part.expand((*rows, len(places))) for part, places in pairs], self.places)


class PartiallyObserved(Expandable):
    """Score independent values, ``batch |``, where NaN was not observed and counts 0 nats.

    Draws are complete.

    Args:
        base: the distribution of complete values.

    >>> PartiallyObserved(dist.Normal(torch.zeros(2), 1.0)).log_prob(torch.tensor([0.0, float("nan")]))
    tensor([-0.9189,  0.0000])
    """

    event_dims_of: ClassVar = {"base_dist": 0}

    def __init__(self, base: Any) -> None:
        self.base_dist = base
        super().__init__(base.batch_shape, validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        return ObservedOrNaN(self.base_dist.support)

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean

    def log_prob(self, value: Tensor) -> Tensor:
        missing, filled = _filled(value, self.base_dist.support)
        return torch.where(missing, 0.0, self.base_dist.log_prob(filled))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base_dist.sample(torch.Size(sample_shape))


class ObservedOrNaN(constraints.Constraint):
    """Constrain values to a support or NaN."""

    event_dim = 0

    def __init__(self, base: Any) -> None:
        self.base, self.is_discrete = base, base.is_discrete
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        missing, filled = _filled(value, self.base)
        return missing | self.base.check(filled)


def _filled(value: Tensor, support: Any) -> tuple[Tensor, Tensor]:
    """Return where values are missing, and the values with a point of the support in their place.

    Elsewhere a density may be infinite or have no slope, and 0 times that is NaN.
    """
    missing = value.isnan()
    return missing, torch.where(missing, _point_of_support(value, support), value)


def _point_of_support(like: Tensor, support: Any) -> Tensor:
    """Return a point of a support for each element of ``like``."""
    if isinstance(support, ColumnSupports):
        return _by_column(
            lambda part, at: _point_of_support(like[..., at], part), support.parts, support.places
        )
    zeros = torch.zeros_like(like)
    if support.is_discrete:  # counts, categories and grey levels all include 0
        return zeros
    return cast(Tensor, biject_to(support)(zeros))


def _by_column(
    values: Callable[[Any, Sequence[int]], Tensor],
    parts: Sequence[Any],
    places: Sequence[Sequence[int]],
) -> Tensor:
    """Return the columns that ``values`` gives for each part and its column numbers, in their order."""
    columns = [values(part, at) for part, at in zip(parts, places, strict=True)]
    order = [column for group in places for column in group]
    back = sorted(range(len(order)), key=order.__getitem__)
    return torch.cat(columns, -1)[..., back]
