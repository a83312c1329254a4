"""The columns of a pandas frame as numbers: categories as 0, 1, ..., dates as days; and their kinds."""

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

MOST_CATEGORIES = 100  # in a column whose kind nobody names
WIDE = 50  # columns; a table of more, all of whole numbers, is a matrix, and all are of one kind
_DATES = {  # patterns of dates, and their formats
    r"\d{4}-\d\d?-\d\d?([T ].*)?": ("ISO8601",),
    r"\d{4}/\d\d?/\d\d?": ("%Y/%m/%d",),
    r"\d\d?\.\d\d?\.\d{4}": ("%d.%m.%Y",),
    r"\d\d?/\d\d?/\d{4}": ("%d/%m/%Y", "%m/%d/%Y"),
}
_ANOTHER_KIND = "name another kind by --kinds"


def numeric_columns(
    where: str, frame: "pd.DataFrame", kinds: Mapping[str, Kind]
) -> tuple[Values, list[Column], list[str]]:
    """Convert the columns of a frame to numbers, with NaN where a value is missing.

    Args:
        where: what messages call the table.
        frame: the table.
        kinds: the kinds that the user names, by column; all are in the frame.

    Returns:
        The rows (N, columns), the columns, and remarks on those that are left out.

    Raises:
        InputError: a column is not of its kind, or words stand in a column of numbers.
    """
    values: list[Values] = []
    columns: list[Column] = []
    remarks: list[str] = []
    shared = None if kinds else _kind_of_matrix(frame)
    for name in map(str, frame):
        encoded = _encode(f"column {name!r} of {where}", frame[name], kinds.get(name, shared))
        if isinstance(encoded, str):
            remarks.append(f"column {name!r} is left out: {encoded}")
            continue
        numbers, kind, categories = encoded
        values.append(numbers)
        columns.append(_column(name, numbers, kind, categories))
    if shared is Kind.GRADE:  # one scale: an answer that nobody gave to one question is possible
        highest = max(column.highest or 0 for column in columns)
        columns = [replace(column, highest=highest) for column in columns]
    if not columns:
        reasons = f" ({'; '.join(remarks[:2])})" if remarks else ""
        raise InputError(f"{where} has no column that a model can use{reasons}", subject=where)
    return np.stack(values, 1), columns, remarks


def _kind_of_matrix(frame: "pd.DataFrame") -> Kind | None:
    """Return the one kind of many columns that all hold whole numbers from 0, or all others."""
    import pandas as pd

    numeric = (
        pd.api.types.is_numeric_dtype(t) and not pd.api.types.is_bool_dtype(t) for t in frame.dtypes
    )
    if frame.shape[1] <= WIDE or not all(numeric):
        return None
    values = [_numbers(frame[name]) for name in frame]
    are_counts = {_are_counts(x[~np.isnan(x)]) for x in values}
    return kind_of_all(values) if len(are_counts) == 1 else None


def _column(
    name: str, values: Values, kind: Kind, categories: tuple[str, ...] | None = None
) -> Column:
    highest = int(np.nanmax(values)) if kind is Kind.GRADE and categories is None else None
    return Column(name, kind, categories, highest)


Encoded = tuple[Values, Kind, tuple[str, ...] | None]


