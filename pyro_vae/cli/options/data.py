"""The options that say which data, and how a file is to be read."""

import csv
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pyro_vae.data import Binarize, DataSet, Kind, Reading, load
from pyro_vae.data.columns.column import known_kinds
from pyro_vae.data.named import NAMED
from pyro_vae.errors import InputError

READING = (  # what a file's readers are told
    "label",
    "unseen",
    "array",
    "arguments",
    "columns",
    "kinds",
    "id",
    "separator",
    "decimal",
    "header",
    "missing",
    "pixels",
    "image_size",
)
DATA = ("data", "data_root", "binarize", "standardize", *READING)


def add_data_options(parser: ArgumentParser, named: bool = True) -> None:
    """The options by which a data set is named, unless it is ``named`` otherwise, and read."""
    add = parser.add_argument_group("the data").add_argument
    if named:
        add("--data", type=str | None, help="a name that `pyro-vae data` lists, or a path")
    add("--data_root", type=str | None, help="the named sets' folder; by default PYRO_VAE_DATA")
    add("--download", action="store_true", help="fetch a named set that is not there")
    add("--binarize", type=Binarize, default="none", help="how grey values become 0 and 1")
    add("--validation", type=int | float | None, help="rows, or their fraction, to validate on")
    add("--standardize", type=bool | None, help="to mean 0 and standard deviation 1; by default none, "
        "and times and what 32 bits would not tell apart are centred")  # fmt: skip
    add("--data_seed", type=int, default=0, help="of splits and of binarisation drawn once")
    add = parser.add_argument_group("how a file is read; by default as it looks").add_argument
    add("--label", type=str | None, help="the column, or the array of an archive, with the labels")
    add("--unseen", type=str | None, help="the label that stands for one that was not seen, as -1 and an "
        "empty cell do")  # fmt: skip
    add("--array", type=str | None, help="the array of an archive with the rows")
    add("--arguments", type=str, nargs="+", metavar="NAME=COLUMN",
        help="columns by the model's parameters that are given them: x=age,income y=visits")  # fmt: skip
    add("--columns", type=str, nargs="+", help="the columns of a table to read")
    add("--kinds", type=str, nargs="+", metavar="COLUMN=KIND",
        help=f"what columns hold: {', '.join(Kind)}")  # fmt: skip
    add("--id", type=str | None, help="the column that names the rows; outputs repeat it")
    add("--separator", type=str | None, help="what stands between cells: , ; tab or space")
    add("--decimal", type=str | None, help="what stands before decimals: . or ,")
    add("--header", type=bool | None, help="whether the first line names the columns")
    add("--missing", type=str, nargs="+", help="values that stand for a missing one")
    add("--pixels", type=bool | None, help="whether whole numbers from 0 to 255 are grey levels")
    add("--image_size", type=int | None, help="height and width of images in a folder, in pixels")


def reading_of(options: Namespace) -> Reading:
    """How the options say that a file is read; values may be missing."""
    said: dict[str, Any] = {name: options[name] for name in READING}
    said["kinds"] = known_kinds(dict(_pair("kinds", word) for word in said["kinds"] or ()))
    said["arguments"] = columns_by_argument(said["arguments"])
    said["missing"] = said["missing"] or True
    return Reading(**said, seed=options.data_seed)


def load_by(options: Namespace, missing: bool = True, home: Path | None = None) -> DataSet:
    """The data that the options name; values may be ``missing``, and relative paths start at ``home``."""
    reading = reading_of(options)
    said = {name: getattr(reading, name) for name in READING}
    data = load(
        _found(options.data, home),
        root=options.data_root and _found(options.data_root, home),
        download=options.download,
        binarize=options.binarize,
        seed=options.data_seed,
        validation=options.validation,
        standardize=options.standardize,
        **said | ({} if missing else {"missing": False}),
    )
    return replace(data, name=options.data)


def _found(name: str, home: Path | None) -> str:
    """A path as it is to be opened from here: below ``home``, or else below the working directory."""
    if home is None or home == Path.cwd() or name in NAMED or not os.path.exists(home / name):
        return name
    return str(home / name)


def columns_by_argument(words: Sequence[str] | None) -> dict[str, str | list[str]] | None:
    """What ``--arguments`` says: one column of a name by itself, or, where there are commas, a list.

    A name with commas stands in quotes, as in a .csv file.

    >>> columns_by_argument(["x=age,income", "group=clinic", "y=visits,", 'z="Smith, J."'])
    {'x': ['age', 'income'], 'group': 'clinic', 'y': ['visits'], 'z': 'Smith, J.'}
    """
    if not words:
        return None
    named: dict[str, str | list[str]] = {}
    for word in words:
        name, _, said = word.partition("=")
        cells = next(csv.reader([said], skipinitialspace=True), [])
        columns = [cell for cell in cells if cell]
        if not (name.isidentifier() and columns):
            raise InputError(
                f"--arguments takes pairs as in --arguments x=age,income y=visits, not {word!r}"
            )
        if name in named:
            raise InputError(
                f"--arguments names {name!r} twice: list its columns, as in x=age,income"
            )
        named[name] = columns if len(cells) > 1 else columns[0]
    return named


def _pair(option: str, word: str) -> tuple[str, str]:
    name, equals, value = word.rpartition("=")
    if not (name and equals and value):
        raise InputError(f"--{option} takes pairs as in --{option} age=real, not {word!r}")
    return name, value
