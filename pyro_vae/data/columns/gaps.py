"""Values that stand for a missing one: words, codes that a person names, and codes that nobody named."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]

WORDS = {"NA", "N/A", "#N/A", "#NA", "n/a", "<NA>", "NULL", "null", "None"}  # also among words
AMONG_NUMBERS = {"", "na", "n/a", "#n/a", "#na", "<na>", "null", "none", "nan", "?", ".", "-", "--"}
_TRUTH = {"true": True, "false": False}
MOST_NAMED = 3  # columns in a remark
_BLOCK = 2**22  # numbers that are looked at together


def is_gap(cell: str) -> bool:
    """Whether a cell is blank or a word for a missing number."""
    return cell.strip().casefold() in AMONG_NUMBERS


def settled(
    column: "pd.Series", codes: Sequence[str | float], decimal: str
) -> tuple["pd.Series", set[str]]:
    """A column of words as numbers or truth values, where it is nothing else beside gaps; and the words
    that were taken for gaps.

    Among numbers any known word is a gap; among words those of pandas are, and where ``codes`` name words
    these alone.
    """
    said, words = {str(code) for code in codes}, set(column.dropna())
    gaps = {word for word in words if word.strip() in said or is_gap(word)}
    plain = words - gaps
    if all(word.casefold() in _TRUTH for word in plain):
        return column.map({w: _TRUTH[w.casefold()] for w in plain}).astype("boolean"), gaps
    numbers = _by_number(plain, decimal)
    if numbers is not None:
        return column.map(numbers).astype(np.float64), gaps
    are_numbers = len(_numbers(codes)) == len(codes)  # which say nothing of words
    gaps = words & (said | WORDS if are_numbers else said)
    return (column.mask(column.isin(gaps)) if gaps else column), gaps


def _by_number(words: Iterable[str], decimal: str) -> dict[str, float] | None:
    """The number that each word is; None where one is none."""
    other = "," if decimal == "." else "."
    found = {}
    for word in words:
        try:
            found[word] = float(word.replace(",", "."))
        except ValueError:
            return None
        if other in word or "_" in word:
            return None
    return found


def without_codes(frame: "pd.DataFrame", codes: Sequence[str | float]) -> "pd.DataFrame":
    """The frame, with no value where a cell is a code, as a number or as a word."""
    import pandas as pd

    numbers, words = _numbers(codes), [str(code) for code in codes]
    changed = {}
    for name in frame if codes else ():
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


def array_without_codes(array: Array, codes: Sequence[str | float]) -> Array:
    """The array, with NaN where a number is a code."""
    numbers = _numbers(codes)
    if not numbers or array.dtype.kind not in "iuf":
        return array
    hit = np.isin(array, numbers)
    if not hit.any():
        return array
    kind = array.dtype if array.dtype.kind == "f" else np.float64
    return np.where(hit, np.nan, array).astype(kind)


def _numbers(codes: Sequence[str | float]) -> list[float]:
    found = []
    for code in codes:
        try:
            found.append(float(code))
        except ValueError:
            continue
    return found


def remarks_on_codes(x: Array, names: Sequence[str] | None) -> list[str]:
    """A sentence on each number that stands far from all others of its columns, as codes do.

    Such a number occurs twice or more, and is the only one below 0, or is made of nines and further from
    the others than these are from each other.

    :param x: rows of a table (N, columns), gaps as NaN.
    :param names: of the columns, if they have any.
    """
    suspects: dict[float, list[int]] = {}
    width = max(1, _BLOCK // max(1, len(x)))
    for start in range(0, x.shape[1], width):
        for code, column in _codes(x[:, start : start + width]):
            suspects.setdefault(code, []).append(start + column)
    return [_sentence(code, columns, names, x) for code, columns in suspects.items()]


def _codes(x: Array) -> list[tuple[float, int]]:
    """Each such number, and its column."""
    found = []
    for end in (np.fmin, np.fmax):
        codes = end.reduce(x)
        is_code = x == codes
        rest = np.where(is_code, np.nan, x)
        low, high = np.fmin.reduce(rest), np.fmax.reduce(rest)
        distance = np.fmax(low - codes, codes - high)
        are_signs = ((rest == 0) | (rest == 1) | np.isnan(rest)).all(0)
        negative = (codes < 0) & (low >= 0) & (high > low) & (codes == np.round(codes)) & ~are_signs
        far = _of_nines(codes) & (distance > high - low)
        columns = np.flatnonzero((is_code.sum(0) > 1) & (negative | far))
        found += [(float(codes[column]), int(column)) for column in columns]
    return found


def _of_nines(values: Array) -> Array:
    return np.isin(np.abs(values), [10.0**digits - 1 for digits in range(2, 8)] + [999.25])


def _sentence(code: float, columns: Sequence[int], names: Sequence[str] | None, x: Array) -> str:
    where = ", ".join(repr(names[j]) if names else str(j) for j in columns[:MOST_NAMED])
    more = f" and {len(columns) - MOST_NAMED:,} more" if len(columns) > MOST_NAMED else ""
    rows = int((x[:, columns] == code).sum())
    return (
        f"{code:g} stands apart, {rows:,} times, in column{'s' * (len(columns) > 1)} {where}{more}: "
        f"--missing {code:g}, if it stands for a missing value"
    )
