"""Tables in .csv and .parquet files -> rows of numbers, one column of which may be the label."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pyro_vae.data.arrays import READS_MISSING, to_labels, to_rows
from pyro_vae.data.columns import Kind
from pyro_vae.data.frames import as_numbers
from pyro_vae.data.reading import Reading
from pyro_vae.data.sources import Part, Source, shuffled
from pyro_vae.errors import InputError, nearest
from pyro_vae.memory import check_fits, check_unpacked

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

MOST_COLUMNS, MOST_LETTERS = 100_000, 2**24  # of a table, of the first line of a .csv file
NO_VALUE = {"", "NA", "N/A", "#N/A", "n/a", "<NA>", "NULL", "null", "None"}  # some of pandas' own


def read_table(path: Path, reading: Reading) -> Source:
    """A table: each line a row, each column an element of the event, but for the column ``label``.

    A .csv file is split at commas, semicolons or tabs, whichever its first line has; a first line
    of numbers only is data, with the columns named 0, 1, 2, ... A cell that is empty, NA or nan has
    no value.

    :raises InputError: the file is empty or damaged, ``label`` is no column, or another column has
        values that are missing or not numbers (with row and column), or none at all.
    """
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    label, missing = reading.label, reading.takes_gaps
    frame = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    frame.columns = frame.columns.map(str)
    if not frame.columns.is_unique:
        name = frame.columns[frame.columns.duplicated()][0]
        raise InputError(f"{path} has two columns {name!r}: name each in its own way")
    if not len(frame):
        raise InputError(f"{path} holds no rows")
    labels, names = None, None
    if label is not None:
        if label not in frame.columns:
            raise InputError(f"{path} has no column {label!r}{nearest(label, frame.columns)}")
        _check_complete(path, frame[[label]])
        labels, names = _labels(path, frame.pop(label))
    if not frame.shape[1]:
        raise InputError(f"{path} has no column besides the label")
    frame, kinds = _wanted(path, frame, reading)
    _check_index(path, frame)
    _check_complete(path, frame, missing, f", {READS_MISSING}")
    values, columns, remarks = as_numbers(str(path), frame, kinds)
    part = Part(to_rows(values, str(path), missing), labels)
    return shuffled(part, reading.seed, class_names=names, columns=columns, remarks=remarks)


def _wanted(
    path: Path, frame: "pd.DataFrame", reading: Reading
) -> tuple["pd.DataFrame", dict[str, Kind]]:
    """The columns that are asked for, and what is said of these."""
    for name in (*(reading.columns or ()), *reading.kinds):
        if name not in frame:
            raise InputError(f"{path} has no column {name!r}{nearest(name, frame.columns)}")
    if reading.columns is not None:
        if not reading.columns:
            raise InputError(f"columns=[] leaves nothing of {path}: name those that are to be read")
        frame = frame[list(dict.fromkeys(reading.columns))]
    return frame, {name: kind for name, kind in reading.kinds.items() if name in frame}


def _csv(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline(MOST_LETTERS).strip("\r\n")
        separator = max(",;\t", key=first.count)
        _check_width(
            path, MOST_COLUMNS + 1 if len(first) == MOST_LETTERS else first.count(separator) + 1
        )
        check_fits(str(path), 4 * path.stat().st_size, "take fewer rows, or save it as .npy")
        header = 0 if _is_header(path, first.split(separator)) else None
        return pd.read_csv(
            path, sep=separator, header=header, encoding="utf-8-sig", low_memory=False
        )
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8; save it as such") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise InputError(
            f"{path} is not a table with as many cells in each line: {reason}"
        ) from error


def _is_header(path: Path, cells: list[str]) -> bool:
    """Whether the first line names the columns: it does unless it is numbers and blanks only."""
    cells = [cell.strip().strip('"') for cell in cells]
    if not all(map(_is_number, (cell for cell in cells if cell not in NO_VALUE))):
        return True
    if cells != [str(number) for number in range(len(cells))]:
        return False
    if len(cells) < 3:
        raise InputError(
            f"the first line of {path} could be a row or the columns' numbers: name the columns"
        )
    return True  # 0,1,2,... is what pandas writes for columns without names


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _labels(path: Path, column: "pd.Series") -> tuple[Tensor, tuple[str, ...] | None]:
    import pandas as pd

    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_integer_dtype(column):
        values = column.to_numpy(dtype=np.int64)
    elif pd.api.types.is_float_dtype(column):
        values = column.to_numpy(dtype=np.float64)
    else:
        values = column.astype(str).to_numpy(dtype=str)
    return to_labels(values, f"{path}, column {str(column.name)!r}", len(column))


def _parquet(path: Path) -> "pd.DataFrame":
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(".parquet files need pyarrow: pip install 'pyro-vae[parquet]'") from error
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            _check_width(path, len(schema))
            words = [f.name for f in schema if pa.types.is_string(f.type)]
            for field in schema:
                _check_cells(path, field)
            check_unpacked(str(path), _bytes_of_numbers(file.metadata), path.stat().st_size)
        # words are kept once each until their lengths, repeated, are known
        with parquet.ParquetFile(path, read_dictionary=words) as file:
            table = file.read()
        check_unpacked(str(path), _bytes_of_words(table), path.stat().st_size)
        return table.cast(schema).to_pandas()
    except InputError:
        raise
    except (ValueError, OSError) as error:  # pyarrow's own errors are ValueErrors
        raise InputError(f"{path} is damaged or not a Parquet file: {error}") from error


def _check_cells(path: Path, field: "pa.Field") -> None:
    """:raises InputError: the cells of a column are no single values."""
    from pyarrow import types

    lists, bytes_ = types.is_nested(field.type), types.is_binary(field.type)
    if (
        lists
        or bytes_
        or types.is_large_binary(field.type)
        or types.is_fixed_size_binary(field.type)
    ):
        raise InputError(
            f"column {field.name!r} of {path} holds {field.type} in each cell, not a number: drop it, or "
            "make a column of each number"
        )


def _bytes_of_numbers(metadata: "parquet.FileMetaData") -> int:
    """The memory that the columns take, words by their pages alone; as the file's end says it."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return sum(
        8 * group.num_rows * metadata.num_columns + group.total_byte_size for group in groups
    )


