"""How a table of text is laid out, from its first lines: what separates cells, what names the columns."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pyro_vae.data.columns.gaps import is_gap
from pyro_vae.errors import InputError

BLANKS, NOTHING = " ", "\x1f"  # any blanks; nothing: one column
SEPARATORS = {"tab": "\t", "\\t": "\t", "space": BLANKS, "comma": ",", "semicolon": ";"}
_USUAL = {".csv": ",", ".tsv": "\t"}
_WORDS = {",": "a comma", ";": "a semicolon", "\t": "a tab", BLANKS: "blanks", "|": "a bar"}
_WHOLE = re.compile(r"[-+]?\d+")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(inf|infinity)", re.IGNORECASE)
COMMA_NUMBER = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
AGREE = 0.9  # of the lines have as many cells as most
_MANY = 5  # numbers that stand in even steps by chance seldom


@dataclass(frozen=True)
class Layout:
    """What separates the cells of a text, and the columns' names in its first line, if it has any.

    ``remarks`` say what was guessed and could be otherwise.
    """

    separator: str
    names: tuple[str, ...] | None
    remarks: tuple[str, ...] = ()


def layout_of(
    path: Path, lines: Sequence[str], ending: str, separator: str | None, header: bool | None
) -> Layout:
    """The layout of a text that begins with ``lines``.

    :param ending: of the file's name: ``.csv``, ``.tsv`` or ``.txt``.
    :param separator: what a person says that it is; None to find it out.
    :param header: whether the first line names the columns, likewise.
    :raises InputError: it cannot be told whether the first line is a row, or it is too short or too long.
    """
    remarks = []
    if separator is None:
        separator = _separator(lines, ending)
        if separator not in (_USUAL.get(ending), NOTHING):
            remarks.append(f"cells are set apart by {_WORDS[separator]} (--separator)")
    else:
        separator = _said(separator)
    first, *body = cells(lines, separator) or [[]]
    width = _width(body) or len(first)
    names = _without_mark(first, width)
    if header is None:
        header, doubtful = _names_columns(path, names, body, width)
        if doubtful and header:
            remarks.append("the first line names the columns (--header false: it is a row)")
        elif doubtful:
            remarks.append(
                "the first line is a row, and the columns are 0, 1, ... (--header true: it names them)"
            )
    if not header:
        return Layout(separator, None, tuple(remarks))
    while len(names) > width and not names[-1].strip():
        names = names[:-1]
    if len(names) not in (width, width - 1):
        raise InputError(
            f"{path} is not a table with as many cells in each line: set apart by "
            f"{_WORDS.get(separator, repr(separator))}, the first line has {len(names):,} cells and the "
            f"next {width:,} (--separator, --decimal)"
        )
    return Layout(separator, tuple(name.strip() for name in names), tuple(remarks))


def cells(lines: Sequence[str], separator: str) -> list[list[str]]:
    """The cells of each line that is not blank."""
    if separator == BLANKS:
        lines = [line.replace("\t", BLANKS).strip() for line in lines]
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    try:
        return [row for row in reader if len(row) > 1 or "".join(row).strip()]
    except csv.Error:  # a cell of more than 128 kB
        return [line.strip("\r\n").split(separator) for line in lines if line.strip()]


def _said(separator: str) -> str:
    separator = SEPARATORS.get(separator, separator)
    if len(separator) != 1 or separator in "\"'\r\n.":
        raise InputError(
            f"separator={separator!r} separates no cells: give one character, or tab, space, comma or "
            "semicolon"
        )
    return separator


def _separator(lines: Sequence[str], ending: str) -> str:
    """What gives the lines equally many cells, and of these as many numbers as can be."""
    usual = _USUAL.get(ending, "\t")
    known = [usual, *(s for s in (",", "\t", ";", "|") if s != usual)]
    fits = {s: _fit(cells(lines, s)) for s in [*known, BLANKS]}
    _, numbers, _ = fits[BLANKS]
    if ending != ".txt" and numbers < AGREE:
        del fits[BLANKS]
    best = max(fits, key=lambda s: fits[s])  # the first of equal ones
    if fits[best] == _NO_FIT:
        most = max(known, key=lines[0].count) if lines else usual
        return most if lines and most in lines[0] else NOTHING
    return NOTHING if best == "," and _is_one_column(lines) else best


_NO_FIT = (False, 0.0, 0)


def _fit(rows: Sequence[Sequence[str]]) -> tuple[bool, float, int]:
    """Whether the first line has as many cells as the others, which share are numbers, how many cells."""
    body = rows[1:] or rows
    width = _width(body)
    agree = sum(len(row) == width for row in body) / max(1, len(body))
    if width < 2 or agree < AGREE or abs(len(rows[0]) - width) > 1:
        return _NO_FIT
    inside = [cell for row in body for cell in row if not is_gap(cell)]
    numbers = sum(_is_number(cell) for cell in inside) / max(1, len(inside))
    return len(rows[0]) == width, numbers, width


def _is_one_column(lines: Sequence[str]) -> bool:
    """Whether a name stands above numbers such as 42,78, which are not a number and its row's name."""
    (first, *body) = cells(lines, NOTHING)
    values = [row[0].strip() for row in body]
    if "," in first[0] or not all(map(COMMA_NUMBER.fullmatch, values)):
        return False
    before = [value.partition(",")[0] for value in values]
    return before != [str(number + 1) for number in range(len(values))]


