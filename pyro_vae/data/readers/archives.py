"""Archives of arrays -> rows, and labels; .npz files."""

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data.columns.gaps import array_without_codes
from pyro_vae.data.readers.arrays import check_bytes, check_labels_shape, rows_of, to_labels
from pyro_vae.data.readers.containers import Archive, Array
from pyro_vae.data.readers.sparse import dense_of_archive, is_sparse
from pyro_vae.data.reading import Reading
from pyro_vae.data.sources import Part, Source, shuffled
from pyro_vae.errors import InputError, nearest

_DATA = ("x", "data", "images", "imgs", "features")
_LABELS = ("y", "labels", "target", "label", "targets")
_SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}


class Arrays(Protocol):
    """Arrays by their names, each read when it is asked for; the shape and type of each before that."""

    def __iter__(self) -> Any: ...
    def __getitem__(self, name: str, /) -> Array: ...
    def look(self, name: str, /) -> tuple[tuple[int, ...], np.dtype[Any]]: ...


def read_npz(path: Path, reading: Reading) -> Source:
    """An .npz file. Arrays named after the splits are taken as such (``train``, ``x_train``,
    ``train_images``; labels ``y_train``, ``train_labels``); else the rows are ``x``, ``data``, ``images``,
    ``imgs``, ``features`` or the largest array, and the labels ``label``, ``y``, ``labels`` or ``target``.
    A sparse matrix of SciPy's is one array.
    """
    check_bytes(path)
    archive = Archive(path)
    if is_sparse(archive):
        if reading.array is not None or reading.label is not None:
            raise InputError(
                f"{path} holds one sparse matrix, and neither label nor array: leave them out"
            )
        x = array_without_codes(dense_of_archive(path, archive), reading.codes)
        rows, pixels, remarks = rows_of([x], [str(path)], reading)
        return shuffled(Part(rows[0]), reading.seed, remarks=remarks, pixels=pixels)
    return read_arrays(path, archive, reading)


def read_arrays(path: Path, archive: Arrays, reading: Reading) -> Source:
    """Rows, and labels, from arrays by their names.

    Where there are as many labels as the last axis is long, and not the first, the rows lie along the last.
    """
    label, keys = reading.label, list(archive)
    if not keys:
        raise InputError(f"{path} holds no arrays")
    parts = {split: _find(keys, _data_keys(names)) for split, names in _SPLITS.items()}
    if parts["train"] is not None and reading.array is None:
        if label is not None:
            raise InputError(
                f"{path} has splits of its own; their labels are y_train, y_test and so on, "
                f"not {label!r}"
            )
        return _from_splits(path, archive, parts, reading)
    for name in (label, reading.array):
        if name is not None and name not in keys:
            raise InputError(f"{path} has no array {name!r}{nearest(name, keys)}")
    labels_key = label or _find([key for key in keys if key != reading.array], _LABELS)
    others = [key for key in keys if key != labels_key]
    data_key = reading.array or _find(others, _DATA) or _largest(archive, others)
    if data_key is None:
        raise InputError(f"{path} holds labels ({labels_key}) and nothing else")
    array = array_without_codes(archive[data_key], reading.codes)
    remarks = _remark_on_choice(keys, data_key, labels_key, reading)
    raw = None if labels_key is None else archive[labels_key]
    if raw is not None and array.ndim > 1 and raw.size == array.shape[-1] != len(array):
        array = np.moveaxis(array, -1, 0)
        remarks.append("the rows lie along the last axis, as there are as many labels")
    (x,), pixels, more = rows_of([array], [f"{path}[{data_key}]"], reading)
    labels, names = None, None
    if raw is not None:
        labels, names = to_labels(raw, f"{path}[{labels_key}]", len(x), reading.unseen)
    part, remarks = Part(x, labels), [*remarks, *more]
    return shuffled(part, reading.seed, class_names=names, remarks=remarks, pixels=pixels)


