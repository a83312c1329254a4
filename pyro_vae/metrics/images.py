"""Images with their reconstructions, checked."""

from typing import Any

import numpy as np

from pyro_vae.errors import InputError, positive
from pyro_vae.metrics.arrays import Array, as_matrix


def as_pair(data: Any, reconstructions: Any) -> tuple[Array, Array]:
    """Return rows and their reconstructions, of the same shape (N, ...), in double precision.

    Raises:
        InputError: the shapes differ, or a value is not finite.
    """
    pair = tuple(_as_rows(n, x) for n, x in (("data", data), ("reconstructions", reconstructions)))
    if pair[0].shape != pair[1].shape:
        raise InputError(
            f"data have shape {pair[0].shape}, and reconstructions {pair[1].shape}",
            subject="reconstructions",
            expected="a reconstruction of each row, of the same shape",
        )
    return pair[0], pair[1]


def as_range(data_range: float) -> float:
    """Return the largest value that is possible less the smallest, checked."""
    return positive("data_range", data_range)


def _as_rows(name: str, values: Any) -> Array:
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    flat = as_matrix(name, array.reshape(len(array), -1) if array.ndim > 2 else array)
    return flat.reshape(array.shape)
