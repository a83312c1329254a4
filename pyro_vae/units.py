"""The units of data: where values lie and how far they spread, learnt from the rows of a fit.

A program is given what is in the file. Its parts work with numbers of size 1, so those that meet data,
an encoder that reads them and a likelihood that makes them, keep a :class:`Units` of each element.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

ROWS = 10_000  # that show the units, where there are more


class Units(nn.Module):
    """Location and scale of the elements of a datum, 0 and 1 until rows have been seen.

    They are buffers: a checkpoint holds them, and no optimizer moves them. Data that all lie in [0, 1],
    as images do, keep 0 and 1. Data with one dimension (the columns of a table) have a location and a scale
    each, all others, as images and series, share them.

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
    def learn_log_mean(self, counts: Tensor) -> None:
        """Takes for the location the log of the mean of counts ``rows | X``; the scale stays 1."""
        if self.is_learnt:
            return
        self.is_learnt.fill_(True)
        counts = counts.double().reshape(-1, *self.location.shape)
        seen = (~counts.isnan()).sum(0)
        mean = (counts.nansum(0) + 0.5) / (seen + 1)  # of a column without any, no log of 0
        self.location.copy_(mean.log())

    @torch.no_grad()
    def learn(self, x: Tensor) -> None:
        """Takes location and scale from rows ``rows | X``; NaN is a value that is missing.

        A second fit of the same module changes nothing, or what the first has learnt would mean something
        else.
        """
        if self.is_learnt:
            return
        self.is_learnt.fill_(True)
        x = x.double().reshape(-1, *self.location.shape)
        if bool(((x >= 0) & (x <= 1) | x.isnan()).all()):
            return
        location = x.nanmean(0)
        scale = (x - location).square().nanmean(0).sqrt()
        varies = scale > 1e-6 * location.abs()  # more than float32 rounds off
        self.location.copy_(torch.where(location.isfinite(), location, 0.0))
        self.scale.copy_(torch.where(varies & scale.isfinite(), scale, 1.0))


def rows_of(x: Tensor, shape: Sequence[int]) -> Tensor | None:
    """Data ``rows | X`` as rows of a part that has the last dimensions of X, as a series' steps are.

    >>> rows_of(torch.zeros(5, 7, 3), (3,)).shape, rows_of(torch.zeros(5, 7), (3,))
    (torch.Size([35, 3]), None)
    """
    shape = tuple(shape)
    if x.shape[1:][max(x.dim() - 1 - len(shape), 0) :] != shape:
        return None
    return x.reshape(-1, *shape)


def learn_units(module: nn.Module, x: Tensor) -> None:
    """Shows rows ``rows | X`` to each part of a module that has a method ``learn_units``.

    Such a part shows them to its own parts, if these are to see them. One whose parameters are all frozen
    stays as it is.
    """
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        return
    learn: Any = getattr(module, "learn_units", None)
    if callable(learn):
        learn(x)
        return
    for child in module.children():
        learn_units(child, x)
