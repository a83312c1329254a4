"""Tables of text and in .parquet files -> rows of numbers, and labels from one column."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pyro_vae.data.columns.frames import numeric_columns
from pyro_vae.data.columns.missing import mask_na_values, remarks_on_placeholders
from pyro_vae.data.readers.arrays import (
    ALLOW_MISSING,
    FILL_IN,
    check_not_empty,
    to_labels,
    to_rows,
)
from pyro_vae.data.readers.options import ReadOptions
from pyro_vae.data.readers.row_names import check_names, split_ids
from pyro_vae.data.readers.source import Source, SourceRows, shuffled_source
from pyro_vae.data.readers.text import check_unique, check_width, read_text
from pyro_vae.data.refusals import damaged, no_column, no_rows
from pyro_vae.errors import InputError
from pyro_vae.memory import check_unpacked

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet


def read_table(path: Path, options: ReadOptions) -> Source:
    """Read a table: each line is a row, each column but ``label`` an element of the event.

    Columns that name the rows become their ``ids``. A cell that is empty, or holds nan, a word such as NA
    or one of ``missing``, has no value.

    Raises:
        InputError: the file is empty or damaged, it lacks a column that is named, or another column has
            values that are missing or not numbers (with row and column), or none at all.
    """
    check_not_empty(path)
    is_parquet = path.suffix.lower() == ".parquet"
    frame, remarks = (_read_parquet(path), []) if is_parquet else read_text(path, options)
    frame.columns = frame.columns.map(str)
    check_unique(path, list(frame.columns))
    if not len(frame):
        raise no_rows(path)
    return source_of_frame(path, frame, options, remarks)


def source_of_frame(
    path: Path, frame: "pd.DataFrame", options: ReadOptions, remarks: Sequence[str] = ()
) -> Source:
    """Return the rows of a frame, as :func:`read_table` does; ``path`` is what messages call it."""
    remarks = list(remarks)
    frame = mask_na_values(frame, options.na_values)
    labels, classes = None, None
    if options.label is not None:
        if options.label not in frame.columns:
            raise no_column(path, options.label, frame.columns)
        column = frame.pop(options.label)
        labels, classes = _labels(path, column, options.unseen)
        remarks += _remark_on_labels(column, classes)
    frame, ids, id_name, of_ids = split_ids(path, frame, options)
    check_names(path, list(options.kinds), list(frame.columns))
    if options.columns is not None:
        check_names(path, options.columns, list(frame.columns))
        frame = frame[list(options.columns)]
    if not frame.shape[1]:
        raise InputError(
            f"{path} has no column for a model",
            subject=str(path),
            expected="one besides the label and the ids",
        )
    frame, of_empty = _drop_uninformative(frame, options)
    _check_complete(path, frame, options.allows_missing)
    kinds = {name: kind for name, kind in options.kinds.items() if name in frame}
    values, columns, of_columns = numeric_columns(str(path), frame, kinds)
    remarks = [*remarks, *of_ids, *of_empty, *of_columns]
    remarks += remarks_on_placeholders(values, [column.name for column in columns])
    x = to_rows(values, str(path), options.allows_missing, keep_digits=True)
    rows = SourceRows(x, labels, ids=ids, id_name=id_name)
    return shuffled_source(
        rows, options.seed, class_names=classes, columns=columns, remarks=remarks
    )


def _drop_uninformative(
    frame: "pd.DataFrame", options: ReadOptions
) -> tuple["pd.DataFrame", list[str]]:
    """Drop columns without a value, or with one fraction in all rows, unless the user names them.

    The density of a constant has no bound. Returns the table and its remarks.
    """
    import pandas as pd

    named, reasons = {*(options.columns or ()), *options.kinds}, {}
    for name in frame:
        known = frame[name].dropna()
        if name in named or (len(known) and (known != known.iloc[0]).any()):
            continue
        if not len(known):
            reasons[name] = "it has no value in any row"
        elif (
            pd.api.types.is_float_dtype(known) and np.isfinite(value := known.iloc[0]) and value % 1
        ):
            reasons[name] = f"it is {value:g} in every row, and its density would have no bound"
    if len(reasons) == frame.shape[1]:  # something must be left
        return frame, []
    remarks = [f"column {name!r} is left out: {reason}" for name, reason in reasons.items()]
    return frame.drop(columns=list(reasons)), remarks


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


def _remark_on_labels(column: "pd.Series", classes: Sequence[str] | None) -> list[str]:
    """Return a remark on labels that a model sees as other numbers than the file has."""
    import pandas as pd

    if classes is None or not pd.api.types.is_numeric_dtype(column):
        return []
    return [
        f"column {column.name!r}, from {classes[0]} to {classes[-1]}, is taken for {len(classes):,} "
        f"classes, 0 to {len(classes) - 1:,} (--arguments y={column.name} passes it as numbers)"
    ]


def _read_parquet(path: Path) -> "pd.DataFrame":
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(
            ".parquet files need pyarrow",
            subject="pyarrow",
            remedy="install it: pip install 'pyro-vae[parquet]'",
        ) from error
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
        # pandas makes objects of decimals, and pyarrow rounds them to a neighbour
        return _with_index(frame.astype(dict.fromkeys(decimals, np.float64)))
    except InputError:
        raise
    except (ValueError, OSError) as error:  # pyarrow's own errors are ValueErrors
        raise damaged(path, error, "a Parquet file") from error


def _with_index(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Make an index that does not only count the rows the first column, as in a table of text."""
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
    """Check that each cell of a column is a single value."""
    from pyarrow import types

    if (
        types.is_nested(field.type)
        or types.is_binary(field.type)
        or types.is_large_binary(field.type)
        or types.is_fixed_size_binary(field.type)
    ):
        raise InputError(
            f"column {field.name!r} of {path} holds {field.type} in each cell",
            subject=field.name,
            expected="a number",
            remedy="drop it, or make a column of each number",
        )


def _bytes_of_numbers(metadata: "parquet.FileMetaData") -> int:
    """Return the memory that the columns take, words by their pages alone; as the file's end says it."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return sum(
        8 * group.num_rows * metadata.num_columns + group.total_byte_size for group in groups
    )


def _bytes_of_words(table: "pa.Table") -> int:
    """Return the memory that columns of words take once each row has its own."""
    from pyarrow import compute, types

    return sum(
        compute.sum(compute.take(compute.binary_length(chunk.dictionary), chunk.indices)).as_py()
        or 0
        for column in table.columns
        if types.is_dictionary(column.type)
        for chunk in column.chunks
        if types.is_string(chunk.dictionary.type)
    )


def _check_complete(path: Path, frame: "pd.DataFrame", missing: bool) -> None:
    """Check that no cell is infinite or, unless values may be ``missing``, empty."""
    empty, infinite = frame.isna().to_numpy(), frame.isin([np.inf, -np.inf]).to_numpy()
    bad = infinite if missing else empty | infinite
    if bad.any():
        row, place = (int(i) for i in np.argwhere(bad)[0])
        column, is_empty = frame.columns[place], empty[row, place]
        raise InputError(
            f"{path} has {'no value' if is_empty else 'an infinity'} in row {row + 1}, column {column!r} "
            f"({int(bad.sum()):,} such cells; rows count from 1, without the header)",
            subject=str(column),
            expected=None if is_empty else "finite numbers",
            remedy=ALLOW_MISSING if is_empty else FILL_IN,
        )
