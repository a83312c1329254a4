"""``load``: a name or a path -> a data set, its values treated as asked."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from pyro_vae.data.annotated import read_h5ad
from pyro_vae.data.archives import read_npz
from pyro_vae.data.arguments import Argument, Asked, arguments_of
from pyro_vae.data.arrays import read_npy
from pyro_vae.data.binarize import Draw, Threshold, binarized
from pyro_vae.data.columns import Column, Kind, known_kinds
from pyro_vae.data.images import read_folder
from pyro_vae.data.matlab import read_mat
from pyro_vae.data.named import NAMED, Request
from pyro_vae.data.reading import Reading
from pyro_vae.data.rows import Rows, chunks
from pyro_vae.data.sets import DataSet, Split
from pyro_vae.data.sources import Part, Source, divide
from pyro_vae.data.tables import read_table
from pyro_vae.data.text import TEXTS, ending, is_packed
from pyro_vae.data.values import (
    Encoding,
    ValueRange,
    lost_in_float32,
    num_missing,
    recognise,
    standardised,
    value_range,
)
from pyro_vae.errors import InputError, nearest, reading

Binarize = Literal["none", "threshold", "stochastic", "fixed"]

ROOT_VARIABLE = "PYRO_VAE_DATA"
_OF_TABLES = frozenset({"label", "unseen", "arguments", "columns", "kinds", "id"})
_OF_TEXT = _OF_TABLES | {"separator", "decimal", "header"}
_OF_ARCHIVES = frozenset({"pixels", "label", "unseen", "array"})
_READERS: dict[str, tuple[Callable[[Path, Reading], Source], frozenset[str], str]] = {
    ".npy": (read_npy, frozenset({"pixels"}), "a .npy file, which is one array"),
    ".npz": (read_npz, _OF_ARCHIVES, "an archive of arrays"),
    ".mat": (read_mat, _OF_ARCHIVES, "a .mat file"),
    ".h5ad": (read_h5ad, frozenset({"label", "unseen", "array", "columns"}), "a .h5ad file"),
    ".csv": (read_table, _OF_TEXT, "a table of text"),
    ".tsv": (read_table, _OF_TEXT, "a table of text"),
    ".txt": (read_table, _OF_TEXT, "a table of text"),
    ".parquet": (read_table, _OF_TABLES, "a .parquet file"),
}
ENDINGS = tuple(_READERS)  # of text also with .gz


def load(
    name: str,
    *,
    root: Path | str | None = None,
    download: bool = False,
    binarize: Binarize = "none",
    seed: int = 0,
    validation: float | int | None = None,
    standardize: bool | None = None,
    label: str | None = None,
    unseen: str | None = None,
    array: str | None = None,
    arguments: Asked | None = None,
    columns: Sequence[str] | None = None,
    kinds: Mapping[str, Kind | str] | None = None,
    id: str | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    header: bool | None = None,
    missing: bool | Sequence[str | float] = False,
    pixels: bool | None = None,
    image_size: int | None = None,
) -> DataSet:
    """Training, validation and test rows of a named data set, a file, or a folder of images.

    :param name: a name that ``available`` lists, or a path: a table (``.csv``, ``.tsv``, ``.txt``, each
        also with ``.gz``; ``.parquet``), arrays (``.npy``, ``.npz``, ``.mat``, ``.h5ad``), or a folder of
        images.
    :param root: the folder that holds the named sets; by default what ``PYRO_VAE_DATA`` names.
    :param download: fetch a named set into ``root`` if it is not there; else nothing is fetched.
    :param binarize: ``none``; ``threshold`` (1 above 1/2); ``stochastic``: training rows are
        Bernoulli draws from the grey values, anew at each pass, all others are drawn once from
        ``seed``; ``fixed``: all are drawn once from ``seed``.
    :param seed: of the draws, and of the split where a file or folder has none of its own.
    :param validation: how many rows, or which fraction, of those that are not for the test to
        validate on, drawn at random by ``seed``; 0 for none. By default the set's own (of the MNIST
        family the last 10,000 training images); of files and folders a tenth, as for the test.
    :param standardize: subtract the training rows' mean and divide by their standard deviation,
        column by column. By default a model is given what is in the file, but where float32 would lose the
        differences between rows, as of times in seconds since 1970.
    :param label: the column of a table, or array of an archive, that holds the labels.
    :param unseen: the label that stands for one that was not seen, as -1, an empty cell and NaN do.
    :param array: the array of an archive (``.npz``, ``.mat``; a layer of ``.h5ad``) that holds the rows.
    :param arguments: columns of a table by the names of the model's parameters that they are given to, as
        ``{"x": ["age", "income"], "group": "clinic", "y": "visits"}``: a list as (B | columns), a single
        name as (B,), categories as int64.
    :param columns: the columns of a table that are read, in this order; by default all.
    :param kinds: of columns by name, what their values are: ``real``, ``positive``, ``count``, ``binary``,
        ``category`` or ``date``. By default what they look like.
    :param id: the column that names the rows: no model sees it, and outputs repeat it.
    :param separator: what stands between the cells of a text file; by default what it looks like.
    :param decimal: what stands before the decimals in it, ``.`` or ``,``; likewise.
    :param header: whether its first line names the columns; likewise.
    :param missing: keep values that are missing from a file (NaN; in a table also empty cells and NA), as
        NaN, for a model that reads them; or the values that stand for a missing one, such as
        ``(-999,)``. By default they are refused.
    :param pixels: whether whole numbers from 0 to 255 are grey levels, which a model sees as k/255; by
        default where rows have the shape of images.
    :param image_size: height and width of the images in a folder, or of celeba's.
    :raises InputError: what is wrong with a name, a path, a value or an option, and where.

    >>> digits = load("digits")
    >>> print(digits.describe())
    digits: 1,397 train / 200 validation / 200 test rows of 1x8x8; 17 levels in [0, 1]; 10 classes
    >>> digits.train.x.dtype, digits.train.read().max().item()
    (torch.uint8, 1.0)
    """
    if binarize not in get_args(Binarize):
        raise InputError(f"binarize={binarize!r} is unknown{nearest(binarize, get_args(Binarize))}")
    if binarize != "none" and standardize:
        raise InputError(
            "binarize and standardize exclude each other: zeros and ones stay as they are"
        )
    if image_size is not None and image_size < 1:
        raise InputError(f"image_size={image_size} is no size in pixels; 64 would be one")
    if not -(2**63) <= seed < 2**64:
        raise InputError(f"seed={seed} is out of range: a seed has 64 bits")
    if arguments is not None and label is not None:
        raise InputError(
            "label and arguments exclude each other: name the label's column as one of the arguments"
        )
    reading = Reading(
        label=label,
        unseen=unseen,
        array=array,
        arguments=arguments,
        columns=columns,
        kinds=known_kinds(kinds or {}),
        id=id,
        separator=separator,
        decimal=decimal,
        header=header,
        missing=missing,
        pixels=pixels,
        image_size=image_size,
        seed=seed,
    )
    source = source_of(name, reading, root=root, download=download)
    return _treated(name, source, binarize, standardize, validation, seed, arguments)


def source_of(
    name: str, how: Reading, *, root: Path | str | None = None, download: bool = False
) -> Source:
    """What a named data set, a file, or a folder gives, before any treatment; as :func:`load` says."""
    path = Path(name).expanduser()
    if name in NAMED:
        how.check_only({"image_size"} if name == "celeba" else (), name)
        return _read_named(name, root, download, how.image_size)
    if (name and _exists(path)) or ending(path) in ENDINGS or len(path.parts) > 1:
        with reading(path):
            return _read_path(path, how)
    raise InputError(
        f"there is no data set or file {name!r}{nearest(name.lower(), NAMED)} "
        f"(or a path: a folder of images, {', '.join(ENDINGS)})"
    )


def _exists(path: Path) -> bool:
    with reading(path):  # a name may be too long
        return path.exists()


def _read_named(name: str, root: Path | str | None, download: bool, size: int | None) -> Source:
    entry = NAMED[name]
    folder = _root(root)
    there = not entry.files or (folder is not None and entry.is_there(folder))
    if not there:
        if not (download and entry.downloadable):
            raise InputError(_missing(name, folder))
        if folder is None:
            raise InputError(
                f"say where to download {name} to: --data_root FOLDER (root=), or {ROOT_VARIABLE}"
            )
    try:
        return entry.read(Request(folder or Path(), download, size))
    except InputError:
        raise
    except Exception as error:  # torchvision's readers raise all kinds
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        if not there:
            raise InputError(f"{name} could not be downloaded to {folder}: {reason}") from error
        raise InputError(
            f"{name} in {folder} is damaged or incomplete ({reason}): remove {entry.files[0]} "
            f"there and fetch it again{' with --download' if entry.downloadable else ''}"
        ) from error


def _root(root: Path | str | None) -> Path | None:
    if root is None:
        root = os.environ.get(ROOT_VARIABLE) or None
    return None if root is None else Path(root).expanduser()


def _missing(name: str, root: Path | None) -> str:
    entry = NAMED[name]
    where = f"{name} is not in {root}" if root else f"{name} is not here"
    place = f"name the folder that has it: --data_root FOLDER (root=), or {ROOT_VARIABLE}"
    if entry.downloadable:
        return f"{where}: pass --download (download=True) to fetch it, or {place}"
    return f"{where}, and it cannot be downloaded: put {entry.files[0]} there, or {place}"


def _read_path(path: Path, reading: Reading) -> Source:
    if not path.exists():
        raise InputError(f"there is no file or folder {path}")
    if path.is_dir():
        reading.check_only({"image_size"}, "a folder of images")
        return read_folder(path, reading.image_size, reading.seed)
    if ending(path) not in _READERS or (is_packed(path) and ending(path) not in TEXTS):
        raise InputError(
            f"{path} has an unknown ending; known: {', '.join(ENDINGS)}, or a folder (.gz: text alone)"
        )
    read, options, what = _READERS[ending(path)]
    reading.check_only(options, what)
    return read(path, reading)


def options_of(name: str) -> frozenset[str]:
    """The options of :func:`load` that say how a file of that name is read."""
    return _READERS[ending(Path(name))][1] if ending(Path(name)) in _READERS else frozenset()


def _treated(
    name: str,
    source: Source,
    binarize: Binarize,
    standardize: bool | None,
    validation: float | int | None,
    seed: int,
    asked: Asked | None,
) -> DataSet:
    """The source's rows in splits, as a model is to see them."""
    arguments = None if asked is None else arguments_of(asked, source.columns, name)
    parts = divide(source, validation, seed)
    for part in parts.values():
        check_categories(name, part, source.columns or (), arguments or ())
    rows, encoding, levels = recognise({s: part.x for s, part in parts.items()}, source.levels)
    _check_columns(name, source, rows["train"])
    values = value_range(rows, encoding, levels)
    encodings = dict.fromkeys(rows, encoding)
    if values.levels == 2:
        binarize = "none"  # zeros and ones are already what any rule would make of them
    if binarize != "none":
        if not values.in_unit_interval:
            raise InputError(f"binarize={binarize!r} needs values in [0, 1]; {name} has {values}")
        if any(map(num_missing, rows.values())):
            raise InputError(f"binarize={binarize!r} needs all values, and {name} has missing ones")
        rows, encodings = _binarize(rows, encoding, binarize, seed)
        values = ValueRange(0.0, 1.0, 2)
    scaled = _to_be_scaled(rows["train"], source.columns, standardize)
    if scaled.any():
        encodings = dict.fromkeys(rows, standardised(rows["train"], encoding, scaled))
        values = value_range(rows, encodings["train"], levels)
    splits = {
        split: Split(
            x,
            values,
            encodings[split],
            parts[split].labels,
            None if source.class_names is None else tuple(source.class_names),
            None if source.columns is None else _as_scaled(source.columns, scaled),
            parts[split].places,
            parts[split].ids,
            parts[split].id_name,
            arguments,
        )
        for split, x in rows.items()
    }
    return DataSet(
        name,
        splits["train"],
        splits.get("validation"),
        splits["test"],
        binarize,
        tuple(source.remarks),
        source.pixels,
    )