def _bytes_of_words(table: "pa.Table") -> int:
    """The memory that columns of words take once each row has its own."""
    from pyarrow import compute, types

    return sum(
        compute.sum(compute.take(compute.binary_length(chunk.dictionary), chunk.indices)).as_py()
        or 0
        for column in table.columns
        if types.is_dictionary(column.type)
        for chunk in column.chunks
        if types.is_string(chunk.dictionary.type)
    )


def _check_width(path: Path, columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise InputError(
            f"the first line of {path} has more than {MOST_COLUMNS:,} columns, which is no table: save "
            "an array of numbers as .npy"
        )


def _check_index(path: Path, frame: "pd.DataFrame") -> None:
    first = frame.columns[0]
    if first == "Unnamed: 0" and list(frame[first]) == list(range(len(frame))):
        raise InputError(
            f"the first column of {path} has no name and counts the rows, as an index does: "
            "drop it (pandas: to_csv(index=False)), or name it if it is data"
        )


def _check_complete(
    path: Path, frame: "pd.DataFrame", missing: bool = False, of_gaps: str = ""
) -> None:
    empty, infinite = frame.isna().to_numpy(), frame.isin([np.inf, -np.inf]).to_numpy()
    bad = infinite if missing else empty | infinite
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{path} has {'no value' if empty[row, column] else 'an infinity'} in row {row + 1}, "
            f"column {frame.columns[column]!r} (rows count from 1, without the header; "
            f"{int(bad.sum()):,} such cells in all): remove these rows or fill them in"
            f"{of_gaps if empty[row, column] else ''}"
        )
