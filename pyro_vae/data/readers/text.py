"""Tables of text, .csv, .tsv and .txt, also packed as .gz -> a frame."""

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pyro_vae.data.columns.gaps import is_gap, settled
from pyro_vae.data.readers.text_layout import BLANKS, COMMA_NUMBER, NUMBER, Layout, layout_of
from pyro_vae.data.reading import Reading
from pyro_vae.errors import InputError
from pyro_vae.memory import ALLOWANCE, MAX_RATIO, check_fits, check_unpacked

if TYPE_CHECKING:
    import pandas as pd

TEXTS = (".csv", ".tsv", ".txt")
MOST_COLUMNS, MOST_LETTERS = 100_000, 2**24  # of a table, of its first line
_LINES, _LETTERS = 200, 2**21  # that are looked at to find the layout
_CELL = 4  # bytes of a frame for each of its text
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(([.' ]\d{3})+(,\d*)?|([,' ]\d{3})+(\.\d*)?)")
_CLEAR = re.compile(r"[-+]?(0?,\d+|\d+,(\d{0,2}|\d{4,})|\d{4,},\d+)([eE][-+]?\d+)?")  # no thousands


def ending(path: Path) -> str:
    """The ending of a table's name, of a packed one that before .gz: ``.csv`` of ``a.csv.gz``."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return suffixes[0] if suffixes[1:] == [".gz"] else (suffixes or [""])[-1]


def is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def read_text(path: Path, reading: Reading) -> tuple["pd.DataFrame", list[str]]:
    """The table in a text; and what was guessed of it, in sentences.

    A column whose name the first line lacks, because it is shorter or has an empty cell there, is called
    ``Unnamed: 0`` or by its place.

    :raises InputError: it is no text in UTF-8 (or UTF-16), no table, or its decimal marks are unclear.
    """
    import pandas as pd

    if reading.decimal not in (None, ".", ","):
        raise InputError(f"decimal={reading.decimal!r} stands before no decimals: give . or ,")
    _check_size(path)
    try:
        layout = layout_of(
            path, _first_lines(path), ending(path), reading.separator, reading.header
        )
        frame = _parsed(path, layout, reading.decimal or ".")
        decimal = reading.decimal or _decimal(path, frame)
        if decimal == "," and reading.decimal is None:
            frame = _parsed(path, layout, decimal)
    except UnicodeError as error:
        raise InputError(f"{path} is not text in UTF-8; save it as such") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is damaged or not packed by gzip: {error}") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise InputError(
            f"{path} is not a table with as many cells in each line: {reason}"
        ) from error
    remarks = list(layout.remarks)
    if decimal == "," and reading.decimal is None:
        remarks.append("cells such as 42,78 are numbers with a decimal comma (--decimal)")
    frame, more = _named(path, frame, layout)
    frame, words = _settled(path, frame, reading, decimal)
    if words:
        named = ", ".join(map(repr, sorted(words)[:5]))
        remarks.append(
            f"{named} {'stand' if words[1:] else 'stands'} for a missing value (--missing)"
        )
    return frame, [*remarks, *more]


# --- the bytes ------------------------------------------------------------------------------


def _check_size(path: Path) -> None:
    """:raises InputError: the table would take more memory than there is."""
    stored = path.stat().st_size
    if not is_packed(path):
        check_fits(str(path), _CELL * stored, "take fewer rows, or save it as .npy")
        return
    size, most = 0, max(ALLOWANCE, MAX_RATIO * stored) // _CELL
    with gzip.open(path) as file:
        try:
            while size <= most and (chunk := file.read(2**20)):
                size += len(chunk)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{path} is damaged or not packed by gzip: {error}") from error
    check_unpacked(str(path), _CELL * size, stored)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    packed = is_packed(path)
    with gzip.open(path) if packed else path.open("rb") as file:
        mark = file.read(2)
    encoding = "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with (
        gzip.open(path, "rt", encoding=encoding, newline="")
        if packed
        else path.open(encoding=encoding, newline="")
    ) as text:
        yield text


def _first_lines(path: Path) -> list[str]:
    """The lines that are looked at, none of them cut, from the first that is not blank."""
    lines: list[str] = []
    with _opened(path) as file:
        letters = 0
        while len(lines) < _LINES and (line := file.readline(MOST_LETTERS)):
            if not lines and not line.strip():
                continue
            letters += len(line)
            if len(line) == MOST_LETTERS and not lines:
                check_width(path, MOST_COLUMNS + 1)
            if letters > MOST_LETTERS + _LETTERS or (lines and letters > len(lines[0]) + _LETTERS):
                break
            lines.append(line)
    if lines:
        check_width(path, max(*(lines[0].count(s) + 1 for s in ",;\t|"), len(lines[0].split())))
    return lines


def check_width(path: Path, columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise InputError(
            f"the first line of {path} has more than {MOST_COLUMNS:,} columns, which is no table: save "
            "an array of numbers as .npy"
        )


def check_unique(path: Path, names: Sequence[str]) -> None:
    """:raises InputError: two columns have one name."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{path} has two columns {twice!r}: name each in its own way")


# --- the cells ------------------------------------------------------------------------------


