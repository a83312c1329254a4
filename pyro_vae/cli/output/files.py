"""Files that a verb is asked to write: never over another, never half of one, joined to the data's rows."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentParser, Namespace
from torch import Tensor

from pyro_vae import plots
from pyro_vae.data import Argument, Split
from pyro_vae.data.rows import chosen
from pyro_vae.errors import InputError
from pyro_vae.storage import replacing

ARRAYS, TABLE = ".npz", ".csv"
ALL = (*plots.ENDINGS, TABLE, ARRAYS)


def add_out(
    parser: ArgumentParser,
    default: str | None,
    endings: Sequence[str] = ALL,
    what: str = "the file to write",
) -> None:
    kind = str if default else str | None
    parser.add_argument(
        "-o", "--out", type=kind, default=default, help=f"{what} ({', '.join(endings)})"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")


def out_path(options: Namespace, endings: Sequence[str] = ALL) -> Path:
    """The file that ``--out`` names, if it can be written to and its ending is a known one.

    :raises InputError: the file is there, its folder is not, or its ending is unknown.
    """
    path = Path(options.out)
    if path.suffix.lower() not in endings:
        known = ", ".join(endings)
        raise InputError(f"--out {path} has no ending that says what to write: {known}")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} to")
    if path.exists() and not options.overwrite:
        raise InputError(f"{path} is there already: choose another --out, or pass --overwrite")
    return path


def is_arrays(path: Path) -> bool:
    """Whether arrays are asked for."""
    return path.suffix.lower() == ARRAYS


def is_table(path: Path) -> bool:
    """Whether a table is asked for."""
    return path.suffix.lower() == TABLE


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes tensors, or sequences of names, as an .npz in one step."""
    known = {n: x.cpu().numpy() if isinstance(x, Tensor) else x for n, x in arrays.items()}
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **known)


def write_table(
    path: Path, columns: Iterable[tuple[str, Iterable[Any]]], header: bool = True
) -> None:
    """Writes a .csv in one step: a line for each row, below one of the columns' names."""
    names, values = zip(*columns, strict=True)
    with replacing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if header:
            writer.writerow(names)
        for row in zip(*(map(_cell, column) for column in values), strict=True):
            writer.writerow(row)


def _cell(value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.numpy()[()]
    return np.format_float_positional(value, trim="-") if isinstance(value, np.floating) else value


def check_table(values: Tensor, path: Path) -> Tensor:
    """:raises InputError: the values are no rows of columns."""
    if values.dim() != 2:
        raise InputError(f"data that are no table are written as {ARRAYS}, not as {path}")
    return values


def columns_of(
    split: Split, values: Tensor, argument: Argument | None = None
) -> list[tuple[str, Iterable[Any]]]:
    """The columns of a table of values (N | columns), or of an argument's, as the file has them."""
    table, columns = values.cpu().reshape(len(values), -1).T.numpy(), split.columns_of(argument)
    if columns is None:
        return [(str(number), column) for number, column in enumerate(table)]
    return [(c.name, c.written(x)) for c, x in zip(columns, table, strict=True)]


def categories_of(split: Split) -> dict[str, Sequence[str]]:
    """By name for an archive of arrays: what 0, 1, ... stand for in a table's columns of words."""
    columns = split.columns or ()
    return {
        f"categories_{column.name}": column.categories
        for column in columns
        if column.categories is not None
    }


# --- what joins an output to the data ---------------------------------------------------------


def file_rows(split: Split, index: Tensor) -> Tensor:
    """Where the rows numbered ``index`` of a split stand in their file, from 0."""
    return index if split.places is None else split.places[index]


def class_columns(split: Split, labels: Tensor) -> dict[str, Any]:
    """Labels by number, and by the names that they have in the file; of -1, not seen, it is empty."""
    labels = labels.cpu()
    if split.class_names is None:
        return {"labels": labels}
    names = [split.class_names[k] if 0 <= k < len(split.class_names) else "" for k in labels]
    return {"labels": labels, "classes": names}


def row_keys(split: Split, index: Tensor) -> dict[str, Any]:
    """By name what joins figures of the rows numbered ``index`` to their file: rows, ids, classes."""
    labels = {} if split.labels is None else class_columns(split, split.labels[index])
    ids = {} if split.ids is None else {"ids": chosen(split.ids, index)}
    return {"rows": file_rows(split, index), **ids, **labels}


def with_row_keys(
    known: Mapping[str, Any],
    columns: Sequence[tuple[str, Any]],
    label: str | None = None,
    id_name: str | None = None,
) -> list[tuple[str, Any]]:
    """A table's columns after the rows' numbers and ids and before their classes, under names of their own.

    :param label: what the file calls the column of the classes.
    :param id_name: what it calls the column of the ids.
    """
    taken = {name for name, _ in columns}

    def free(name: str) -> str:
        return name if name not in taken else free(f"{name}_")

    before = [(free("row"), known["rows"])] if "rows" in known else []
    before += [(free(id_name or "id"), known["ids"])] if "ids" in known else []
    classes = known.get("classes", known.get("labels"))
    after = [] if classes is None else [(free(label or "label"), classes)]
    return [*before, *columns, *after]


def in_file_order(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays with a row each, in the order of their file."""
    order = torch.as_tensor(arrays["rows"]).argsort()
    return {
        name: x[order] if isinstance(x, Tensor) else [x[i] for i in order]
        for name, x in arrays.items()
    }