def _encode(at: str, column: "pd.Series", kind: Kind | None) -> Encoded | str:
    """Return a column as numbers, its kind and its categories; or why it is left out."""
    import pandas as pd

    if kind is Kind.CATEGORY or (kind is Kind.BINARY and not _is_zero_or_one(column)):
        return _categories(at, column, kind)
    if pd.api.types.is_bool_dtype(column) or _holds_truth_values(column):
        return _numbers(column.astype("boolean")), kind or Kind.BINARY, ("False", "True")
    if pd.api.types.is_numeric_dtype(column):
        numbers = _numbers(column)
        _check_kind(at, str(column.name), numbers, kind)
        return numbers, kind or kind_of(numbers), None
    if (days := _days(column)) is not None:
        if isinstance(days, str):
            return days
        is_whole = bool((np.isnan(days) | (days == days.round())).all())
        return days, kind or (Kind.DATE if is_whole else Kind.TIME), None
    _check_words(at, column, kind)
    different = column.dropna().nunique()
    if different > min(MOST_CATEGORIES, max(2, len(column) // 2)):
        return (
            f"{different:,} different words in {len(column):,} rows are too many for categories "
            f"(--kinds {column.name}=category keeps it)"
        )
    return _categories(at, column, None)


def _numbers(column: "pd.Series") -> Values:
    numbers: Values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers


def _is_zero_or_one(column: "pd.Series") -> bool:
    import pandas as pd

    return pd.api.types.is_numeric_dtype(column) and bool(column.dropna().isin([0, 1]).all())


def _holds_truth_values(column: "pd.Series") -> bool:
    """Return whether a column of objects holds truth values and missing values alone."""
    return column.dtype == object and bool(column.dropna().isin([True, False]).all())


def _are_counts(x: Values) -> bool:
    return bool(((x >= 0) & (x == x.round())).all())


_POSSIBLE: dict[Kind, tuple[str, Callable[[Values], bool]]] = {
    Kind.POSITIVE: ("positive numbers", lambda x: bool((x > 0).all())),
    Kind.COUNT: ("whole numbers from 0", _are_counts),
    Kind.GRADE: ("whole numbers from 0", _are_counts),
}


def _check_kind(at: str, name: str, numbers: Values, kind: Kind | None) -> None:
    """Check that the numbers can be of the kind that the user names."""
    if kind not in _POSSIBLE:
        return
    expected, fits = _POSSIBLE[kind]
    if not fits(numbers[~np.isnan(numbers)]):
        raise InputError(
            f"{at} has values that cannot be of the kind {kind}",
            subject=name,
            expected=expected,
            remedy=_ANOTHER_KIND,
        )


def _days(column: "pd.Series") -> Values | str | None:
    """Return dates as days since 1970; None where cells are not dates; why, where they are ambiguous."""
    import pandas as pd

    if not pd.api.types.is_datetime64_any_dtype(column):
        words = column.dropna().astype(str)
        forms = [form for form in _DATES if words.str.fullmatch(form).all()] if len(words) else []
        read = [_dates(column, form) for form in (_DATES[forms[0]] if forms else ())]
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


def _check_words(at: str, column: "pd.Series", kind: Kind | None) -> None:
    """Check that a column of words is not one of numbers with a few wrong cells."""
    import pandas as pd

    known = column.notna()
    wrong = known & pd.to_numeric(column.astype(str), errors="coerce").isna()
    if kind is None and wrong.sum() > known.sum() / 2:
        return
    row = int(np.asarray(wrong).argmax())
    cell = str(column.iloc[row])
    raise InputError(
        f"{at} has {cell!r} in row {row + 1} ({int(wrong.sum()):,} such cells)",
        subject=str(column.name),
        expected="numbers",
        remedy=f"pass --missing {_quote(cell)} if it stands for a missing value, --kinds "
        f"{column.name}=category if these are categories",
    )


def _quote(word: str) -> str:
    return word if re.fullmatch(r"[\w.?-]+", word) else repr(word)


def _categories(at: str, column: "pd.Series", kind: Kind | None) -> Encoded:
    """Return a column with 0, 1, ... for its categories, which are sorted."""
    import pandas as pd

    is_known = column.notna().to_numpy()
    known = column[is_known]
    if pd.api.types.is_float_dtype(known) and (known == known.round()).all():
        known = known.astype(np.int64)
    categories, codes = np.unique(
        known if pd.api.types.is_numeric_dtype(known) else known.astype(str).to_numpy(dtype=str),
        return_inverse=True,
    )
    if kind is Kind.BINARY and len(categories) > 2:
        raise InputError(
            f"{at} has {len(categories):,} different values",
            subject=str(column.name),
            expected="two for the kind binary",
            remedy=_ANOTHER_KIND,
        )
    numbers = np.full(len(column), np.nan)
    numbers[is_known] = codes
    kind = kind or (Kind.BINARY if len(categories) == 2 else Kind.CATEGORY)
    if len(categories) < 2:  # nothing else could be drawn
        kind = Kind.CATEGORY
    return numbers, kind, tuple(map(str, categories))
