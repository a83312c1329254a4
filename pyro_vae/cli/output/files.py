"""The files that verbs write: complete or absent, never over another file, with keys to the data's rows."""

import csv
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentParser, Namespace
from torch import Tensor

from pyro_vae import plots
from pyro_vae.data import Argument, Split
from pyro_vae.data.rows import select_names
from pyro_vae.errors import InputError
from pyro_vae.storage import atomic_write

ARRAYS, TABLE = ".npz", ".csv"
ENDINGS = (*plots.ENDINGS, TABLE, ARRAYS)


def add_out(
    parser: ArgumentParser,
    default: str | None,
    endings: Sequence[str] = ENDINGS,
    what: str = "the file to write",
) -> None:
    """Add the options ``--out`` and ``--overwrite``."""
    kind = str if default else str | None
    parser.add_argument(
        "-o", "--out", type=kind, default=default, help=f"{what} ({', '.join(endings)})"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")


def out_path(options: Namespace, endings: Sequence[str] = ENDINGS, option: str = "out") -> Path:
    """Return the file that ``--out``, or another option, names.

    Raises:
        InputError: the file exists, its folder does not, or its ending is unknown.
    """
    path, name = Path(options[option]), f"--{option}"
    if path.suffix.lower() not in endings:
        expected = f"one of the endings {', '.join(endings)}"
        raise _out_error(f"{name} {path} has no ending of a known format", name, expected=expected)
    if not path.parent.is_dir():
        problem = f"there is no folder {path.parent} for {path.name}"
        raise _out_error(problem, name, remedy=f"make it, or choose another {name}")
    if path.exists() and not options.overwrite:
        problem = f"{path} is there already"
        raise _out_error(problem, name, remedy=f"choose another {name}, or pass --overwrite")
    return path


def _out_error(
    problem: str, option: str = "--out", expected: str | None = None, remedy: str | None = None
) -> InputError:
    return InputError(problem, subject=option, expected=expected, remedy=remedy)


def is_arrays(path: Path) -> bool:
    """Return whether a file is to hold arrays."""
    return path.suffix.lower() == ARRAYS


def is_table(path: Path) -> bool:
    """Return whether a file is to hold a table."""
    return path.suffix.lower() == TABLE


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write tensors, or sequences of names, as an .npz."""
    on_host = {n: x.cpu().numpy() if isinstance(x, Tensor) else x for n, x in arrays.items()}
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **on_host)


def write_images(folder: Path, images: Tensor, names: Sequence[str] = ()) -> None:
    """Write images in [0, 1], ``N | channels, height, width``, as .png files of a new folder.

    With ``names`` each image goes into the folder of its class. The folder is complete or absent.
    """
    from PIL import Image

    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        levels = (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        for number, image in enumerate(levels):
            place = unfinished / names[number] if names else unfinished
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
                place / f"{number:06d}.png"
            )
        unfinished.rename(folder)
    except OSError as error:
        problem = f"cannot write {folder}: {error.strerror or error}"
        raise InputError(problem, subject=str(folder)) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_table(
    path: Path, columns: Iterable[tuple[str, Iterable[Any]]], header: bool = True
) -> None:
    """Write columns, with their names in the first line if ``header``, as a .csv."""
    names, values = zip(*columns, strict=True)
    with (
        atomic_write(path) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8") as file,
    ):
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
    """Return values ``rows | columns``.

    Raises:
        InputError: they have another number of dimensions.
    """
    if values.dim() != 2:
        problem = f"the data are not a table, so they cannot be written to {path}"
        raise _out_error(problem, remedy=f"choose a file with the ending {ARRAYS}")
    return values


def columns_of(
    split: Split, values: Tensor, argument: Argument | None = None
) -> list[tuple[str, Iterable[Any]]]:
    """Return the names and values of a table's columns, or an argument's, as the data file has them.

    Args:
        split: the data.
        values: values of the table or the argument, ``rows | columns``.
        argument: the argument, if any.
    """
    table, columns = values.cpu().reshape(len(values), -1).T.numpy(), split.columns_of(argument)
    if columns is None:
        return [(str(number), column) for number, column in enumerate(table)]
    return [(c.name, c.decode(x)) for c, x in zip(columns, table, strict=True)]


def categories_of(split: Split) -> dict[str, Sequence[str]]:
    """Return by name, for an .npz, the categories 0, 1, ... of each categorical column."""
    columns = split.columns or ()
    return {
        f"categories_{column.name}": column.categories
        for column in columns
        if column.categories is not None
    }


# --- keys to the rows of the data -----------------------------------------------------------


def file_rows(split: Split, index: Tensor) -> Tensor:
    """Return the row numbers in the file, from 0, of the rows numbered ``index`` in a split."""
    return index if split.places is None else split.places[index]


def class_columns(split: Split, labels: Tensor) -> dict[str, Any]:
    """Return labels as numbers, and as the names that the file has; unknown, -1, is the empty name."""
    labels = labels.cpu()
    if split.class_names is None:
        return {"labels": labels}
    names = [split.class_names[k] if 0 <= k < len(split.class_names) else "" for k in labels]
    return {"labels": labels, "classes": names}


def row_keys(split: Split, index: Tensor) -> dict[str, Any]:
    """Return by name the keys of the rows numbered ``index``: their rows in the file, ids and classes."""
    labels = {} if split.labels is None else class_columns(split, split.labels[index])
    ids = {} if split.ids is None else {"ids": select_names(split.ids, index)}
    return {"rows": file_rows(split, index), **ids, **labels}


def with_row_keys(
    keys: Mapping[str, Any],
    columns: Sequence[tuple[str, Any]],
    label: str | None = None,
    id_name: str | None = None,
) -> list[tuple[str, Any]]:
    """Return the columns with the row numbers and ids before them and the classes after them.

    Args:
        keys: those of :func:`row_keys`; a key gets another name if a column has its name.
        columns: names and values.
        label: the file's name for the column of classes.
        id_name: the file's name for the column of ids.
    """
    taken = {name for name, _ in columns}

    def unused(name: str) -> str:
        return name if name not in taken else unused(f"{name}_")

    before = [(unused("row"), keys["rows"])] if "rows" in keys else []
    before += [(unused(id_name or "id"), keys["ids"])] if "ids" in keys else []
    classes = keys.get("classes", keys.get("labels"))
    after = [] if classes is None else [(unused(label or "label"), classes)]
    return [*before, *columns, *after]


def in_file_order(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return arrays, with ``rows`` among them, in the order of the file."""
    order = torch.as_tensor(arrays["rows"]).argsort()
    return {
        name: x[order] if isinstance(x, Tensor) else [x[i] for i in order]
        for name, x in arrays.items()
    }
