"""Archives of arrays -> rows, and labels; .npz files."""

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data.columns.missing import mask_na_values_of_array
from pyro_vae.data.readers.arrays import check_labels_shape, check_not_empty, rows_of, to_labels
from pyro_vae.data.readers.containers import Array, NpzFile
from pyro_vae.data.readers.options import ReadOptions
from pyro_vae.data.readers.source import Source, SourceRows, shuffled_source, split_source
from pyro_vae.data.readers.sparse import dense_of_archive, is_sparse
from pyro_vae.errors import InputError, unknown

_DATA = ("x", "data", "images", "imgs", "features")
_LABELS = ("y", "labels", "target", "label", "targets")
_SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}


class ArrayArchive(Protocol):
    """Name what the readers need of an archive; an array is read on access."""

    def __iter__(self) -> Any: ...
    def __getitem__(self, name: str, /) -> Array: ...
    def shape_and_dtype(self, name: str, /) -> tuple[tuple[int, ...], np.dtype[Any]]: ...


def read_npz(path: Path, options: ReadOptions) -> Source:
    """Read an .npz file.

    Arrays named after the splits are these (``train``, ``x_train``, ``train_images``; labels ``y_train``,
    ``train_labels``). Otherwise the rows are ``x``, ``data``, ``images``, ``imgs``, ``features`` or the
    largest array, and the labels ``label``, ``y``, ``labels`` or ``target``. A sparse matrix of SciPy's is
    one array.
    """
    check_not_empty(path)
    archive = NpzFile(path)
    if not is_sparse(archive):
        return read_arrays(path, archive, options)
    for name in ("array", "label"):
        if getattr(options, name) is not None:
            raise InputError(
                f"{path} holds one sparse matrix, so {name} does not apply",
                subject=name,
                remedy=f"leave {name} out",
            )
    x = mask_na_values_of_array(dense_of_archive(path, archive), options.na_values)
    rows, pixels, remarks = rows_of([x], [str(path)], options)
    return shuffled_source(SourceRows(rows[0]), options.seed, remarks=remarks, pixels=pixels)


def read_arrays(path: Path, archive: ArrayArchive, options: ReadOptions) -> Source:
    """Read rows, and labels, from arrays by their names.

    Where there are as many labels as the last axis is long, and not the first, the rows lie along the last.
    """
    names = list(archive)
    if not names:
        raise InputError(
            f"{path} holds no arrays", subject=str(path), expected="one array of numbers at least"
        )
    splits = {split: _find(names, _data_names(words)) for split, words in _SPLITS.items()}
    if splits["train"] is not None and options.array is None:
        if options.label is not None:
            raise InputError(
                f"{path} has its own splits, so label={options.label!r} does not apply",
                subject="label",
                remedy="leave label out and name the labels y_train, y_test and so on",
            )
        return _from_splits(path, archive, splits, options)
    data, label = _choose(path, archive, names, options)
    array = mask_na_values_of_array(archive[data], options.na_values)
    remarks = _remark_on_choice(names, data, label, options)
    raw = None if label is None else archive[label]
    if raw is not None and array.ndim > 1 and raw.size == array.shape[-1] != len(array):
        array = np.moveaxis(array, -1, 0)
        remarks.append("the rows lie along the last axis, as there are as many labels")
    (x,), pixels, more = rows_of([array], [f"{path}[{data}]"], options)
    labels, classes = None, None
    if raw is not None:
        labels, classes = to_labels(raw, f"{path}[{label}]", len(x), options.unseen)
    rows, remarks = SourceRows(x, labels), [*remarks, *more]
    return shuffled_source(rows, options.seed, class_names=classes, remarks=remarks, pixels=pixels)


def _choose(
    path: Path, archive: ArrayArchive, names: Sequence[str], options: ReadOptions
) -> tuple[str, str | None]:
    """Return the names of the array with the rows, and of that with the labels, if there is one."""
    for name in (options.label, options.array):
        if name is not None and name not in names:
            raise unknown(f"{path} has no array {name!r}", name, names)
    label = options.label or _find([name for name in names if name != options.array], _LABELS)
    others = [name for name in names if name != label]
    data = options.array or _find(others, _DATA) or _largest(archive, others)
    if data is None:
        raise InputError(
            f"{path} holds labels ({label}) and nothing else",
            subject=str(path),
            expected="an array with the rows",
        )
    return data, label


