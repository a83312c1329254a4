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

    def __init__(self, parts: Sequence[Any], sizes: Sequence[int], order: Tensor) -> None:
        self.parts, self.sizes, self.order = parts, sizes, order
        self.is_discrete = all(part.is_discrete for part in parts)
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        return self.by_group(lambda part, own: part.check(own), value)

    def by_group(self, function: Callable[[Any, Tensor], Tensor], value: Tensor) -> Tensor:
        """Return, in the columns' order, what a function gives for each group's support and values."""
        groups = value[..., self.order].split(self.sizes, -1)
        columns = [function(part, own) for part, own in zip(self.parts, groups, strict=True)]
        return _in_order(columns, self.order)


class Columns(dist.TorchDistribution):
    """Draw the columns of a table, ``batch, columns |``: each group of columns has its own distribution.

    ``mean`` holds the most probable category where a column is nominal.

    Args:
        parts: distributions ``batch, columns of the group |``.
        order: the column numbers of all groups, one group after another, on the parts' device.

    >>> zero, order = torch.zeros(5, 1), torch.tensor([1, 0])
    >>> p = Columns([dist.Normal(zero, 1.0), dist.Bernoulli(logits=zero)], order)
    >>> p.log_prob(torch.zeros(5, 2)).shape
    torch.Size([5, 2])
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own protocol

    def __init__(self, parts: Sequence[Any], order: Tensor) -> None:
        self.parts, self.order = parts, order
        self.sizes = [part.batch_shape[-1] for part in parts]
        shape = (*parts[0].batch_shape[:-1], len(order))
        super().__init__(torch.Size(shape), validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        return ColumnSupports([part.support for part in self.parts], self.sizes, self.order)

    @property
    def mean(self) -> Tensor:
        centres = [p.mode if isinstance(p, Nominal) else p.mean for p in self.parts]
        return _in_order(centres, self.order)

    def log_prob(self, value: Tensor) -> Tensor:
        groups = value[..., self.order].split(self.sizes, -1)
        scores = [part.log_prob(own) for part, own in zip(self.parts, groups, strict=True)]
        return _in_order(scores, self.order)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        return _in_order([part.sample(shape) for part in self.parts], self.order)

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> "Columns":
        rows = torch.Size(batch_shape)[:-1]
        pairs = zip(self.parts, self.sizes, strict=True)
        return Columns([part.expand((*rows, size)) for part, size in pairs], self.order)


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
        return support.by_group(lambda part, own: _point_of_support(own, part), like)
    zeros = torch.zeros_like(like)
    if support.is_discrete:  # counts, categories and grey levels all include 0
        return zeros
    return cast(Tensor, biject_to(support)(zeros))


def _in_order(columns: Sequence[Tensor], order: Tensor) -> Tensor:
    """Return the groups' columns in the table's order."""
    return torch.cat(list(columns), -1)[..., order.argsort()]
