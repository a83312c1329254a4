"""Arrays of numbers -> rows; .npy files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data.columns.missing import mask_na_values_of_array, remarks_on_placeholders
from pyro_vae.data.readers.containers import Array, read_array
from pyro_vae.data.readers.options import ReadOptions
from pyro_vae.data.readers.source import Source, SourceRows, shuffled_source
from pyro_vae.data.refusals import no_rows, not_numbers
from pyro_vae.data.values import lost_in_float32
from pyro_vae.errors import InputError

FILL_IN = "remove these rows or fill them in"
ALLOW_MISSING = (
    f"{FILL_IN}, or take a model for missing values, such as VAE or ItemResponse (in Python "
    "load(..., missing=True) keeps them as NaN; your own model then masks them, or takes the parts Missing "
    "and MaskedInput)"
)
_CHANNELS = (1, 3, 4)  # grey, colour, colour and transparency
_LEAST_SIDE = 5  # of images whose channels are taken to be last
_BRIGHT = 128  # a grey level that images reach, and counts and codes in their place do not


def read_npy(path: Path, options: ReadOptions) -> Source:
    """Read a .npy file: the rows along the first axis, without labels."""
    check_not_empty(path)
    array = mask_na_values_of_array(read_array(path), options.na_values)
    rows, pixels, remarks = rows_of([array], [str(path)], options)
    return shuffled_source(SourceRows(rows[0]), options.seed, remarks=remarks, pixels=pixels)


def rows_of(
    arrays: Sequence[Array], where: Sequence[str], options: ReadOptions
) -> tuple[list[Tensor], bool, list[str]]:
    """Return the rows of arrays that belong together, whether they are grey levels, and remarks."""
    for array, name in zip(arrays, where, strict=True):
        _check_numbers(array, name)
    pixels = are_pixels(arrays, where[0], options.pixels)
    rows = [
        to_rows(array, name, options.allows_missing, pixels)
        for array, name in zip(arrays, where, strict=True)
    ]
    remarks = [*_remark_on_shape(arrays[0]), *_remark_on_levels(arrays, pixels, options.pixels)]
    if arrays[0].ndim == 2 and arrays[0].dtype.kind != "b":
        remarks += remarks_on_placeholders(arrays[0], None)
    return rows, pixels, remarks


def are_pixels(arrays: Sequence[Array], where: str, pixels: bool | None = None) -> bool:
    """Return whether whole numbers from 0 to 255 are grey levels; zeros and ones alone are kept.

    They are where rows have the shape of images: bytes always, other numbers if one is 128 or more.

    Args:
        arrays: the arrays.
        where: what messages call them.
        pixels: what the user says.

    Raises:
        InputError: ``pixels`` is true, but some are neither such numbers nor from 0 to 1.
    """
    if pixels is False or not all(map(len, arrays)):
        return False
    whole = all(map(_are_bytes, arrays))
    if pixels and not whole and not all(map(_are_in_unit_interval, arrays)):
        raise InputError(
            f"pixels=True does not fit the numbers in {where}",
            subject="pixels",
            expected="whole numbers from 0 to 255, or numbers from 0 to 1",
        )
    if pixels or not whole or arrays[0].ndim not in (3, 4):
        return bool(pixels) and whole
    highest = max(np.nanmax(array) for array in arrays)
    return bool(highest > 1 if arrays[0].dtype == np.uint8 else highest >= _BRIGHT)


def _are_bytes(array: Array) -> bool:
    """Return whether there are only whole numbers from 0 to 255, and missing values."""
    if array.dtype in (np.uint8, np.bool_):
        return True
    return all(
        bool((((part >= 0) & (part <= 255) & (part == np.rint(part))) | np.isnan(part)).all())
        for part in _pieces(array)
    )


def _are_in_unit_interval(array: Array) -> bool:
    return all(bool((((p >= 0) & (p <= 1)) | np.isnan(p)).all()) for p in _pieces(array))


def _pieces(array: Array) -> Iterator[Array]:
    """Yield the rows, a bounded number at a time."""
    step = max(1, 2**22 // max(1, array[:1].size))
    return (array[start : start + step] for start in range(0, len(array), step))


def _channels_last(shape: Sequence[int]) -> bool | None:
    """Return whether rows are images with their channels last; None where that is ambiguous."""
    if len(shape) != 4 or shape[3] not in _CHANNELS:
        return False
    if shape[1] in _CHANNELS or min(shape[1:3]) < _LEAST_SIDE:
        return None
    return True


def _remark_on_shape(array: Array) -> list[str]:
    last = _channels_last(array.shape)
    if last is False:
        return []
    first, second, third = array.shape[1:]
    if last:
        return [f"images with their channels last were turned to {third}x{first}x{second}"]
    return [
        f"rows of {first}x{second}x{third} are taken as {first} channels of {second}x{third}, not as "
        f"{third} channels of {first}x{second}: move the axis if they are that"
    ]


def _remark_on_levels(arrays: Sequence[Array], pixels: bool, by_user: bool | None) -> list[str]:
    if by_user is not None:
        return []
    if pixels:
        return ["whole numbers from 0 to 255 are grey levels, k/255 (--pixels false: as they are)"]
    possible = arrays[0].dtype == np.uint8 or arrays[0].ndim in (3, 4)
    if possible and all(map(_are_bytes, arrays)) and max(np.nanmax(a) for a in arrays) > 1:
        return ["whole numbers are taken as they are (--pixels true: as grey levels, k/255)"]
    return []


def check_not_empty(path: Path) -> None:
    """Check that a file has bytes."""
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty", subject=str(path))


def _check_numbers(array: Array, where: str) -> None:
    if array.dtype.kind not in "biuf":
        raise not_numbers(where, array.dtype)
    if array.ndim == 0 or array.size == 0:
        raise no_rows(where, array.shape)


def to_rows(
    array: Array,
    where: str,
    missing: bool = False,
    pixels: bool | None = None,
    keep_digits: bool = False,
) -> Tensor:
    """Return an array as rows (N | event): uint8 if they are grey levels or truth values, otherwise floats.

    A vector is N rows of one number; (N, H, W) are grey images (N, 1, H, W); images with their one,
    three or four channels last, and sides above 4, are turned to (N, C, H, W).

    Args:
        array: the numbers.
        where: what messages call the array.
        missing: let NaN pass, as a missing value.
        pixels: whether they are grey levels from 0 to 255; None lets the values decide.
        keep_digits: float64 unless float32 is exact, because outputs repeat the values.

    Raises:
        InputError: not numbers, no rows, or a NaN or an infinity (with its index).
    """
    _check_numbers(array, where)
    if pixels is None:
        pixels = are_pixels([array], where)
    if array.dtype.kind == "f":
        _check_finite(array, where, missing)
    if array.ndim in (1, 3):
        array = array[:, None]
    elif _channels_last(array.shape):
        array = np.moveaxis(array, 3, 1)
    if pixels and np.isnan(array).any():
        return torch.from_numpy(_narrow(array / 255))
    if pixels or array.dtype == np.bool_ or (array.dtype == np.uint8 and array.max() <= 1):
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.uint8))
    return torch.from_numpy(_narrow(array, keep_digits))


def _narrow(array: Array, keep_digits: bool = False) -> Array:
    """Return float32, or float64 where that would lose differences between rows, or any digits."""
    if array.dtype in (np.float16, np.float32):
        return np.ascontiguousarray(array, dtype=np.float32)
    wide = np.ascontiguousarray(array, dtype=np.float64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    if keep_digits:
        return narrow if np.array_equal(narrow, wide, equal_nan=True) else wide
    return wide if lost_in_float32(torch.from_numpy(wide)).any() else narrow


def _check_finite(array: Array, where: str, missing: bool) -> None:
    """Check that no value is infinite or, unless it may be ``missing``, NaN."""
    bad = np.isinf(array) if missing else ~np.isfinite(array)
    if bad.any():
        index = tuple(map(int, np.unravel_index(int(bad.argmax()), bad.shape)))
        raise InputError(
            f"{where} holds {array[index]} at index {index} ({int(bad.sum()):,} such values)",
            subject=where,
            expected="finite numbers",
            remedy=ALLOW_MISSING if np.isnan(array[index]) else FILL_IN,
        )


def to_labels(
    array: Array, where: str, rows: int, unseen: str | None = None
) -> tuple[Tensor, tuple[str, ...] | None]:
    """Return labels as int64, and the classes' names unless the labels are numbers 0, 1, 2, ...

    Whole numbers with gaps are names, too: 0, 1000 and 2000 are three classes. An unknown label is -1:
    NaN, an empty word, ``unseen``, and -1 itself where there are two other numbers or more; -1 and 1 are
    two classes.

    Raises:
        InputError: not one label per row, none that is known, or labels that are neither whole numbers nor
            names.
    """
    check_labels_shape(array, where, rows)
    array = array.reshape(-1)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind not in "biufU":
        raise _not_labels(where, f"{array.dtype} values")
    is_known = _are_known(array, unseen)
    if not is_known.any():
        raise InputError(
            f"{where} has no label that is known", subject=where, expected="one at least"
        )
    known = array[is_known]
    if known.dtype.kind == "f":
        if (known != known.round()).any():
            row = int(np.flatnonzero(is_known)[(known != known.round()).argmax()])
            raise _not_labels(where, f"{array[row]} at row {row + 1}")
        known = known.astype(np.int64)
    names, of_known = np.unique(known, return_inverse=True)
    codes = np.full(len(array), -1, np.int64)
    codes[is_known] = of_known
    if known.dtype.kind in "biu":
        if names[0] == -1 and len(names) > 2:  # unknown; with one other number it is a sign
            names = names[1:]
            codes[is_known] -= 1
        if np.array_equal(names, np.arange(len(names))):
            return torch.from_numpy(codes), None
    return torch.from_numpy(codes), tuple(map(str, names))


def _not_labels(where: str, what: str) -> InputError:
    return InputError(
        f"{where} holds {what}", subject=where, expected="labels that are whole numbers or names"
    )


def _are_known(labels: Array, unseen: str | None) -> Array:
    """Return which labels are not missing, and are not the one for an unknown label."""
    if labels.dtype.kind == "U":
        return (np.char.strip(labels) != "") & (labels != (unseen or ""))
    is_known = ~np.isnan(labels) if labels.dtype.kind == "f" else np.ones(len(labels), bool)
    if unseen is None:
        return is_known
    try:
        return is_known & (labels != float(unseen))
    except ValueError:  # a word, which equals none of the numbers
        return is_known


def check_labels_shape(array: Array, where: str, rows: int) -> None:
    """Check that there is one label per row."""
    if array.shape not in ((rows,), (rows, 1)):
        raise InputError(
            f"{where} has the shape {array.shape}, but there are {rows:,} rows",
            subject=where,
            expected=f"one label per row, ({rows},)",
        )
