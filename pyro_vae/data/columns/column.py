"""The columns of a table: their names, and what their values are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from pyro_vae.errors import InputError, nearest


class Kind(StrEnum):
    """What the values of a column are."""

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
    """A column of a table: its name, what its values are, and what 0, 1, ... stand for, if for words.

    ``highest`` is the highest of grades that are no words.

    >>> job, answer = Column("job", Kind.CATEGORY, ("clerk", "cook")), Column("q1", Kind.GRADE, highest=5)
    >>> job.num_names, answer.num_names
    (2, 6)
    >>> job.written(np.array([1.0, np.nan, 0.0])), Column("day", Kind.DATE).written(np.array([18262.0]))
    (['cook', '', 'clerk'], ['2020-01-01'])
    """

    name: str
    kind: Kind = Kind.REAL
    categories: tuple[str, ...] | None = None
    highest: int | None = None

    @property
    def num_names(self) -> int:
        """From how many whole numbers, 0, 1, ..., the values are; 0 where there is no end to them."""
        if self.categories is not None:
            return len(self.categories)
        return 2 if self.kind is Kind.BINARY else 0 if self.highest is None else self.highest + 1

    @property
    def is_number(self) -> bool:
        """Whether a value is a number in the file as well, so that sums and means of it mean something."""
        return self.categories is None

    def written(self, values: npt.NDArray[Any]) -> Iterable[Any]:
        """Values (N,) as a file has them: words where they stand for such, dates as dates; NaN is empty."""
        if self.categories is not None:
            return ["" if np.isnan(x) else self.categories[round(x)] for x in values]
        if self.kind in (Kind.DATE, Kind.TIME):
            unit, per_day = ("D", 1) if self.kind is Kind.DATE else ("s", 86_400)
            steps = np.where(np.isnan(values), 0, np.round(values * per_day)).astype(np.int64)
            words = steps.astype(f"datetime64[{unit}]").astype(str)
            return np.where(np.isnan(values), "", words).tolist()
        if values.dtype != np.float64:
            return values
        with np.errstate(over="ignore"):
            narrow = values.astype(np.float32)  # in which a model's values have fewer digits
        return [x if x != y else y for x, y in zip(values, narrow, strict=True)]


def known_kinds(kinds: Mapping[str, str]) -> dict[str, Kind]:
    """Kinds of columns by their names.

    :raises InputError: there is no such kind.
    """
    known = [str(kind) for kind in Kind]
    for name, kind in kinds.items():
        if kind not in known:
            raise InputError(
                f"column {name!r} cannot be of the kind {kind!r}{nearest(kind, known)}"
            )
    return {name: Kind(kind) for name, kind in kinds.items()}