def _parsed(path: Path, layout: Layout, decimal: str) -> "pd.DataFrame":
    """The rows, with columns 0, 1, ..."""
    import pandas as pd

    with _opened(path) as file:
        passed = _pass_first(file, layout.separator) if layout.names is not None else 0
        try:
            return pd.read_csv(
                file,
                sep=r"\s+" if layout.separator == BLANKS else layout.separator,
                header=None,
                decimal=decimal,
                skipinitialspace=True,
                keep_default_na=False,
                na_values=["", "nan", "NaN", "-nan", "-NaN"],
                low_memory=False,
            )
        except pd.errors.EmptyDataError:
            if layout.names and any(layout.names):
                return pd.DataFrame({place: [] for place, _ in enumerate(layout.names)})
            raise
        except pd.errors.ParserError as error:
            counted = re.sub(r"(?<=line )\d+", lambda n: str(int(n[0]) + passed), str(error))
            raise pd.errors.ParserError(counted) from error


def _pass_first(file: TextIO, separator: str) -> int:
    """Leaves the file after its first record that is not blank; returns how many lines that takes."""
    lines = csv.reader(file, delimiter=separator, skipinitialspace=True)
    with suppress(csv.Error):  # a cell of more than 128 kB
        next((row for row in lines if len(row) > 1 or "".join(row).strip()), None)
    return lines.line_num


def _decimal(path: Path, frame: "pd.DataFrame") -> str:
    """The mark before decimals: a comma where that makes numbers of a column that is none otherwise."""
    doubtful = None
    for name in frame:
        if frame[name].dtype.kind in "iufb":
            continue
        words = [
            w for w in map(str.strip, map(str, frame[name].dropna().unique())) if not is_gap(w)
        ]
        if not words or not all(NUMBER.fullmatch(w) or COMMA_NUMBER.fullmatch(w) for w in words):
            continue
        if any(map(_CLEAR.fullmatch, words)):
            return ","
        doubtful = next((w for w in words if "," in w), doubtful)
    if doubtful is not None:
        raise InputError(
            f"{path} has cells such as {doubtful}, in which the comma may stand before decimals or set "
            "thousands apart: say --decimal , (decimal=), or take the marks of thousands out"
        )
    return "."


def _named(path: Path, frame: "pd.DataFrame", layout: Layout) -> tuple["pd.DataFrame", list[str]]:
    """The frame with its columns named."""
    if layout.names is None:
        return frame, []
    names, width, remarks = list(layout.names), frame.shape[1], []
    if len(names) == width - 1 and frame[width - 1].isna().all():  # lines end with a separator
        frame = frame.drop(columns=width - 1)
    elif len(names) == width - 1:
        if frame[0].duplicated().any():
            raise InputError(
                f"{path} is not a table with as many cells in each line: the first line has "
                f"{len(names):,}, the others {width:,}, and the first cells name no rows, as some are alike"
            )
        names = ["", *names]
    elif len(names) != width:
        raise InputError(
            f"{path} is not a table with as many cells in each line: the first line has {len(names):,}, "
            f"the others {width:,}"
        )
    names = [name or f"Unnamed: {place}" for place, name in enumerate(names)]
    check_unique(path, names)
    frame.columns = names
    blank = [n for n in names if n.startswith("Unnamed: ") and frame[n].isna().all()]
    if blank and len(frame):
        remarks.append(f"{len(blank)} columns without a name and without a value are left out")
        frame = frame.drop(columns=blank)
    return frame, remarks


def _settled(
    path: Path, frame: "pd.DataFrame", reading: Reading, decimal: str
) -> tuple["pd.DataFrame", list[str]]:
    """The frame with numbers where there are words for missing ones; and these words."""
    import pandas as pd

    found: set[str] = set()
    changed: dict[Hashable, pd.Series] = {}
    for name in frame:
        if frame[name].dtype.kind in "iufb":
            continue
        whole = frame[name]
        if whole.dtype == object:  # truth values among gaps
            whole = whole.map(str, na_action="ignore")
        column, gaps = settled(whole, reading.codes, decimal)
        found |= gaps
        if column.dtype.kind in "OU" or column.dtype == whole.dtype:
            _check_marks(path, str(name), column, decimal)
        changed[name] = column
    if changed:  # all at once: one by one, each takes longer than the last
        frame = pd.DataFrame({name: changed.get(name, frame[name]) for name in frame})
    return frame, sorted(found)


def _check_marks(path: Path, name: str, column: "pd.Series", decimal: str) -> None:
    """:raises InputError: numbers that have marks of thousands, or the other decimal mark."""
    words = [w.strip() for w in map(str, column.dropna().unique())]
    marked = [w for w in words if _THOUSANDS.fullmatch(w)]
    other = [w for w in words if (COMMA_NUMBER if decimal == "." else NUMBER).fullmatch(w)]
    if (marked or other) and all(
        _THOUSANDS.fullmatch(w) or NUMBER.fullmatch(w) or COMMA_NUMBER.fullmatch(w) for w in words
    ):
        raise InputError(
            f"column {name!r} of {path} has {(marked or other)[0]} where {decimal!r} stands before "
            "decimals: take out the marks of thousands, or write all decimals alike (--decimal)"
        )
