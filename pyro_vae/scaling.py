"""The units of data: location and scale of their elements, learnt from the first rows of a fit.

A program gets the values of the file. Its parts compute with numbers of size 1, so a part that meets data,
such as an encoder or a likelihood, holds a :class:`Scaling` for their elements.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

LEARNING_ROWS = 10_000  # that Scaling learns from
MIN_SPAN = 0.1  # between minimum and maximum of values that count as of size 1


class Scaling(nn.Module):
    """Hold location and scale of the elements of a datum: 0 and 1 until they are learnt.

    They are buffers: a checkpoint holds them, and no optimizer moves them. Data that fill [0, 1], such as
    images, keep 0 and 1. Data with one dimension (the columns of a table) have a location and a scale for
    each element; in all others, such as images and series, the elements share one.

    Args:
        shape: shape X of one datum.

    >>> scaling = Scaling((2,))
    >>> scaling.learn(torch.tensor([[1.0, 100.0], [3.0, 500.0]]))
    >>> scaling.location, scaling.scale
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
        """Learn location and scale from data ``rows | X``, where NaN is missing; do nothing once learnt.

        In longer data, such as a series of steps, X is the last dimensions. Data of another shape change
        nothing.

        Args:
            x: the data.
            may_keep: for each element, whether 0 and 1 stay if the values fill [0, 1]; logs, for instance,
                have no such range.
        """
        x = self._first_rows(x)
        if x is None:
            return
        location = x.nanmean(0)
        scale = (x - location).square().nanmean(0).sqrt()
        varies = scale > 1e-6 * location.abs()  # beyond the rounding of float32
        keeps = _fills_unit_interval(x) & torch.as_tensor(may_keep, device=x.device)
        self.location.copy_(torch.where(location.isfinite() & ~keeps, location, 0.0))
        self.scale.copy_(torch.where(varies & scale.isfinite() & ~keeps, scale, 1.0))

    @torch.no_grad()
    def learn_log_mean(self, counts: Tensor) -> None:
        """Learn as location the log of the mean of counts ``rows | X``; the scale stays 1."""
        counts = self._first_rows(counts)
        if counts is None:
            return
        observed = (~counts.isnan()).sum(0)
        mean = (counts.nansum(0) + 0.5) / (observed + 1)  # no log of 0 for a column of zeros
        self.location.copy_(mean.log())

    def _first_rows(self, x: Tensor) -> Any:
        """Return data in float64, one row for each location, or None if they are not to be learnt.

        What is learnt stays: other units would change the meaning of the trained parameters.
        """
        if self.is_learnt or x.shape[1:][max(x.dim() - 1 - len(self.shape), 0) :] != self.shape:
            return None
        self.is_learnt.fill_(True)
        return x.double().reshape(-1, *self.location.shape)


def _fills_unit_interval(x: Tensor) -> Tensor:
    """Return which columns of ``rows | X`` have values of size 1, if all data lie in [0, 1].

    Rates of some thousandths do not. A pixel at the margin, black but in one row of a hundred, has a
    small spread by accident, and counts like the other pixels.
    """
    is_within = ((x >= 0) & (x <= 1) | x.isnan()).all()
    span = x.nan_to_num(nan=-torch.inf).amax(0) - x.nan_to_num(nan=torch.inf).amin(0)
    return is_within & ((span >= MIN_SPAN) | ((x != 0).double().mean(0) < 0.01))


def parts_to_learn(module: nn.Module, method: str = "learn_scaling") -> Iterator[Any]:
    """Yield the parts of a module that have yet to learn from rows: those with a method ``learn_scaling``.

    Such a part passes the rows on to its own parts. A part is left out if all its parameters are frozen, or
    if all its :class:`Scaling` are learnt.

    Args:
        module: the module.
        method: the name of the method; ``start_from`` gets what the part's ``guide`` reads.
    """
    parameters = list(module.parameters())
    scaling = [part for part in module.modules() if isinstance(part, Scaling)]
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        return
    if not callable(getattr(module, method, None)):
        for child in module.children():
            yield from parts_to_learn(child, method)
    elif not scaling or not all(bool(part.is_learnt) for part in scaling):
        yield module
