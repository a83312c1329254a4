"""``pyro-vae data``: what can be loaded and what is there, or how a file would be read."""

from collections.abc import Sequence

import numpy as np

from pyro_vae.cli.options.data import add_data_options, load_by
from pyro_vae.cli.options.likelihood import likelihood_for, likelihood_of, named
from pyro_vae.cli.options.parser import new_parser, read
from pyro_vae.cli.output.console import note, table
from pyro_vae.data import Column, DataSet, available
from pyro_vae.data.rows import read_all

DESCRIPTION = """\
Lists the data sets that --data can name. Of one of them, of a file or of a folder of images it says how
it would be read: its rows and, of a table, what each column holds and which likelihood that is given."""
EXAMPLES = (
    "pyro-vae data",
    "pyro-vae data people.csv",
    "pyro-vae data people.csv --separator ; --decimal , --kinds visits=real clinic=category",
)
CHANGES = """\
to change it: --kinds COLUMN=KIND (real, positive, count, grade, binary, category, date, time);
  --columns to read only some, --label for the class, --id for what names the rows, --missing for codes"""
MOST_COLUMNS, LETTERS = 40, 44  # that are shown; of a column's words


def main(words: Sequence[str]) -> int:
    parser = new_parser("data", DESCRIPTION, EXAMPLES)
    parser.add_argument("name", type=str | None, nargs="?", help="a data set, a file or a folder")
    add_data_options(parser, named=False)
    options = read(parser, words)
    if options.name is None:
        print(table([("NAME", "WHAT", "WHERE"), *available(options.data_root)]))
        note(
            "and any path: a folder of images (with train/ and test/ or class folders, or none), or a "
            "file; `pyro-vae data PATH` says how it is read"
        )
        return 0
    options.data = options.name
    data = load_by(options)
    print(data.describe())
    if data.train.columns is None:
        print(f"likelihood: {named(likelihood_for(data))}")
        return 0
    print(table([("COLUMN", "KIND", "VALUES", "MISSING", "LIKELIHOOD"), *_rows_of(data)]))
    if len(data.train.columns) > MOST_COLUMNS:
        print(f"... and {len(data.train.columns) - MOST_COLUMNS:,} columns more")
    note(CHANGES)
    return 0


def _rows_of(data: DataSet) -> list[tuple[str, ...]]:
    """A line for each of the first columns, of all rows together."""
    columns = (data.train.columns or ())[:MOST_COLUMNS]
    x = np.concatenate(
        [read_all(split.x)[:, : len(columns)].numpy() for split in data.splits.values()]
    )
    lines: list[tuple[str, ...]] = []
    for column, values in zip(columns, x.T, strict=True):
        gaps = np.isnan(values)
        lines.append(
            (
                column.name,
                str(column.kind),
                _values(column, values[~gaps]),
                f"{gaps.mean():.1%}" if gaps.any() else "",
                named(likelihood_of(column)),
            )
        )
    return lines


def _values(column: Column, values: np.ndarray) -> str:
    """What a column holds: its words, or its least and its largest value."""
    if column.categories is not None:
        words = ", ".join(column.categories)
        if len(words) <= LETTERS:
            return words
        return f"{len(column.categories)}: {words[: LETTERS - 8]} ..."
    if not len(values):
        return "none"
    ends = [
        f"{e:.6g}" if not isinstance(e, str) else e
        for e in column.written(np.array([values.min(), values.max()]))
    ]
    return " to ".join(dict.fromkeys(ends))
