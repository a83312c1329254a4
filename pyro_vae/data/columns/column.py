"""A column of a table: its name, its kind, its categories."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from pyro_vae.errors import unknown


class Kind(StrEnum):
    """Name the kind of a column's values."""

    REAL = "real"
    POSITIVE = "positive"  # real, and spread over orders of magnitude
    COUNT = "count"  # whole numbers from 0
    GRADE = "grade"  # a few whole numbers from 0, such as answers on a scale
    BINARY = "binary"  # one of two
    CATEGORY = "category"  # one of several that have no order
    DATE = "date"  # days since 1970
    TIME = "time"  # the same, with the time of the day


@dataclass(frozen=True)
class Column:
    """Hold the name and the kind of a column, and the categories that 0, 1, ... stand for.

    ``highest`` is the highest grade, where grades are numbers in the file.

    >>> job, answer = Column("job", Kind.CATEGORY, ("clerk", "cook")), Column("q1", Kind.GRADE, highest=5)
    >>> job.num_categories, answer.num_categories
    (2, 6)
    >>> job.decode(np.array([1.0, np.nan, 0.0])), Column("day", Kind.DATE).decode(np.array([18262.0]))
    (['cook', '', 'clerk'], ['2020-01-01'])
    """

    name: str
    kind: Kind = Kind.REAL
    categories: tuple[str, ...] | None = None
    highest: int | None = None

    @property
    def num_categories(self) -> int:
        """The number K of values 0, ..., K - 1 that the column can have; 0 where it is not bounded."""
        if self.categories is not None:
            return len(self.categories)
        return 2 if self.kind is Kind.BINARY else 0 if self.highest is None else self.highest + 1

    @property
    def is_number(self) -> bool:
        """Whether the file has numbers, too, so that sums and means of them have a meaning."""
        return self.categories is None

    def decode(self, values: npt.NDArray[Any]) -> Iterable[Any]:
        """Return values (N,) as a file has them: categories and dates as text, "" for NaN."""
        if self.categories is not None:
            return ["" if np.isnan(x) else self.categories[round(x)] for x in values]
        if self.kind in (Kind.DATE, Kind.TIME):
            unit, per_day = ("D", 1) if self.kind is Kind.DATE else ("s", 86_400)
            steps = np.where(np.isnan(values), 0, np.round(values * per_day)).astype(np.int64)
            dates = steps.astype(f"datetime64[{unit}]").astype(str)
            return np.where(np.isnan(values), "", dates).tolist()
        if values.dtype != np.float64:
            return values
        with np.errstate(over="ignore"):
            narrow = values.astype(np.float32)  # in which a model's values have fewer digits
        return [x if x != y else y for x, y in zip(values, narrow, strict=True)]


def parse_kinds(kinds: Mapping[str, str]) -> dict[str, Kind]:
    """Return the kinds of columns by their names.

    Raises:
        InputError: there is no such kind.
    """
    for name, kind in kinds.items():
        if kind not in list(Kind):
            raise unknown(
                f"column {name!r} cannot be of the kind {kind!r}", kind, Kind, subject=name
            )
    return {name: Kind(kind) for name, kind in kinds.items()}
