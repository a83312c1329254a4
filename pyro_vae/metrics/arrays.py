"""Codes and factors as metrics take them: checked, with the kind of each factor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pyro_vae.errors import InputError

Array = npt.NDArray[Any]
FEW = 20  # distinct whole numbers at most, for values that count as classes
BINS = 20  # of equal shares, for real numbers: as in the literature


@dataclass(frozen=True)
class Pairs:
    """Hold codes and factors of the same rows.

    Attributes:
        codes: (N, D).
        factors: (N, F); classes are numbered 0, 1, ....
        is_class: whether each factor's values are classes, (F,).
    """

    codes: Array
    factors: Array
    is_class: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, index: Array) -> "Pairs":
        """Return some of the rows."""
        return Pairs(self.codes[index], self.factors[index], self.is_class)

    def half(self, noise: np.random.Generator) -> "Pairs":
        """Return half of the rows, at random."""
        return self.rows(half_of(len(self), noise))

    def classes(self, factor: int) -> Array:
        """Return a factor as classes 0, 1, ..., (N,): a real one in bins of equal shares."""
        values = self.factors[:, factor]
        return numbered(values) if self.is_class[factor] else in_bins(values)


def as_pairs(codes: Any, factors: Any, is_class: Sequence[bool] | None = None) -> Pairs:
    """Return codes and factors, checked.

    Args:
        codes: (N, D), numbers; a tensor or an array.
        factors: (N, F); (N,) for one.
        is_class: whether each factor's values are classes; by default those are that have at most 20
            distinct whole numbers.

    Raises:
        InputError: the shapes do not fit, a value is missing, or a factor never changes.

    >>> as_pairs([[0.1], [0.4], [0.2]], [0, 1, 1]).is_class
    (True,)
    """
    x, v = (as_matrix(name, a) for name, a in (("codes", codes), ("factors", factors)))
    if len(x) != len(v):
        raise InputError(
            f"there are {len(x):,} codes and {len(v):,} rows of factors",
            subject="factors",
            expected="a row of factors for each code",
        )
    if len(x) < 2:
        raise InputError(f"there are {len(x)} rows", subject="codes", expected="two rows or more")
    for k in range(v.shape[1]):
        if (v[:, k] == v[0, k]).all():
            raise InputError(
                f"factor {k} is {v[0, k]:g} in every row, so no code can tell its values apart",
                subject="factors",
                remedy="leave it out",
            )
    kinds = [_looks_like_classes(column) for column in v.T] if is_class is None else list(is_class)
    if len(kinds) != v.shape[1]:
        raise InputError(
            f"is_class has {len(kinds)} values, and there are {v.shape[1]} factors",
            subject="is_class",
            expected="True or False for each factor",
        )
    numbers = [numbered(c) if kind else c for c, kind in zip(v.T, kinds, strict=True)]
    return Pairs(x, np.stack(numbers, 1).astype(float), tuple(map(bool, kinds)))


def as_matrix(name: str, values: Any) -> Array:
    """Return rows of finite numbers, (N, D), in double precision; (N,) become one column.

    Raises:
        InputError: they are something else.
    """
    try:
        array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} are not numbers", subject=name, expected="an array") from error
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or not array.size:
        raise InputError(
            f"{name} have shape {array.shape}", subject=name, expected="rows and columns (N, D)"
        )
    if not np.isfinite(array).all():
        row = int((~np.isfinite(array)).any(1).argmax())
        raise InputError(
            f"{name} have a value in row {row} that is missing or infinite",
            subject=name,
            remedy="leave such rows out",
        )
    return array


def half_of(count: int, noise: np.random.Generator) -> Array:
    """Return the numbers of half of the rows, two or more, without replacement."""
    return noise.permutation(count)[: max(2, count // 2)]


def _looks_like_classes(values: Array) -> bool:
    return bool((values == values.round()).all()) and len(np.unique(values)) <= FEW


def numbered(values: Array) -> Array:
    """Return the distinct values as numbers 0, 1, ..., (N,)."""
    return np.unique(values, return_inverse=True)[1].reshape(len(values))


def in_bins(values: Array, bins: int = BINS) -> Array:
    """Return the bin of each value, 0, 1, ..., with equal shares; few distinct values are their own bins.

    >>> in_bins(np.arange(6.0), 3)
    array([0, 0, 1, 1, 2, 2])
    """
    if len(np.unique(values)) <= bins:
        return numbered(values)
    edges = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(np.unique(edges), values, side="right")
