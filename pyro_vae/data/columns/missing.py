"""Missing values: words for them, numbers that the user names, and numbers that look like placeholders."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pyro_vae.data.columns.cells import is_missing

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]

WORDS = {"NA", "N/A", "#N/A", "#NA", "n/a", "<NA>", "NULL", "null", "None"}  # among categories
_TRUTH = {"true": True, "false": False}
MOST_NAMED = 3  # columns in a remark
_BLOCK = 2**22  # numbers that are compared at a time


def parse_column(
    column: "pd.Series", na_values: Sequence[str | float], decimal: str
) -> tuple["pd.Series", set[str]]:
    """Convert a column of text to numbers or truth values where it holds nothing else but missing values.

    Among numbers, each known word for a missing value is one. Among other words only pandas' are, or those
    that ``na_values`` name.

    Returns:
        The column, and the words that were taken for missing values.
    """
    named, words = {str(value) for value in na_values}, set(column.dropna())
    missing = {word for word in words if word.strip() in named or is_missing(word)}
    plain = words - missing
    if all(word.casefold() in _TRUTH for word in plain):
        return column.map({w: _TRUTH[w.casefold()] for w in plain}).astype("boolean"), missing
    numbers = _parse_numbers(plain, decimal)
    if numbers is not None:
        return column.map(numbers).astype(np.float64), missing
    only_numbers = len(_numbers(na_values)) == len(na_values)  # which do not concern words
    missing = words & (named | WORDS if only_numbers else named)
    return (column.mask(column.isin(missing)) if missing else column), missing


def _parse_numbers(words: Iterable[str], decimal: str) -> dict[str, float] | None:
    """Return the number of each word; None where one is not a number."""
    other = "," if decimal == "." else "."
    numbers = {}
    for word in words:
        try:
            numbers[word] = float(word.replace(",", "."))
        except ValueError:
            return None
        if other in word or "_" in word:
            return None
    return numbers


def mask_na_values(frame: "pd.DataFrame", na_values: Sequence[str | float]) -> "pd.DataFrame":
    """Return the frame without the cells that hold one of ``na_values``, as a number or as a word."""
    import pandas as pd

    numbers, words = _numbers(na_values), [str(value) for value in na_values]
    changed = {}
    for name in frame if na_values else ():
        column = frame[name]
        if pd.api.types.is_bool_dtype(column):
            continue
        if pd.api.types.is_numeric_dtype(column):
            hit = column.isin(numbers)
        else:
            hit = column.astype(str).isin(words)
        if hit.any():
            if pd.api.types.is_integer_dtype(column):
                column = column.astype(np.float64)
            changed[name] = column.mask(hit)
    return (
        pd.DataFrame({name: changed.get(name, frame[name]) for name in frame}) if changed else frame
    )


def mask_na_values_of_array(array: Array, na_values: Sequence[str | float]) -> Array:
    """Return the array with NaN where a number is one of ``na_values``."""
    numbers = _numbers(na_values)
    if not numbers or array.dtype.kind not in "iuf":
        return array
    hit = np.isin(array, numbers)
    if not hit.any():
        return array
    dtype = array.dtype if array.dtype.kind == "f" else np.float64
    return np.where(hit, np.nan, array).astype(dtype)


def _numbers(values: Sequence[str | float]) -> list[float]:
    numbers = []
    for value in values:
        try:
            numbers.append(float(value))
        except ValueError:
            continue
    return numbers


def remarks_on_placeholders(x: Array, names: Sequence[str] | None) -> list[str]:
    """Return a sentence on each number that stands far from all others of its columns, as -999 does.

    Such a number occurs twice or more, and is the only one below 0, or is made of nines and further from
    the others than these are from each other.

    Args:
        x: rows of a table (N, columns), NaN where a value is missing.
        names: of the columns, if they have any.
    """
    suspects: dict[float, list[int]] = {}
    width = max(1, _BLOCK // max(1, len(x)))
    for start in range(0, x.shape[1], width):
        for number, column in _placeholders(x[:, start : start + width]):
            suspects.setdefault(number, []).append(start + column)
    return [_sentence(number, columns, names, x) for number, columns in suspects.items()]


def _placeholders(x: Array) -> list[tuple[float, int]]:
    """Return each such number, and its column."""
    found = []
    for end in (np.fmin, np.fmax):
        extremes = end.reduce(x)
        is_extreme = x == extremes
        rest = np.where(is_extreme, np.nan, x)
        low, high = np.fmin.reduce(rest), np.fmax.reduce(rest)
        distance = np.fmax(low - extremes, extremes - high)
        are_signs = ((rest == 0) | (rest == 1) | np.isnan(rest)).all(0)
        is_whole = extremes == np.round(extremes)
        negative = (extremes < 0) & (low >= 0) & (high > low) & is_whole & ~are_signs
        far = _are_nines(extremes) & (distance > high - low)
        columns = np.flatnonzero((is_extreme.sum(0) > 1) & (negative | far))
        found += [(float(extremes[column]), int(column)) for column in columns]
    return found


def _are_nines(values: Array) -> Array:
    return np.isin(np.abs(values), [10.0**digits - 1 for digits in range(2, 8)] + [999.25])


def _sentence(number: float, columns: Sequence[int], names: Sequence[str] | None, x: Array) -> str:
    where = ", ".join(repr(names[j]) if names else str(j) for j in columns[:MOST_NAMED])
    more = f" and {len(columns) - MOST_NAMED:,} more" if len(columns) > MOST_NAMED else ""
    rows = int((x[:, columns] == number).sum())
    return (
        f"{number:g} stands apart, {rows:,} times, in column{'s' * (len(columns) > 1)} {where}{more}: "
        f"--missing {number:g}, if it stands for a missing value"
    )
