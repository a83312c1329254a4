"""``pyro-vae data``: list the data sets, or show how a file is read."""

from collections.abc import Sequence

import numpy as np

from pyro_vae.cli.options.data import add_data_options, load_data
from pyro_vae.cli.options.likelihood import display, likelihood_for, likelihood_of
from pyro_vae.cli.options.parser import new_parser, parse
from pyro_vae.cli.output.console import note, table
from pyro_vae.data import Column, DataSet, available
from pyro_vae.data.rows import read_all

DESCRIPTION = """\
List the data sets that --data can name. For one of them, a file or a folder of
images, show how it is read: its splits and, for a table, each column's type and
the likelihood that `pyro-vae fit` chooses."""
EXAMPLES = (
    "pyro-vae data",
    "pyro-vae data people.csv",
    "pyro-vae data people.csv --separator ; --decimal , --kinds visits=real",
)
CHANGES = """\
to change it: --kinds COLUMN=KIND (real, positive, count, grade, binary, category, date, time);
  --columns to read only some; --label for the classes; --id for the names of the rows; --missing for codes
  that mean missing"""
MAX_COLUMNS, MAX_CHARACTERS = 40, 44  # shown of a table; shown of a column's categories


def main(words: Sequence[str]) -> int:
    """List the data sets, or describe the one that is named."""
    parser = new_parser("data", DESCRIPTION, EXAMPLES)
    parser.add_argument("name", type=str | None, nargs="?", help="a data set, a file or a folder")
    add_data_options(parser, with_name=False)
    options = parse(parser, words)
    if options.name is None:
        print(table([("NAME", "CONTENTS", "WHERE"), *available(options.data_root)]))
        note(
            "or any path: a file, or a folder of images (with folders train and test, a folder for each "
            "class, or neither); `pyro-vae data PATH` shows how it is read"
        )
        return 0
    options.data = options.name
    data = load_data(options)
    print(data.describe())
    if data.train.columns is None:
        print(f"likelihood: {display(likelihood_for(data))}")
        return 0
    print(table([("COLUMN", "KIND", "VALUES", "MISSING", "LIKELIHOOD"), *_column_rows(data)]))
    if len(data.train.columns) > MAX_COLUMNS:
        print(f"... and {len(data.train.columns) - MAX_COLUMNS:,} columns more")
    note(CHANGES)
    return 0


def _column_rows(data: DataSet) -> list[tuple[str, ...]]:
    """Return a row for each of the first columns, over all splits."""
    columns = (data.train.columns or ())[:MAX_COLUMNS]
    x = np.concatenate(
        [read_all(split.x)[:, : len(columns)].numpy() for split in data.splits.values()]
    )
    rows: list[tuple[str, ...]] = []
    for column, values in zip(columns, x.T, strict=True):
        missing = np.isnan(values)
        share = f"{missing.mean():.1%}" if missing.any() else ""
        likelihood = display(likelihood_of(column))
        shown = _values(column, values[~missing])
        rows.append((column.name, str(column.kind), shown, share, likelihood))
    return rows


def _values(column: Column, values: np.ndarray) -> str:
    """Return a column's categories, or its minimum and maximum."""
    if column.categories is not None:
        names = ", ".join(column.categories)
        if len(names) <= MAX_CHARACTERS:
            return names
        return f"{len(column.categories)}: {names[: MAX_CHARACTERS - 8]} ..."
    if not len(values):
        return "none"
    ends = [
        f"{e:.6g}" if not isinstance(e, str) else e
        for e in column.decode(np.array([values.min(), values.max()]))
    ]
    return " to ".join(dict.fromkeys(ends))