def check_categories(
    name: str, part: Part, columns: Sequence[Column], arguments: Sequence[Argument]
) -> None:
    """:raises InputError: a category that is an argument is missing from a row."""
    for place in [p for argument in arguments if argument.is_category for p in argument.places]:
        x = part.x[torch.arange(len(part))][:, place]
        if num_missing(x):
            row = int(x.isnan().int().argmax())
            row = row if part.places is None else int(part.places[row])
            raise InputError(
                f"{name} has no value in row {row + 1}, column {columns[place].name!r} ({num_missing(x):,} "
                "such rows), and a category that is an argument must be one of its levels: leave these "
                "rows out"
            )


def _to_be_scaled(x: Rows, columns: Sequence[Column] | None, standardize: bool | None) -> Tensor:
    """Which elements of the event are brought to mean 0 and standard deviation 1: never names by number."""
    if standardize is False:
        return torch.zeros(x.shape[1:], dtype=torch.bool)
    which = lost_in_float32(x) if standardize is None else torch.ones(x.shape[1:], dtype=torch.bool)
    if columns is not None:
        which |= torch.tensor([c.kind is Kind.TIME for c in columns])
        which &= torch.tensor([c.is_number and c.kind is not Kind.BINARY for c in columns])
    return which


def _as_scaled(columns: Sequence[Column], scaled: Tensor) -> tuple[Column, ...]:
    """What columns hold once some are scaled: these are counts no more."""
    dates = (Kind.DATE, Kind.TIME)
    return tuple(
        replace(column, kind=Kind.REAL, highest=None)
        if is_scaled and column.kind not in dates
        else column
        for column, is_scaled in zip(columns, scaled.tolist(), strict=True)
    )


