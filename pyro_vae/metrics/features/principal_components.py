"""Principal components as features."""

from typing import Any

import numpy as np

from pyro_vae.errors import InputError, at_least_1
from pyro_vae.metrics.arrays import Array, as_matrix
from pyro_vae.metrics.features.digest import digest
from pyro_vae.metrics.features.features import Features


class PrincipalComponents(Features):
    """The first principal components of the data, such as images' pixels.

    They keep the distances of rows as well as so few numbers can. Fit them to real rows, not to samples.

    Args:
        rows: of the data, (N, ...).
        num_features: how many; at most N - 1 and the numbers of a row.

    Raises:
        InputError: the rows are no finite numbers.

    >>> x = np.random.default_rng(0).normal(size=(20, 2, 3))
    >>> PrincipalComponents(x, 4)(x).shape
    (20, 4)
    """

    def __init__(self, rows: Any, num_features: int = 50) -> None:
        x = _flat(rows)
        self.mean = x.mean(0)
        count = min(at_least_1("num_features", num_features), max(1, len(x) - 1))
        axes = np.linalg.svd(x - self.mean, full_matrices=False)[2][:count]
        largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1)
        self.axes = axes * np.where(largest < 0, -1.0, 1.0)  # (D, numbers of a row)
        self.num_rows = len(x)

    @property
    def name(self) -> str:
        count = f"{len(self.axes)} principal component{'s' if len(self.axes) > 1 else ''}"
        return f"{count} of {self.num_rows:,} rows {digest([self.mean, self.axes])}"

    def __call__(self, rows: Any) -> Array:
        x = _flat(rows)
        if x.shape[1] != len(self.mean):
            raise InputError(
                f"a row has {x.shape[1]:,} numbers",
                subject="features",
                expected=f"{len(self.mean):,}, as the rows that the components are of",
            )
        projected: Array = (x - self.mean) @ self.axes.T
        return projected


def _flat(rows: Any) -> Array:
    return as_matrix("rows", rows.reshape(len(rows), -1) if hasattr(rows, "reshape") else rows)