def _width(rows: Sequence[Sequence[str]]) -> int:
    return max(Counter(map(len, rows)).items(), key=lambda item: item[1])[0] if rows else 0


def _is_number(cell: str) -> bool:
    return bool(NUMBER.fullmatch(cell.strip()) or COMMA_NUMBER.fullmatch(cell.strip()))


def _without_mark(first: Sequence[str], width: int) -> list[str]:
    """The first line without the # that NumPy and others put before names."""
    first = list(first)
    if first and first[0].strip() == "#" and len(first) == width + 1:
        return first[1:]
    if first and first[0].startswith("#") and len(first[0]) > 1:
        return [first[0].lstrip("# "), *first[1:]]
    return first


def _names_columns(
    path: Path, first: Sequence[str], body: Sequence[Sequence[str]], width: int
) -> tuple[bool, bool]:
    """Whether the first line names the columns; and whether it could be otherwise.

    It does where a word stands above numbers. Where it has numbers, they name columns if they count
    them, are five or more in even steps, are whole above decimals, or are far from all that is below.
    """
    if len(first) == width - 1:
        return True, False
    below = [[r[j] for r in body if len(r) == width and not is_gap(r[j])] for j in range(width)]
    numeric = [bool(column) and all(map(_is_number, column)) for column in below]
    pairs = list(zip(first, numeric, below, strict=False))
    words = [is_numeric for cell, is_numeric, _ in pairs if not (is_gap(cell) or _is_number(cell))]
    if any(words):
        return True, False
    numbers = [(cell.strip(), column) for cell, _, column in pairs if _is_number(cell)]
    if not numbers:
        return bool(words), bool(words)
    gaps = sum(map(is_gap, first[1:]))  # the first cell is blank where an index has no name
    if gaps or not body:
        return False, True
    has_index = not first[0].strip() and len(set(below[0])) == len(below[0])
    return _are_names(path, numbers, has_index), True


def _are_names(path: Path, numbers: Sequence[tuple[str, Sequence[str]]], has_index: bool) -> bool:
    said = [cell for cell, _ in numbers]
    if not all(map(_WHOLE.fullmatch, said)) or len(set(said)) < len(said):
        return False
    values, below = [int(cell) for cell in said], [column for _, column in numbers]
    decimals = [not _WHOLE.fullmatch(cell.strip()) for column in below for cell in column]
    are_above_decimals = sum(decimals) > len(decimals) * 2 / 3
    counts = values == list(range(len(values)))  # as pandas names columns that have no names
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
                f"the first line of {path} could be a row or the columns' numbers: name the columns, or "
                "say which with --header true or --header false (header=)"
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