def _check_columns(name: str, source: Source, x: Rows) -> None:
    """:raises InputError: an element of the event is missing from all training rows."""
    if not num_missing(x):
        return
    never = torch.stack([chunk.isnan().all(0) for chunk in chunks(x)]).all(0)
    if never.any():
        index = tuple(never.nonzero()[0].tolist())
        columns = source.columns
        where = f"in column {columns[index[0]].name!r}" if columns else f"at index {index}"
        raise InputError(
            f"no training row of {name} has a value {where} ({int(never.sum()):,} such in all), so "
            "that nothing can be learnt of it: leave it out"
        )


def _binarize(
    rows: dict[str, Rows], encoding: Encoding, how: Binarize, seed: int
) -> tuple[dict[str, Rows], dict[str, Encoding]]:
    encodings = dict.fromkeys(rows, Encoding())
    fixed = dict(rows)
    for split, x in rows.items():
        if how == "stochastic" and split == "train":
            encodings[split] = Encoding(encoding.unit, stochastic=True)
        else:
            rule = Threshold() if how == "threshold" else Draw(seed, split)
            fixed[split] = binarized(x, encoding, rule)
    return fixed, encodings


class Listing(NamedTuple):
    """A data set that ``load`` knows by name, and whether it is there."""

    name: str
    description: str
    status: str


def available(root: Path | str | None = None) -> list[Listing]:
    """The named data sets, and which of them are below ``root`` (by default ``PYRO_VAE_DATA``).

    >>> available()[0].status
    'built in'
    """
    folder = _root(root)
    return [
        Listing(name, entry.description, _status(name, folder)) for name, entry in NAMED.items()
    ]


def _status(name: str, root: Path | None) -> str:
    entry = NAMED[name]
    if not entry.files:
        return "built in"
    if root is not None and entry.is_there(root):
        return f"there, in {root}"
    if entry.downloadable:
        return "not there; --download fetches it"
    return f"not there; put {entry.files[0]} into {root or 'the data root'}"
