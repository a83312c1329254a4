"""How like the data made-up rows are: each column by itself, and each pair of columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pyro_vae.data import Column
from pyro_vae.inference.synthesis.features import Values

BINS = 5  # of a number, by its quantiles, where it is paired with another column
MOST_ROWS = 20_000  # for the pairs
MOST_COLUMNS = 60


@dataclass(frozen=True)
class ColumnDistance:
    """Hold how far a column's distribution is from the data's.

    Attributes:
        name: of the column.
        measure: TV, the total variation, for categories; KS, the largest distance of the distribution
            functions, for numbers. Both lie in [0, 1].
        distance: that distance.
        noise: what it would be, on average, between two samples of one distribution, of these sizes.
        worst_ratio: the share of a category in the made-up rows over its share in the data, where it is
            farthest from 1 among the categories above 1 %; None for numbers.
    """

    name: str
    measure: str
    distance: float
    noise: float
    worst_ratio: float | None


def column_distance(column: Column, real: Values, made: Values) -> ColumnDistance:
    """Return the distance of the two distributions of a column; missing values do not count.

    >>> column_distance(Column("a"), np.array([1.0, 2.0]), np.array([1.0, 3.0])).distance
    0.5
    """
    real, made = (x[~np.isnan(x)] for x in (real, made))
    if not (len(real) and len(made)):
        return ColumnDistance(column.name, "KS", float("nan"), float("nan"), None)
    size = 1 / len(real) + 1 / len(made)
    if not column.categories:
        points = np.unique(np.concatenate([real, made]))
        cdfs = [np.searchsorted(np.sort(x), points, "right") / len(x) for x in (real, made)]
        distance = float(np.abs(cdfs[0] - cdfs[1]).max())
        return ColumnDistance(column.name, "KS", distance, 0.87 * float(np.sqrt(size)), None)
    p, q = (
        np.bincount(x.astype(int), minlength=column.num_categories) / len(x) for x in (real, made)
    )
    # a share's difference is normal, and E|Normal(0, s)| = s sqrt(2 / pi)
    noise = float(np.sqrt(2 / np.pi * p * (1 - p) * size).sum() / 2)
    ratios = q[p > 0.01] / p[p > 0.01]
    worst = float(ratios[np.abs(ratios - 1).argmax()]) if len(ratios) else None
    return ColumnDistance(column.name, "TV", float(np.abs(p - q).sum() / 2), noise, worst)


def associations(columns: Sequence[Column], rows: Values, scale: Values) -> Values:
    """Return how strongly each pair of columns is associated: Cramér's V, from 0 to 1.

    Numbers count as fifths, by the quantiles of ``scale``. The bias of V is removed.

    Source: W. Bergsma, "A bias-correction for Cramér's V and Tschuprow's T", 2013,
    https://doi.org/10.1016/j.jkss.2012.10.002.
    """
    rows = rows[:: -(-len(rows) // MOST_ROWS)]
    codes = [_codes(c, x, s) for c, x, s in zip(columns, rows.T, scale.T, strict=True)]
    table = np.eye(len(codes))
    for i, one in enumerate(codes):
        for j, other in enumerate(codes[:i]):
            table[i, j] = table[j, i] = _cramers_v(one, other)
    return table


def _codes(column: Column, x: Values, scale: Values) -> Values:
    if column.categories:
        return np.where(np.isnan(x), -1, x).astype(int)
    ends = np.unique(np.nanquantile(scale, np.linspace(0, 1, BINS + 1)[1:-1]))
    # a value that recurs, such as 0 in nine rows of ten, is an end, and gets a code of its own
    place = np.searchsorted(ends, x, "left") + np.searchsorted(ends, x, "right")
    return np.where(np.isnan(x), -1, place).astype(int)


def _cramers_v(one: Values, other: Values) -> float:
    known = (one >= 0) & (other >= 0)
    one, other = one[known], other[known]
    if len(one) < 2:
        return 0.0
    counts = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(counts, (one, other), 1)
    counts = counts[counts.sum(1) > 0][:, counts.sum(0) > 0]
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum()
    n, (r, k) = counts.sum(), counts.shape
    phi = max(0.0, ((counts - expected) ** 2 / expected).sum() / n - (r - 1) * (k - 1) / (n - 1))
    r, k = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    return float(min(1.0, np.sqrt(phi / (min(r, k) - 1)))) if min(r, k) > 1 else 0.0
