"""The units of data: where values lie and how far they spread, learnt from the rows of a fit.

A program is given what is in the file. Its parts work with numbers of size 1, so those that meet data,
an encoder that reads them and a likelihood that makes them, keep a :class:`Units` of each element.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

ROWS = 10_000  # that show the units, where there are more
LEAST_SPAN = 0.1  # of values that are taken to be of size 1, from the least to the largest


class Units(nn.Module):
    """Location and scale of the elements of a datum, 0 and 1 until rows have been seen.

    They are buffers: a checkpoint holds them, and no optimizer moves them. Data that fill [0, 1], as images
    do, keep 0 and 1. Data with one dimension (the columns of a table) have a location and a scale each, all
    others, as images and series, share them.

    Args:
        shape: shape X of one datum.

    >>> units = Units((2,))
    >>> units.learn(torch.tensor([[1.0, 100.0], [3.0, 500.0]]))
    >>> units.location, units.scale
    (tensor([  2., 300.]), tensor([  1., 200.]))
    """

    location: Tensor
    scale: Tensor
    is_learnt: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        each = self.shape if len(self.shape) == 1 else ()
        self.register_buffer("location", torch.zeros(each))
        self.register_buffer("scale", torch.ones(each))
        self.register_buffer("is_learnt", torch.tensor(False))

    @torch.no_grad()
    def learn(self, x: Tensor, may_keep: Tensor | bool = True) -> None:
        """Takes location and scale from data ``rows | X``; NaN is a value that is missing.

        Of longer data, as a series is of its steps, X is the last dimensions; of data of any other shape
        nothing is learnt.

        :param may_keep: whether values that fill [0, 1] keep 0 and 1, each; logs, say, have no such end.
        """
        x = self._first_rows(x)
        if x is None:
            return
        location = x.nanmean(0)
        scale = (x - location).square().nanmean(0).sqrt()
        varies = scale > 1e-6 * location.abs()  # more than float32 rounds off
        keeps = _fills_unit_interval(x) & torch.as_tensor(may_keep, device=x.device)
        self.location.copy_(torch.where(location.isfinite() & ~keeps, location, 0.0))
        self.scale.copy_(torch.where(varies & scale.isfinite() & ~keeps, scale, 1.0))

    @torch.no_grad()
    def learn_log_mean(self, counts: Tensor) -> None:
        """Takes for the location the log of the mean of counts ``rows | X``; the scale stays 1."""
        counts = self._first_rows(counts)
        if counts is None:
            return
        seen = (~counts.isnan()).sum(0)
        mean = (counts.nansum(0) + 0.5) / (seen + 1)  # of a column without any, no log of 0
        self.location.copy_(mean.log())

    def _first_rows(self, x: Tensor) -> Any:
        """Data in float64, one row for each that has a location; None where all is learnt, or of others.

        What has been learnt stays, or parameters that go with it would mean something else.
        """
        if self.is_learnt or x.shape[1:][max(x.dim() - 1 - len(self.shape), 0) :] != self.shape:
            return None
        self.is_learnt.fill_(True)
        return x.double().reshape(-1, *self.location.shape)


def _fills_unit_interval(x: Tensor) -> Tensor:
    """Which columns of ``rows | X`` have values of size 1, where all data lie in [0, 1].

    Rates of some thousandths have not. A pixel at the margin, black but in one row of a hundred, has a
    small spread by accident, and is taken as the others are.
    """
    is_within = ((x >= 0) & (x <= 1) | x.isnan()).all()
    span = x.nan_to_num(nan=-torch.inf).amax(0) - x.nan_to_num(nan=torch.inf).amin(0)
    return is_within & ((span >= LEAST_SPAN) | ((x != 0).double().mean(0) < 0.01))


def learners(module: nn.Module, method: str = "learn_units") -> Iterator[Any]:
    """The parts of a module that are yet to be shown rows: each has a method ``learn_units``.

    Such a part shows them to its own parts, if these are to see them. One is left out whose parameters are
    all frozen, or whose :class:`Units` have all been learnt.

    :param method: the name of another one: a part with ``start_from`` is shown what its ``guide`` reads.
    """
    parameters = list(module.parameters())
    units = [part for part in module.modules() if isinstance(part, Units)]
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        return
    if not callable(getattr(module, method, None)):
        for child in module.children():
            yield from learners(child, method)
    elif not units or not all(bool(part.is_learnt) for part in units):
        yield module
