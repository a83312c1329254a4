"""A short hash of numbers, which tells one set of features from another."""

import hashlib
from collections.abc import Iterable

import numpy as np

from pyro_vae.metrics.arrays import Array


def digest(arrays: Iterable[Array]) -> str:
    """Return the first eight digits of the sha256 of arrays.

    >>> digest([np.zeros(3)]) == digest([np.zeros(3)]), digest([np.zeros(3)]) == digest([np.ones(3)])
    (True, False)
    """
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:8]
