"""The format of a table of text, from its first lines: the separator, and the names of the columns."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pyro_vae.data.columns.cells import COMMA_NUMBER, is_missing, is_number
from pyro_vae.errors import InputError

BLANKS, NO_SEPARATOR = " ", "\x1f"  # any blanks; one column
SEPARATORS = {"tab": "\t", "\\t": "\t", "space": BLANKS, "comma": ",", "semicolon": ";"}
_USUAL = {".csv": ",", ".tsv": "\t"}
_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab", BLANKS: "blanks", "|": "a bar"}
_WHOLE = re.compile(r"[-+]?\d+")
AGREE = 0.9  # of the lines have as many cells as most
_MANY = 5  # numbers that seldom have even steps by chance


@dataclass(frozen=True)
class TextFormat:
    """Hold the separator of a text's cells, and the columns' names if its first line has any.

    ``remarks`` say what was guessed and could be otherwise.
    """

    separator: str
    names: tuple[str, ...] | None
    remarks: tuple[str, ...] = ()


def uneven(path: Path, reason: str) -> InputError:
    """Return the error that the lines of a table have different numbers of cells."""
    return InputError(
        f"{path} is not a table with as many cells in each line ({reason})",
        subject=str(path),
        remedy="name the marks by --separator and --decimal, or mend the lines",
    )


def detect_format(
    path: Path, lines: Sequence[str], ending: str, separator: str | None, header: bool | None
) -> TextFormat:
    """Return the format of a text that begins with ``lines``.

    Args:
        path: the file, for messages.
        lines: its first lines.
        ending: of the file's name: ``.csv``, ``.tsv`` or ``.txt``.
        separator: what the user names; None detects it.
        header: whether the first line names the columns; None detects that.

    Raises:
        InputError: the first line may be a row or names, or has too few cells or too many.
    """
    remarks = []
    if separator is None:
        separator = _separator(lines, ending)
        if separator not in (_USUAL.get(ending), NO_SEPARATOR):
            remarks.append(f"cells are set apart by {_NAMES[separator]} (--separator)")
    else:
        separator = _parse_separator(separator)
    first, *body = cells(lines, separator) or [[]]
    width = _width(body) or len(first)
    names = _without_mark(first, width)
    if header is None:
        header, is_doubtful = _names_columns(path, names, body, width)
        if is_doubtful and header:
            remarks.append("the first line names the columns (--header false: it is a row)")
        elif is_doubtful:
            remarks.append(
                "the first line is a row, and the columns are 0, 1, ... (--header true: it names them)"
            )
    if not header:
        return TextFormat(separator, None, tuple(remarks))
    while len(names) > width and not names[-1].strip():
        names = names[:-1]
    if len(names) not in (width, width - 1):
        apart = _NAMES.get(separator, repr(separator))
        raise uneven(
            path, f"set apart by {apart}: {len(names):,} in the first, {width:,} in the next"
        )
    return TextFormat(separator, tuple(name.strip() for name in names), tuple(remarks))


def cells(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Return the cells of each line that is not blank."""
    if separator == BLANKS:
        lines = [line.replace("\t", BLANKS).strip() for line in lines]
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    try:
        return [row for row in reader if len(row) > 1 or "".join(row).strip()]
    except csv.Error:  # a cell of more than 128 kB
        return [line.strip("\r\n").split(separator) for line in lines if line.strip()]


def _parse_separator(separator: str) -> str:
    character = SEPARATORS.get(separator, separator)
    if len(character) != 1 or character in "\"'\r\n.":
        raise InputError(
            f"separator={separator!r} cannot separate cells",
            subject="separator",
            expected="one character, or tab, space, comma or semicolon",
        )
    return character


def _separator(lines: Sequence[str], ending: str) -> str:
    """Return the separator that gives the lines equally many cells, and the most numbers."""
    usual = _USUAL.get(ending, "\t")
    known = [usual, *(s for s in (",", "\t", ";", "|") if s != usual)]
    fits = {s: _fit(cells(lines, s)) for s in [*known, BLANKS]}
    _, numbers, _ = fits[BLANKS]
    if ending != ".txt" and numbers < AGREE:
        del fits[BLANKS]
    best = max(fits, key=lambda s: fits[s])  # the first of equals
    if fits[best] == _NO_FIT:
        most = max(known, key=lines[0].count) if lines else usual
        return most if lines and most in lines[0] else NO_SEPARATOR
    return NO_SEPARATOR if best == "," and _is_one_column(lines) else best


_NO_FIT = (False, 0.0, 0)