def _remark_on_choice(
    keys: Sequence[str], data: str, labels: str | None, reading: Reading
) -> list[str]:
    said = {reading.array, reading.label}
    if len(keys) == 1 or {data, labels or data} <= said:
        return []
    of_labels = f", and {labels!r} the labels" if labels is not None else ""
    return [f"the array {data!r} holds the rows{of_labels} (--array, --label)"]


def _largest(archive: Arrays, keys: Iterable[str]) -> str | None:
    """The array with the most numbers, of those that are tables or images if there are any."""
    sizes = {}
    for key in keys:
        try:
            shape, dtype = archive.look(key)
        except InputError:  # it is said of the array that is read
            sizes[key] = (False, False, 0)
            continue
        sizes[key] = (dtype.kind in "biuf", len(shape) > 1, prod(shape))
    return max(sizes, key=lambda key: sizes[key], default=None)


def _from_splits(
    path: Path, archive: Arrays, found: Mapping[str, str | None], reading: Reading
) -> Source:
    if found["test"] is None:
        raise InputError(f"{path} has the training rows {found['train']!r} but no test rows")
    order = [split for split in ("train", "validation", "test") if found[split] is not None]
    where = [f"{path}[{found[s]}]" for s in order]
    arrays = [array_without_codes(archive[str(found[s])], reading.codes) for s in order]
    _check_alike(path, order, arrays)
    rows, pixels, remarks = rows_of(arrays, where, reading)
    keys = [_find(list(archive), _labels_keys(_SPLITS[s])) for s in order]
    labels, names = _labels_of_splits(path, archive, keys, [len(x) for x in rows], reading.unseen)
    whole = Part(torch.cat(rows), labels)
    places, num_test = torch.arange(len(whole)), len(rows[-1])
    return Source(
        whole.subset(places[:-num_test]),
        len(rows[1]) if "validation" in order else 0,
        whole.subset(places[-num_test:]),
        names,
        remarks=remarks,
        pixels=pixels,
    )


def _check_alike(path: Path, order: Sequence[str], arrays: Sequence[Array]) -> None:
    first = arrays[0]
    for split, array in zip(order, arrays, strict=True):
        if array.shape[1:] != first.shape[1:] or (array.dtype == np.uint8) != (
            first.dtype == np.uint8
        ):
            raise InputError(
                f"{path}: the {split} rows are {_kind(array)}, the training rows {_kind(first)}; "
                "all splits need the same shape and type"
            )


def _labels_of_splits(
    path: Path,
    archive: Arrays,
    keys: Sequence[str | None],
    sizes: Sequence[int],
    unseen: str | None,
) -> tuple[Tensor | None, tuple[str, ...] | None]:
    labelled = [key for key in keys if key is not None]
    if not labelled:
        return None, None
    if len(labelled) < len(keys):
        raise InputError(f"{path} has labels {', '.join(labelled)}, but not for every split")
    pieces = [archive[key] for key in labelled]
    for key, piece, size in zip(labelled, pieces, sizes, strict=True):
        check_labels_shape(piece, f"{path}[{key}]", size)
    together = np.concatenate([piece.reshape(-1) for piece in pieces])
    return to_labels(together, f"{path}[labels]", sum(sizes), unseen)


def _kind(x: Array) -> str:
    return f"{'x'.join(map(str, x.shape[1:]))} of {x.dtype}"


def _data_keys(names: Sequence[str]) -> list[str]:
    return [f.format(n) for n in names for f in ("{}", "x_{}", "{}_x", "{}_data", "{}_images")]


def _labels_keys(names: Sequence[str]) -> list[str]:
    return [f.format(n) for n in names for f in ("y_{}", "{}_y", "{}_labels", "labels_{}")]


def _find(keys: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The key that is the first of the wanted ones, in small letters or large."""
    known = {key.casefold(): key for key in reversed(keys)}
    return next((known[key] for key in wanted if key in known), None)
