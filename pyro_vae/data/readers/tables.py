"""Tables of text and in .parquet files -> rows of numbers, one column of which may be the label."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pyro_vae.data.columns.frames import as_numbers
from pyro_vae.data.columns.gaps import remarks_on_codes, without_codes
from pyro_vae.data.columns.ids import check_names, without_ids
from pyro_vae.data.readers.arrays import READS_MISSING, to_labels, to_rows
from pyro_vae.data.readers.text import check_unique, check_width, read_text
from pyro_vae.data.reading import Reading
from pyro_vae.data.sources import Part, Source, shuffled
from pyro_vae.errors import InputError, nearest
from pyro_vae.memory import check_unpacked

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet


def read_table(path: Path, reading: Reading) -> Source:
    """A table: each line a row, each column an element of the event, but for the column ``label``.

    A column that names the rows is no element of it; it becomes their ``ids``. A cell that is empty, or
    holds nan, a word such as NA or a code that is named as ``missing``, has no value.

    :raises InputError: the file is empty or damaged, a column that is named is not there, or another column
        has values that are missing or not numbers (with row and column), or none at all.
    """
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    label, missing = reading.label, reading.takes_gaps
    is_parquet = path.suffix.lower() == ".parquet"
    frame, remarks = (_parquet(path), []) if is_parquet else read_text(path, reading)
    frame.columns = frame.columns.map(str)
    check_unique(path, list(frame.columns))
    if not len(frame):
        raise InputError(f"{path} holds no rows")
    frame = without_codes(frame, reading.codes)
    labels, names = None, None
    if label is not None:
        if label not in frame.columns:
            raise InputError(f"{path} has no column {label!r}{nearest(label, frame.columns)}")
        column = frame.pop(label)
        labels, names = _labels(path, column, reading.unseen)
        remarks += _on_labels(column, names)
    if not frame.shape[1]:
        raise InputError(f"{path} has no column besides the label")
    frame, ids, id_name, of_ids = without_ids(path, frame, reading)
    check_names(path, list(reading.kinds), list(frame.columns))
    if reading.columns is not None:
        check_names(path, reading.columns, list(frame.columns))
        frame = frame[list(reading.columns)]
    frame, of_empty = _without_empty(frame, reading)
    _check_complete(path, frame, missing, f", {READS_MISSING}")
    kinds = {name: kind for name, kind in reading.kinds.items() if name in frame}
    values, columns, of_columns = as_numbers(str(path), frame, kinds)
    remarks = [*remarks, *of_ids, *of_empty, *of_columns]
    remarks += remarks_on_codes(values, [column.name for column in columns])
    rows = to_rows(values, str(path), missing, to_the_digit=True)
    part = Part(rows, labels, ids=ids, id_name=id_name)
    return shuffled(part, reading.seed, class_names=names, columns=columns, remarks=remarks)


def _without_empty(frame: "pd.DataFrame", reading: Reading) -> tuple["pd.DataFrame", list[str]]:
    """A table without columns that say nothing, unless they are asked for, and its remarks.

    These are columns without any value, and of one number of which only a density could be learnt.
    """
    import pandas as pd

    asked, remarks = {*(reading.columns or ()), *reading.kinds}, {}
    for name in frame:
        known = frame[name].dropna()
        if name in asked or (len(known) and (known != known.iloc[0]).any()):
            continue
        if not len(known):
            remarks[name] = "it has no value in any row"
        elif (
            pd.api.types.is_float_dtype(known) and np.isfinite(value := known.iloc[0]) and value % 1
        ):
            remarks[name] = f"it is {value:g} in every row, and its density would have no bound"
    if len(remarks) == frame.shape[1]:  # something must be left
        return frame, []
    said = [f"column {name!r} is left out: {why}" for name, why in remarks.items()]
    return frame.drop(columns=list(remarks)), said


def _labels(
    path: Path, column: "pd.Series", unseen: str | None
) -> tuple[Tensor, tuple[str, ...] | None]:
    import pandas as pd

    if pd.api.types.is_integer_dtype(column) and column.notna().all():  # floats end at 2^53
        values = column.to_numpy(dtype=np.int64)
    elif pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        values = column.astype(object).where(column.notna(), "").astype(str).to_numpy(dtype=str)
    return to_labels(values, f"{path}, column {str(column.name)!r}", len(column), unseen)


def _on_labels(column: "pd.Series", names: Sequence[str] | None) -> list[str]:
    """What is to be said of labels that a model sees as other numbers than the file has."""
    import pandas as pd

    if names is None or not pd.api.types.is_numeric_dtype(column):
        return []
    return [
        f"column {column.name!r}, from {names[0]} to {names[-1]}, is taken for {len(names):,} classes, "
        f"0 to {len(names) - 1:,} (--arguments y={column.name} hands it over as numbers)"
    ]


def _parquet(path: Path) -> "pd.DataFrame":
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(".parquet files need pyarrow: pip install 'pyro-vae[parquet]'") from error
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            check_width(path, len(schema))
            words = [f.name for f in schema if pa.types.is_string(f.type)]
            for field in schema:
                _check_cells(path, field)
            check_unpacked(str(path), _bytes_of_numbers(file.metadata), path.stat().st_size)
        # words are kept once each until their lengths, repeated, are known
        with parquet.ParquetFile(path, read_dictionary=words) as file:
            table = file.read()
        check_unpacked(str(path), _bytes_of_words(table), path.stat().st_size)
        frame = table.cast(schema).to_pandas()
        decimals = [f.name for f in schema if pa.types.is_decimal(f.type) and f.name in frame]
        # which pandas takes for objects, and pyarrow rounds to a neighbour
        return _with_index(frame.astype(dict.fromkeys(decimals, np.float64)))
    except InputError:
        raise
    except (ValueError, OSError) as error:  # pyarrow's own errors are ValueErrors
        raise InputError(f"{path} is damaged or not a Parquet file: {error}") from error


def _with_index(frame: "pd.DataFrame") -> "pd.DataFrame":
    """An index that does not just count the rows as the first column, as in a table of text."""
    import pandas as pd

    index = frame.index
    if isinstance(index, pd.RangeIndex):
        return frame
    if isinstance(index, pd.MultiIndex):
        index = index.map(lambda key: " ".join(map(str, key)))
    name = index.name if index.name is not None and index.name not in frame else "Unnamed: 0"
    frame = frame.reset_index(drop=True)
    frame.insert(0, name, index.to_numpy())
    return frame


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
