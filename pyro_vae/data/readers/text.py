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

from pyro_vae.data.columns.cells import COMMA_NUMBER, NUMBER, is_missing
from pyro_vae.data.columns.missing import parse_column
from pyro_vae.data.readers.options import ReadOptions
from pyro_vae.data.readers.text_format import BLANKS, TextFormat, detect_format, uneven
from pyro_vae.data.refusals import damaged
from pyro_vae.errors import InputError
from pyro_vae.memory import ALLOWANCE, MAX_RATIO, check_fits, check_unpacked

if TYPE_CHECKING:
    import pandas as pd

TEXTS = (".csv", ".tsv", ".txt")
MOST_COLUMNS, MOST_LETTERS = 100_000, 2**24  # of a table, of its first line
_LINES, _LETTERS = 200, 2**21  # that decide the format
_CELL = 4  # bytes of a frame for each of its text
_GZIP = "a file packed by gzip"
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(([.' ]\d{3})+(,\d*)?|([,' ]\d{3})+(\.\d*)?)")
_CLEAR = re.compile(r"[-+]?(0?,\d+|\d+,(\d{0,2}|\d{4,})|\d{4,},\d+)([eE][-+]?\d+)?")  # no thousands


def ending(path: Path) -> str:
    """Return the ending of a file's name, without .gz: ``.csv`` of ``a.csv.gz``."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return suffixes[0] if suffixes[1:] == [".gz"] else (suffixes or [""])[-1]


def is_packed(path: Path) -> bool:
    """Return whether a name ends in .gz."""
    return path.suffix.lower() == ".gz"


def read_text(path: Path, options: ReadOptions) -> tuple["pd.DataFrame", list[str]]:
    """Return the table in a text, and remarks on what was guessed.

    A column whose name the first line lacks, because it is shorter or has an empty cell there, is called
    ``Unnamed: 0`` or by its place.

    Raises:
        InputError: it is not text in UTF-8 (or UTF-16), not a table, or its decimal marks are ambiguous.
    """
    frame, form, decimal = _read(path, options)
    remarks = list(form.remarks)
    if decimal == "," and options.decimal is None:
        remarks.append("cells such as 42,78 are numbers with a decimal comma (--decimal)")
    frame, more = _name_columns(path, frame, form)
    frame, words = _parse_columns(path, frame, options, decimal)
    if words:
        named = ", ".join(map(repr, sorted(words)[:5]))
        remarks.append(
            f"{named} {'stand' if words[1:] else 'stands'} for a missing value (--missing)"
        )
    return frame, [*remarks, *more]


def _read(path: Path, options: ReadOptions) -> tuple["pd.DataFrame", TextFormat, str]:
    """Return the table as pandas reads it, its format and its decimal mark."""
    import pandas as pd

    if options.decimal not in (None, ".", ","):
        raise InputError(
            f"decimal={options.decimal!r} is not a decimal mark",
            subject="decimal",
            expected=". or ,",
        )
    _check_size(path)
    try:
        lines = _first_lines(path)
        form = detect_format(path, lines, ending(path), options.separator, options.header)
        frame = _parse(path, form, options.decimal or ".")
        decimal = options.decimal or _decimal(path, frame)
        if decimal == "," and options.decimal is None:
            frame = _parse(path, form, decimal)
        return frame, form, decimal
    except UnicodeError as error:
        raise InputError(
            f"{path} is not text in UTF-8", subject=str(path), remedy="save it as UTF-8"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise damaged(path, error, _GZIP) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise uneven(path, reason) from error


# --- the bytes ------------------------------------------------------------------------------


def _check_size(path: Path) -> None:
    """Check that the table takes less memory than is free."""
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
            raise damaged(path, error, _GZIP) from error
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
    """Return the lines that decide the format, none of them cut, from the first that is not blank."""
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
    """Check that the number of columns is that of a table."""
    if columns > MOST_COLUMNS:
        raise InputError(
            f"{path} has too many columns for a table",
            subject=str(path),
            expected=f"at most {MOST_COLUMNS:,}",
            remedy="save an array of numbers as .npy",
        )


def check_unique(path: Path, names: Sequence[str]) -> None:
    """Check that no two columns have one name."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(
            f"{path} has two columns {twice!r}",
            subject=twice,
            remedy="give each column another name",
        )


# --- the cells ------------------------------------------------------------------------------


