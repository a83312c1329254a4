"""Arrays of numbers -> rows; .npy and .npz files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data.containers import Archive, Array, read_array
from pyro_vae.data.reading import Reading
from pyro_vae.data.sources import Part, Source, shuffled
from pyro_vae.data.values import lost_in_float32
from pyro_vae.errors import InputError, nearest

_DATA = ("x", "data", "images")
_LABELS = ("y", "labels", "target")
READS_MISSING = (
    "or take a model that reads missing values: --model ItemResponse, or --model.likelihood Missing "
    "--model.encoder MaskedInput (in Python, load(..., missing=True))"
)
_SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}


def read_npy(path: Path, reading: Reading) -> Source:
    """A .npy file: the rows along the first axis, without labels."""
    _check_bytes(path)
    rows = to_rows(read_array(path), str(path), reading.takes_gaps)
    return shuffled(Part(rows), reading.seed)


def read_npz(path: Path, reading: Reading) -> Source:
    """A .npz file. Arrays named after the splits are taken as such (``train``, ``x_train``,
    ``train_images``; labels ``y_train``, ``train_labels``); else the rows are ``x``, ``data``,
    ``images`` or the first array, and the labels ``label``, ``y``, ``labels`` or ``target``.
    """
    _check_bytes(path)
    return _from_archive(path, Archive(path), reading)


def _from_archive(path: Path, archive: Mapping[str, Array], reading: Reading) -> Source:
    label, missing = reading.label, reading.takes_gaps
    keys = list(archive)
    if not keys:
        raise InputError(f"{path} holds no arrays")
    parts = {split: _find(keys, _data_keys(names)) for split, names in _SPLITS.items()}
    if parts["train"] is not None:
        if label is not None:
            raise InputError(
                f"{path} has splits of its own; their labels are y_train, y_test and so on, "
                f"not {label!r}"
            )
        return _from_splits(path, archive, parts, missing)
    if label is not None and label not in keys:
        raise InputError(f"{path} has no array {label!r}{nearest(label, keys)}")
    labels_key = label or _find(keys, _LABELS)
    data_key = _find(keys, _DATA) or next((key for key in keys if key != labels_key), None)
    if data_key is None:
        raise InputError(f"{path} holds labels ({labels_key}) and nothing else")
    x = to_rows(archive[data_key], f"{path}[{data_key}]", missing)
    if labels_key is None:
        return shuffled(Part(x), reading.seed)
    labels, names = to_labels(archive[labels_key], f"{path}[{labels_key}]", len(x))
    return shuffled(Part(x, labels), reading.seed, class_names=names)


def _from_splits(
    path: Path, archive: Mapping[str, Array], found: Mapping[str, str | None], missing: bool
) -> Source:
    if found["test"] is None:
        raise InputError(f"{path} has the training rows {found['train']!r} but no test rows")
    order = [split for split in ("train", "validation", "test") if found[split] is not None]
    x = {s: to_rows(archive[str(found[s])], f"{path}[{found[s]}]", missing) for s in order}
    first = x["train"]
    for split, rows in x.items():
        if rows.shape[1:] != first.shape[1:] or (rows.dtype == torch.uint8) != (
            first.dtype == torch.uint8
        ):
            raise InputError(
                f"{path}: the {split} rows are {_kind(rows)}, the training rows {_kind(first)}; "
                "all splits need the same shape and type"
            )
    keys = {s: _find(list(archive), _labels_keys(_SPLITS[s])) for s in order}
    labelled = [key for key in keys.values() if key is not None]
    if labelled and len(labelled) < len(order):
        raise InputError(f"{path} has labels {', '.join(labelled)}, but not for every split")
    sizes = [len(x[s]) for s in order]
    labels, names = None, None
    if labelled:
        pieces = [archive[key] for key in labelled]
        for key, piece, size in zip(labelled, pieces, sizes, strict=True):
            _check_labels_shape(piece, f"{path}[{key}]", size)
        labels, names = to_labels(
            np.concatenate([p.reshape(-1) for p in pieces]), f"{path}[labels]", sum(sizes)
        )
    num_test = sizes[-1]
    whole = Part(torch.cat([x[s] for s in order]), labels)
    rows = torch.arange(len(whole))
    num_validation = sizes[1] if "validation" in order else 0
    return Source(
        whole.subset(rows[:-num_test]), num_validation, whole.subset(rows[-num_test:]), names
    )


def _kind(x: Tensor) -> str:
    return f"{'x'.join(map(str, x.shape[1:]))} of {str(x.dtype).removeprefix('torch.')}"


def _data_keys(names: Sequence[str]) -> list[str]:
    return [f.format(n) for n in names for f in ("{}", "x_{}", "{}_x", "{}_data", "{}_images")]


def _labels_keys(names: Sequence[str]) -> list[str]:
    return [f.format(n) for n in names for f in ("y_{}", "{}_y", "{}_labels", "labels_{}")]


def _find(keys: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((key for key in wanted if key in keys), None)


def _check_bytes(path: Path) -> None:
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")


def to_rows(array: Array, where: str, missing: bool = False) -> Tensor:
    """The array's numbers as rows (N | event): uint8 stays, truth values become it, all else float.

    A vector is N rows of one number; (N, H, W) are grey images (N, 1, H, W); images with their one,
    three or four channels last are turned to (N, C, H, W).

    :param missing: let NaN pass, as a value that is missing.
    :raises InputError: not numbers, no rows, or a NaN or an infinity (with its index).
    """
    if array.dtype.kind not in "biuf":
        raise InputError(f"{where} holds {array.dtype} values, not numbers")
    if array.ndim == 0 or array.size == 0:
        raise InputError(f"{where} holds no rows (its shape is {array.shape})")
    if array.dtype.kind == "f":
        check_finite(array, where, missing, f", {READS_MISSING}")
    if array.ndim in (1, 3):
        array = array[:, None]
    elif array.ndim == 4 and array.shape[3] in (1, 3, 4) and array.shape[1] not in (1, 3, 4):
        array = np.moveaxis(array, 3, 1)
    if array.dtype in (np.uint8, np.bool_):
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.uint8))
    return torch.from_numpy(_narrow(array))


def _narrow(array: Array) -> Array:
    """float32, or float64 where the differences between rows would be lost in float32."""
    if array.dtype in (np.float16, np.float32):
        return np.ascontiguousarray(array, dtype=np.float32)
    wide = np.ascontiguousarray(array, dtype=np.float64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    return wide if lost_in_float32(torch.from_numpy(wide)).any() else narrow


def check_finite(array: Array, where: str, missing: bool = False, of_nan: str = "") -> None:
    """:raises InputError: a value is infinite or, unless it may be ``missing``, NaN (with its index)."""
    bad = np.isinf(array) if missing else ~np.isfinite(array)
    if bad.any():
        index = tuple(map(int, np.unravel_index(int(bad.argmax()), bad.shape)))
        raise InputError(
            f"{where} holds {array[index]} at index {index} ({int(bad.sum()):,} values are not "
            "finite in all): remove these rows or fill them in"
            f"{of_nan if np.isnan(array[index]) else ''}"
        )


def to_labels(array: Array, where: str, rows: int) -> tuple[Tensor, tuple[str, ...] | None]:
    """Labels as int64, and the classes' names where the labels were not numbers 0, 1, 2, ...

    Whole numbers with gaps are names, too: of 0, 1000 and 2000 there are three classes. -1 beside two
    others or more is no class, but stays: a label that was not seen. -1 and 1 are two classes.

    :raises InputError: not one label per row, or labels that are neither whole numbers nor names.
    """
    _check_labels_shape(array, where, rows)
    array = array.reshape(-1)
    if array.dtype.kind == "f":
        check_finite(array, where)
        if (array != array.round()).any():
            row = int((array != array.round()).argmax())
            raise InputError(
                f"{where} holds {array[row]} at row {row + 1}; labels are whole numbers or names"
            )
        array = array.astype(np.int64)
    if array.dtype.kind not in "biuSU":
        raise InputError(f"{where} holds {array.dtype} values; labels are whole numbers or names")
    names, codes = np.unique(array, return_inverse=True)
    if array.dtype.kind in "biu":
        if names[0] == -1 and len(names) > 2:  # not seen; beside one other it is a sign
            names, codes = names[1:], codes - 1
        if np.array_equal(names, np.arange(len(names))):
            return torch.from_numpy(codes.astype(np.int64)), None
    if array.dtype.kind == "S":
        names = np.char.decode(names, "utf-8", "replace")
    return torch.from_numpy(codes.astype(np.int64)), tuple(map(str, names))


def _check_labels_shape(array: Array, where: str, rows: int) -> None:
    if array.shape not in ((rows,), (rows, 1)):
        raise InputError(
            f"{where} has shape {array.shape}, but there are {rows:,} rows; one label per row, "
            f"({rows},), would fit"
        )