def _fit(rows: Sequence[Sequence[str]]) -> tuple[bool, float, int]:
    """Return whether the first line has the others' width, the share of numbers, and the width."""
    body = rows[1:] or rows
    width = _width(body)
    agree = sum(len(row) == width for row in body) / max(1, len(body))
    if width < 2 or agree < AGREE or abs(len(rows[0]) - width) > 1:
        return _NO_FIT
    inside = [cell for row in body for cell in row if not is_missing(cell)]
    numbers = sum(is_number(cell) for cell in inside) / max(1, len(inside))
    return len(rows[0]) == width, numbers, width


def _is_one_column(lines: Sequence[str]) -> bool:
    """Return whether a name stands above numbers such as 42,78, not above the ids 42 and the numbers 78."""
    (first, *body) = cells(lines, NO_SEPARATOR)
    values = [row[0].strip() for row in body]
    if "," in first[0] or not all(map(COMMA_NUMBER.fullmatch, values)):
        return False
    before = [value.partition(",")[0] for value in values]
    return before != [str(number + 1) for number in range(len(values))]


def _width(rows: Sequence[Sequence[str]]) -> int:
    return max(Counter(map(len, rows)).items(), key=lambda item: item[1])[0] if rows else 0


def _without_mark(first: Sequence[str], width: int) -> list[str]:
    """Return the first line without the # that NumPy and others put before names."""
    first = list(first)
    if first and first[0].strip() == "#" and len(first) == width + 1:
        return first[1:]
    if first and first[0].startswith("#") and len(first[0]) > 1:
        return [first[0].lstrip("# "), *first[1:]]
    return first


def _names_columns(
    path: Path, first: Sequence[str], body: Sequence[Sequence[str]], width: int
) -> tuple[bool, bool]:
    """Return whether the first line names the columns, and whether that is doubtful.

    It does where a word stands above numbers. Where it has numbers, they name columns if they count
    them, are five or more in even steps, are whole above decimals, or are far from all numbers below.
    """
    if len(first) == width - 1:
        return True, False
    below = [[r[j] for r in body if len(r) == width and not is_missing(r[j])] for j in range(width)]
    numeric = [bool(column) and all(map(is_number, column)) for column in below]
    pairs = list(zip(first, numeric, below, strict=False))
    words = [
        is_numeric for cell, is_numeric, _ in pairs if not (is_missing(cell) or is_number(cell))
    ]
    if any(words):
        return True, False
    numbers = [(cell.strip(), column) for cell, _, column in pairs if is_number(cell)]
    if not numbers:
        return bool(words), bool(words)
    gaps = sum(map(is_missing, first[1:]))  # the first cell is blank where an index has no name
    if gaps or not body:
        return False, True
    has_index = not first[0].strip() and len(set(below[0])) == len(below[0])
    return _are_names(path, numbers, has_index), True


def _are_names(path: Path, numbers: Sequence[tuple[str, Sequence[str]]], has_index: bool) -> bool:
    first = [cell for cell, _ in numbers]
    if not all(map(_WHOLE.fullmatch, first)) or len(set(first)) < len(first):
        return False
    values, below = [int(cell) for cell in first], [column for _, column in numbers]
    decimals = [not _WHOLE.fullmatch(cell.strip()) for column in below for cell in column]
    are_above_decimals = sum(decimals) > len(decimals) * 2 / 3
    counts = values == list(range(len(values)))  # pandas' names for columns without names
    rows = list(zip(*below, strict=False))[:20]
    outside = [
        _is_far(value, list(map(_float, column)))
        for value, column in zip(values, below, strict=True)
    ]
    if len(values) > 1 and len(rows) > 2 and sum(outside) >= AGREE * len(outside):
        return True
    if len(values) < 3:
        if counts and not (are_above_decimals or has_index):
            raise InputError(
                f"the first line of {path} may be a row or the columns' numbers",
                subject=str(path),
                remedy="say which by --header true (it names the columns) or --header false",
            )
        return counts
    if counts or are_above_decimals:
        return True
    is_even = _is_even(values) and not all(_is_even(list(map(_float, row))) for row in rows)
    return is_even and len(values) >= _MANY


def _is_even(values: Sequence[float]) -> bool:
    steps = {after - before for before, after in pairwise(values)}
    return len(steps) == 1 and min(steps) > 0


def _is_far(value: float, column: Sequence[float]) -> bool:
    if not column:
        return True
    low, high = min(column), max(column)
    spread = high - low or abs(high)
    return not low - spread <= value <= high + spread


def _float(cell: str) -> float:
    return float(cell.strip().replace(",", "."))
