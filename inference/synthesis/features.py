"""Rows of a table as numbers for classifiers and distances: ranks, and one column for each category."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pyro_vae.data import Column

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Features:
    """Hold the scale of features: the sorted values of each column of numbers in the training rows."""

    columns: tuple[Column, ...]
    scales: tuple[Values | None, ...]

    @classmethod
    def of(cls, rows: Values, columns: tuple[Column, ...]) -> "Features":
        """Return the features whose scale is that of ``rows``, ``rows | columns``."""
        scales = [
            None if column.categories else np.sort(x[~np.isnan(x)])
            for column, x in zip(columns, rows.T, strict=True)
        ]
        return cls(columns, tuple(scales))

    def __call__(self, rows: Values) -> Values:
        """Return features in [0, 1]: ranks of numbers, one-hot categories / sqrt(2), 1/2 where missing.

        Two rows that differ in a category are then as far apart as the two ends of a number.
        """
        parts = []
        for column, scale, x in zip(self.columns, self.scales, rows.T, strict=True):
            missing = np.isnan(x)
            if scale is None:
                one_hot = np.where(missing, -1, x)[:, None] == np.arange(column.num_categories)
                parts.append(one_hot / np.sqrt(2))
                continue
            sides = [np.searchsorted(scale, x, side) for side in ("left", "right")]
            rank = (sides[0] + sides[1]) / 2 / max(1, len(scale))
            parts.append(np.where(missing, 0.5, rank)[:, None])
        return np.concatenate(parts, 1)
