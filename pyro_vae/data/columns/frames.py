"""The columns of a frame as numbers: words by number, dates as days, and what kind each column is of."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pyro_vae.data.columns.column import Column, Kind
from pyro_vae.data.columns.kinds import Values, kind_of, kind_of_all
from pyro_vae.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 100  # that are taken for such unasked
WIDE = 50  # columns; a table of more, all of whole numbers, is a matrix, and all are of one kind
_DATES = {  # how a cell that is a date looks, and how it is read
    r"\d{4}-\d\d?-\d\d?([T ].*)?": ("ISO8601",),
    r"\d{4}/\d\d?/\d\d?": ("%Y/%m/%d",),
    r"\d\d?\.\d\d?\.\d{4}": ("%d.%m.%Y",),
    r"\d\d?/\d\d?/\d{4}": ("%d/%m/%Y", "%m/%d/%Y"),
}


def as_numbers(
    where: str, frame: "pd.DataFrame", kinds: Mapping[str, Kind]
) -> tuple[Values, list[Column], list[str]]:
    """The rows of a frame as numbers, NaN where a value is missing, its columns, and what is to be said.

    :param kinds: of columns by name, what a person says they are; all are in the frame.
    :raises InputError: a column is not what it is said to be, or cells are words in a column of numbers.
    """
    values: list[Values] = []
    columns: list[Column] = []
    remarks: list[str] = []
    shared = None if kinds else _kind_of_matrix(frame)
    for name in map(str, frame):
        found = _read(f"column {name!r} of {where}", frame[name], kinds.get(name, shared))
        if isinstance(found, str):
            remarks.append(f"column {name!r} is left out: {found}")
            continue
        numbers, kind, categories = found
        values.append(numbers)
        columns.append(_column(name, numbers, kind, categories))
    if shared is Kind.GRADE:  # one scale: what nobody answered of one question is an answer, too
        highest = max(column.highest or 0 for column in columns)
        columns = [replace(column, highest=highest) for column in columns]
    if not columns:
        raise InputError(f"{where} has no column that a model could use. {'; '.join(remarks)}")
    return np.stack(values, 1), columns, remarks


def _kind_of_matrix(frame: "pd.DataFrame") -> Kind | None:
    """The one kind of the columns of a matrix: many, all of whole numbers from 0, or none of whole ones."""
    import pandas as pd

    numeric = (
        pd.api.types.is_numeric_dtype(t) and not pd.api.types.is_bool_dtype(t) for t in frame.dtypes
    )
    if frame.shape[1] <= WIDE or not all(numeric):
        return None
    values = [_numbers(frame[name]) for name in frame]
    are_whole = {bool((np.isnan(x) | ((x >= 0) & (x == x.round()))).all()) for x in values}
    return kind_of_all(values) if len(are_whole) == 1 else None


def _column(
    name: str, values: Values, kind: Kind, categories: tuple[str, ...] | None = None
) -> Column:
    highest = int(np.nanmax(values)) if kind is Kind.GRADE and categories is None else None
    return Column(name, kind, categories, highest)


Found = tuple[Values, Kind, tuple[str, ...] | None]


def _read(at: str, column: "pd.Series", said: Kind | None) -> Found | str:
    """A column as numbers, its kind and its categories; or why it is left out."""
    import pandas as pd

    if said is Kind.CATEGORY or (said is Kind.BINARY and not _is_zero_or_one(column)):
        return _categories(at, column, said)
    if pd.api.types.is_bool_dtype(column) or _holds_truths(column):
        return _numbers(column.astype("boolean")), said or Kind.BINARY, ("False", "True")
    if pd.api.types.is_numeric_dtype(column):
        numbers = _numbers(column)
        return numbers, _checked(at, numbers, said) or kind_of(numbers), None
    if (days := _days(column)) is not None:
        if isinstance(days, str):
            return days
        is_whole = bool((np.isnan(days) | (days == days.round())).all())
        return days, said or (Kind.DATE if is_whole else Kind.TIME), None
    _check_words(at, column, said)
    known = column.dropna().nunique()
    if known > min(MOST_CATEGORIES, max(2, len(column) // 2)):
        return (
            f"its {known:,} different words in {len(column):,} rows are no categories "
            f"(--kinds {column.name}=category keeps it)"
        )
    return _categories(at, column, None)


def _numbers(column: "pd.Series") -> Values:
    numbers: Values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers


def _is_zero_or_one(column: "pd.Series") -> bool:
    import pandas as pd

    return pd.api.types.is_numeric_dtype(column) and bool(column.dropna().isin([0, 1]).all())


def _holds_truths(column: "pd.Series") -> bool:
    """Whether there is nothing but truth values and gaps, or gaps alone."""
    return column.dtype == object and bool(column.dropna().isin([True, False]).all())


_POSSIBLE: dict[Kind, tuple[str, Callable[[Values], bool]]] = {
    Kind.POSITIVE: ("positive", lambda x: bool((x > 0).all())),
    Kind.COUNT: ("whole numbers from 0", lambda x: bool(((x >= 0) & (x == x.round())).all())),
    Kind.GRADE: ("whole numbers from 0", lambda x: bool(((x >= 0) & (x == x.round())).all())),
}


def _checked(at: str, numbers: Values, said: Kind | None) -> Kind | None:
    """:raises InputError: the numbers are not of the kind that a person says."""
    if said in _POSSIBLE:
        what, fits = _POSSIBLE[said]
        if not fits(numbers[~np.isnan(numbers)]):
            raise InputError(
                f"{at} is said to be of the kind {said}, but not all values are {what}"
            )
    return said


def _days(column: "pd.Series") -> Values | str | None:
    """Dates as days since 1970; None where they are no dates, and why if that cannot be told."""
    import pandas as pd

    if not pd.api.types.is_datetime64_any_dtype(column):
        words = column.dropna().astype(str)
        looks = [form for form in _DATES if words.str.fullmatch(form).all()] if len(words) else []
        read = [_dates(column, form) for form in (_DATES[looks[0]] if looks else ())]
        possible = [dates for dates in read if dates is not None]
        if len(possible) > 1:
            return "its dates may begin with the day or the month: write them as 2026-11-29"
        if not possible:
            return None
        column = possible[0]
    if column.dt.tz is not None:
        column = column.dt.tz_convert(None)
    return _numbers((column - pd.Timestamp(0)) / pd.Timedelta(days=1))


def _dates(column: "pd.Series", form: str) -> "pd.Series | None":
    import pandas as pd

    try:
        return pd.to_datetime(column, format=form, utc=form == "ISO8601")
    except (ValueError, OverflowError):
        return None


def _check_words(at: str, column: "pd.Series", said: Kind | None) -> None:
    """:raises InputError: most cells are numbers, or all should be."""
    import pandas as pd

    there = column.notna()
    wrong = there & pd.to_numeric(column.astype(str), errors="coerce").isna()
    if said is None and wrong.sum() > there.sum() / 2:
        return
    row = int(np.asarray(wrong).argmax())
    raise InputError(
        f"{at} is not numeric ({str(column.iloc[row])!r} in row {row + 1}; {int(wrong.sum()):,} such "
        f"cells): --missing {_quoted(str(column.iloc[row]))} if that stands for a missing value, --kinds "
        f"{column.name}=category if these are names"
    )


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[\w.?-]+", word) else repr(word)


def _categories(at: str, column: "pd.Series", said: Kind | None) -> Found:
    """A column by the numbers of its categories, which are sorted."""
    import pandas as pd

    there = column.notna().to_numpy()
    known = column[there]
    if pd.api.types.is_float_dtype(known) and (known == known.round()).all():
        known = known.astype(np.int64)
    found, codes = np.unique(
        known if pd.api.types.is_numeric_dtype(known) else known.astype(str).to_numpy(dtype=str),
        return_inverse=True,
    )
    if said is Kind.BINARY and len(found) > 2:
        raise InputError(f"{at} is said to be binary, and has {len(found):,} values")
    numbers = np.full(len(column), np.nan)
    numbers[there] = codes
    kind = said or (Kind.BINARY if len(found) == 2 else Kind.CATEGORY)
    if len(found) < 2:  # there is no second that could be drawn
        kind = Kind.CATEGORY
    return numbers, kind, tuple(map(str, found))