def _parse(path: Path, form: TextFormat, decimal: str) -> "pd.DataFrame":
    """Return the rows, with columns 0, 1, ..."""
    import pandas as pd

    with _opened(path) as file:
        passed = _skip_first(file, form.separator) if form.names is not None else 0
        try:
            return pd.read_csv(
                file,
                sep=r"\s+" if form.separator == BLANKS else form.separator,
                header=None,
                decimal=decimal,
                skipinitialspace=True,
                keep_default_na=False,
                na_values=["", "nan", "NaN", "-nan", "-NaN"],
                low_memory=False,
            )
        except pd.errors.EmptyDataError:
            if form.names and any(form.names):
                return pd.DataFrame({place: [] for place, _ in enumerate(form.names)})
            raise
        except pd.errors.ParserError as error:
            counted = re.sub(r"(?<=line )\d+", lambda n: str(int(n[0]) + passed), str(error))
            raise pd.errors.ParserError(counted) from error


def _skip_first(file: TextIO, separator: str) -> int:
    """Skip the first record of a file that is not blank, and return how many lines it takes."""
    lines = csv.reader(file, delimiter=separator, skipinitialspace=True)
    with suppress(csv.Error):  # a cell of more than 128 kB
        next((row for row in lines if len(row) > 1 or "".join(row).strip()), None)
    return lines.line_num


def _decimal(path: Path, frame: "pd.DataFrame") -> str:
    """Return the decimal mark: a comma where it makes numbers of a column that has none otherwise."""
    doubtful = None
    for name in frame:
        if frame[name].dtype.kind in "iufb":
            continue
        words = [
            w for w in map(str.strip, map(str, frame[name].dropna().unique())) if not is_missing(w)
        ]
        if not words or not all(NUMBER.fullmatch(w) or COMMA_NUMBER.fullmatch(w) for w in words):
            continue
        if any(map(_CLEAR.fullmatch, words)):
            return ","
        doubtful = next((w for w in words if "," in w), doubtful)
    if doubtful is not None:
        raise InputError(
            f"the comma in cells such as {doubtful} of {path} may be a decimal mark or a mark of thousands",
            subject=str(path),
            remedy="say --decimal , (decimal=), or take the marks of thousands out",
        )
    return "."


def _name_columns(
    path: Path, frame: "pd.DataFrame", form: TextFormat
) -> tuple["pd.DataFrame", list[str]]:
    """Return the frame with its columns named, and remarks."""
    if form.names is None:
        return frame, []
    names, width, remarks = list(form.names), frame.shape[1], []
    if len(names) == width - 1 and frame[width - 1].isna().all():  # lines end with a separator
        frame = frame.drop(columns=width - 1)
    elif len(names) == width - 1:
        if frame[0].duplicated().any():
            raise uneven(
                path,
                f"{len(names):,} in the first, {width:,} in the others, whose first cells are not ids",
            )
        names = ["", *names]
    elif len(names) != width:
        raise uneven(path, f"{len(names):,} in the first, {width:,} in the others")
    names = [name or f"Unnamed: {place}" for place, name in enumerate(names)]
    check_unique(path, names)
    frame.columns = names
    blank = [n for n in names if n.startswith("Unnamed: ") and frame[n].isna().all()]
    if blank and len(frame):
        remarks.append(f"{len(blank)} columns without a name and without a value are left out")
        frame = frame.drop(columns=blank)
    return frame, remarks


def _parse_columns(
    path: Path, frame: "pd.DataFrame", options: ReadOptions, decimal: str
) -> tuple["pd.DataFrame", list[str]]:
    """Convert words to numbers where they are such, and return the words for missing values."""
    import pandas as pd

    missing: set[str] = set()
    changed: dict[Hashable, pd.Series] = {}
    for name in frame:
        if frame[name].dtype.kind in "iufb":
            continue
        whole = frame[name]
        if whole.dtype == object:  # truth values and missing ones
            whole = whole.map(str, na_action="ignore")
        column, words = parse_column(whole, options.na_values, decimal)
        missing |= words
        if column.dtype.kind in "OU" or column.dtype == whole.dtype:
            _check_marks(path, str(name), column, decimal)
        changed[name] = column
    if changed:  # all at once: one by one, each takes longer than the last
        frame = pd.DataFrame({name: changed.get(name, frame[name]) for name in frame})
    return frame, sorted(missing)


def _check_marks(path: Path, name: str, column: "pd.Series", decimal: str) -> None:
    """Check that no number has marks of thousands, or the other decimal mark."""
    words = [w.strip() for w in map(str, column.dropna().unique())]
    marked = [w for w in words if _THOUSANDS.fullmatch(w)]
    other = [w for w in words if (COMMA_NUMBER if decimal == "." else NUMBER).fullmatch(w)]
    if (marked or other) and all(
        _THOUSANDS.fullmatch(w) or NUMBER.fullmatch(w) or COMMA_NUMBER.fullmatch(w) for w in words
    ):
        raise InputError(
            f"column {name!r} of {path} has {(marked or other)[0]}",
            subject=name,
            expected=f"numbers with the decimal mark {decimal!r}",
            remedy="take out the marks of thousands, or name the mark by --decimal",
        )
