"""The options that name the data and say how to read a file."""

import csv
import os
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pyro_vae.data import Binarize, DataSet, Kind, ReadOptions, load
from pyro_vae.data.columns.column import parse_kinds
from pyro_vae.data.readers.named_sets import NAMED
from pyro_vae.errors import InputError

READING = tuple(field.name for field in fields(ReadOptions) if field.name != "seed")
DATA = ("data", "data_root", "binarize", "standardize", *READING)


def add_data_options(parser: ArgumentParser, with_name: bool = True) -> Any:
    """Add the options that name a data set, if ``with_name``, split it and read it; return their group."""
    group = parser.add_argument_group("the data")
    add = group.add_argument
    if with_name:
        add("--data", type=str | None, help="a name that `pyro-vae data` lists, or a path")
    add("--data_root", type=str | None, metavar="FOLDER", help="folder of the named data "
        "sets; by default the environment variable PYRO_VAE_DATA")  # fmt: skip
    add("--download", action="store_true", help="download a named data set if it is not there")
    add("--binarize", type=Binarize, default="none", help="turn grey values into 0 and 1: by a "
        "threshold, by new draws each epoch, or by draws made once")  # fmt: skip
    add("--validation", type=int | float | None, help="number or fraction of rows for validation; by "
        "default the data set's own, or 0.1")  # fmt: skip
    add("--standardize", type=bool | None, help="scale to mean 0 and standard deviation 1; by default "
        "only centre times and values with a large offset")  # fmt: skip
    add("--data_seed", type=int, default=0, help="seed of the splits and of the binarisation")
    _add_reading_options(parser)
    return group


def _add_reading_options(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("how to read a file; by default this is inferred").add_argument
    add("--label", type=str | None, help="the column, or the array, with the class labels")
    add(
        "--unseen",
        type=str | None,
        help="a label that means unknown; -1 and an empty cell always do",
    )
    add("--array", type=str | None, help="the array with the rows, of a file with several arrays")
    add("--arguments", type=str, nargs="+", metavar="NAME=COLUMN", help="which columns each argument of "
        "the model takes: x=age,income y=visits")  # fmt: skip
    add("--columns", type=str, nargs="+", metavar="COLUMN", help="the columns of a table to read; by "
        "default all")  # fmt: skip
    add("--kinds", type=str, nargs="+", metavar="COLUMN=KIND", help=f"the type of a column's values: "
        f"{', '.join(Kind)}")  # fmt: skip
    add("--id", type=str | None, help="the column with the rows' names, which outputs repeat")
    add("--separator", type=str | None, help="the character between cells: , ; tab or space")
    add("--decimal", type=str | None, help="the decimal mark: . or ,")
    add("--header", type=bool | None, help="whether the first line holds the names of the columns")
    add("--missing", type=str, nargs="+", metavar="VALUE", help="values that mean missing, such as -999; "
        "an empty cell and NA always do")  # fmt: skip
    add("--pixels", type=bool | None, help="whether integers from 0 to 255 are grey levels")
    add("--image_size", type=int | None, help="height and width, in pixels, of images in a folder")


def reading_of(options: Namespace) -> ReadOptions:
    """Return how to read a file, with missing values allowed."""
    values: dict[str, Any] = {name: options[name] for name in READING}
    values["kinds"] = parse_kinds(dict(_pair("--kinds", word) for word in values["kinds"] or ()))
    values["arguments"] = columns_by_argument(values["arguments"])
    values["missing"] = values["missing"] or True
    return ReadOptions(**values, seed=options.data_seed)


def load_data(options: Namespace, missing: bool = True, base: Path | None = None) -> DataSet:
    """Return the data that the options name.

    Args:
        options: those of :func:`add_data_options`.
        missing: whether values may be missing.
        base: the folder where relative paths start.
    """
    reading = reading_of(options)
    values = {name: getattr(reading, name) for name in READING}
    data = load(
        _resolved(options.data, base),
        root=options.data_root and _resolved(options.data_root, base),
        download=options.download,
        binarize=options.binarize,
        seed=options.data_seed,
        validation=options.validation,
        standardize=options.standardize,
        **values | ({} if missing else {"missing": False}),
    )
    return replace(data, name=options.data)


def _resolved(name: str, base: Path | None) -> str:
    """Return a path that starts at ``base`` if it exists there, otherwise at the working directory."""
    if base is None or base == Path.cwd() or name in NAMED or not os.path.exists(base / name):
        return name
    return str(base / name)


def columns_by_argument(words: Sequence[str] | None) -> dict[str, str | list[str]] | None:
    """Return the columns of each argument: a name for one column, a list if the word holds a comma.

    A column name with commas stands in quotes, as in a .csv file.

    >>> columns_by_argument(["x=age,income", "group=clinic", "y=visits,", 'z="Smith, J."'])
    {'x': ['age', 'income'], 'group': 'clinic', 'y': ['visits'], 'z': 'Smith, J.'}
    """
    if not words:
        return None
    by_argument: dict[str, str | list[str]] = {}
    for word in words:
        name, _, value = word.partition("=")
        cells = next(csv.reader([value], skipinitialspace=True), [])
        columns = [cell for cell in cells if cell]
        if not (name.isidentifier() and columns):
            raise _not_a_pair("--arguments", "x=age,income", word)
        if name in by_argument:
            raise InputError(
                f"--arguments names {name!r} twice",
                subject="--arguments",
                remedy=f"list all its columns in one word, as in {name}=age,income",
            )
        by_argument[name] = columns if len(cells) > 1 else columns[0]
    return by_argument


def _pair(option: str, word: str) -> tuple[str, str]:
    name, equals, value = word.rpartition("=")
    if not (name and equals and value):
        raise _not_a_pair(option, "age=real", word)
    return name, value


def _not_a_pair(option: str, example: str, word: str) -> InputError:
    return InputError(
        f"{option} cannot be {word!r}", subject=option, expected=f"pairs such as {example}"
    )