def _remark_on_choice(
    names: Sequence[str], data: str, label: str | None, options: ReadOptions
) -> list[str]:
    by_user = {options.array, options.label}
    if len(names) == 1 or {data, label or data} <= by_user:
        return []
    of_labels = f", and {label!r} the labels" if label is not None else ""
    return [f"the array {data!r} holds the rows{of_labels} (--array, --label)"]


def _largest(archive: ArrayArchive, names: Iterable[str]) -> str | None:
    """Return the array with the most numbers, of those that are tables or images if there are any."""
    sizes = {}
    for name in names:
        try:
            shape, dtype = archive.shape_and_dtype(name)
        except InputError:  # if it is the one that is read, its reader reports it
            sizes[name] = (False, False, 0)
            continue
        sizes[name] = (dtype.kind in "biuf", len(shape) > 1, prod(shape))
    return max(sizes, key=lambda name: sizes[name], default=None)


def _from_splits(
    path: Path, archive: ArrayArchive, splits: Mapping[str, str | None], options: ReadOptions
) -> Source:
    if splits["test"] is None:
        raise InputError(
            f"{path} has the training rows {splits['train']!r} but no test rows",
            subject=str(path),
            expected="an array test or x_test",
        )
    order = [split for split in ("train", "validation", "test") if splits[split] is not None]
    where = [f"{path}[{splits[split]}]" for split in order]
    arrays = [mask_na_values_of_array(archive[str(splits[s])], options.na_values) for s in order]
    _check_alike(where, arrays)
    rows, pixels, remarks = rows_of(arrays, where, options)
    names = [_find(list(archive), _label_names(_SPLITS[split])) for split in order]
    sizes = {split: len(x) for split, x in zip(order, rows, strict=True)}
    labels, classes = _labels_of_splits(path, archive, names, [*sizes.values()], options.unseen)
    whole = SourceRows(torch.cat(rows), labels)
    return split_source(whole, sizes, class_names=classes, remarks=remarks, pixels=pixels)


def _check_alike(where: Sequence[str], arrays: Sequence[Array]) -> None:
    first = arrays[0]
    for name, array in zip(where, arrays, strict=True):
        if array.shape[1:] != first.shape[1:] or (array.dtype == np.uint8) != (
            first.dtype == np.uint8
        ):
            raise InputError(
                f"{name} holds rows of {_form(array)}",
                subject=name,
                expected=f"{_form(first)}, as the training rows have",
            )


def _labels_of_splits(
    path: Path,
    archive: ArrayArchive,
    names: Sequence[str | None],
    sizes: Sequence[int],
    unseen: str | None,
) -> tuple[Tensor | None, tuple[str, ...] | None]:
    labelled = [name for name in names if name is not None]
    if not labelled:
        return None, None
    if len(labelled) < len(names):
        raise InputError(
            f"{path} has labels {', '.join(labelled)}",
            subject=str(path),
            expected="labels for each split",
        )
    pieces = [archive[name] for name in labelled]
    for name, piece, size in zip(labelled, pieces, sizes, strict=True):
        check_labels_shape(piece, f"{path}[{name}]", size)
    together = np.concatenate([piece.reshape(-1) for piece in pieces])
    return to_labels(together, f"{path}[labels]", sum(sizes), unseen)


def _form(x: Array) -> str:
    return f"{'x'.join(map(str, x.shape[1:]))} {x.dtype}"


def _data_names(words: Sequence[str]) -> list[str]:
    return [f.format(w) for w in words for f in ("{}", "x_{}", "{}_x", "{}_data", "{}_images")]


def _label_names(words: Sequence[str]) -> list[str]:
    return [f.format(w) for w in words for f in ("y_{}", "{}_y", "{}_labels", "labels_{}")]


def _find(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    """Return the name that is the first of the wanted ones, in small letters or large."""
    by_letters = {name.casefold(): name for name in reversed(names)}
    return next((by_letters[name] for name in wanted if name in by_letters), None)
