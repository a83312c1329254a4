"""The mean squared error of reconstructions, and the peak signal-to-noise ratio."""

from typing import Any

import numpy as np

from pyro_vae.metrics.arrays import Array
from pyro_vae.metrics.images import as_pair, as_range
from pyro_vae.metrics.value import MetricValue, mean_of_rows


def mse(data: Any, reconstructions: Any) -> MetricValue:
    """Return the mean squared error of a number of the data, with its standard error over rows.

    Args:
        data: (N, ...), any shape of a row.
        reconstructions: likewise.

    Returns:
        The score; ``parts`` has ``by_row``, (N,).

    Raises:
        InputError: the shapes differ, or a value is not finite.

    >>> mse([[0.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [1.0, 1.0]]).value
    0.25
    """
    return mean_of_rows("MSE", _by_row(data, reconstructions))


def psnr(data: Any, reconstructions: Any, *, data_range: float = 1.0) -> MetricValue:
    """Return the peak signal-to-noise ratio 10 log10(range^2 / MSE) of each row, its mean, in decibels.

    Args:
        data: (N, ...), any shape of a row.
        reconstructions: likewise.
        data_range: the largest value that is possible less the smallest.

    Returns:
        The score; ``parts`` has ``by_row``, (N,). A row without any error has an infinite ratio, and so has
        the mean: a note says so.

    Raises:
        InputError: the shapes differ, or a value is not finite.

    >>> round(psnr(np.zeros((2, 4)), np.full((2, 4), 0.1)).value, 6)
    20.0
    """
    errors, peak = _by_row(data, reconstructions), as_range(data_range)
    exact = np.flatnonzero(errors == 0)
    ratios = np.full(len(errors), np.inf)
    np.divide(peak**2, errors, out=ratios, where=errors > 0)
    with np.errstate(invalid="ignore"):  # an infinite ratio has no error
        return mean_of_rows("PSNR", 10 * np.log10(ratios), _of_exact(exact))


def _of_exact(rows: Array) -> tuple[str, ...]:
    if not len(rows):
        return ()
    which = f"row {rows[0]} is" if len(rows) == 1 else f"{len(rows):,} rows are"
    return (f"{which} reconstructed without any error, so the ratio is infinite",)


def _by_row(data: Any, reconstructions: Any) -> Array:
    x, y = as_pair(data, reconstructions)
    found: Array = ((x - y) ** 2).reshape(len(x), -1).mean(1)
    return found
