"""Arrays of numbers -> rows; .npy files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data.columns.gaps import array_without_codes, remarks_on_codes
from pyro_vae.data.readers.containers import Array, read_array
from pyro_vae.data.reading import Reading
from pyro_vae.data.sources import Part, Source, shuffled
from pyro_vae.data.values import lost_in_float32
from pyro_vae.errors import InputError

READS_MISSING = (
    "or take a model that leaves them out, such as VAE or ItemResponse (in Python, load(..., "
    "missing=True), and the likelihood Missing with the encoder MaskedInput)"
)
_CHANNELS = (1, 3, 4)  # grey, colour, colour and transparency
_LEAST_SIDE = 5  # of images whose channels are taken to be last
_BRIGHT = 128  # some pixel of images is as bright; counts and codes in their place are not


def read_npy(path: Path, reading: Reading) -> Source:
    """A .npy file: the rows along the first axis, without labels."""
    check_bytes(path)
    array = array_without_codes(read_array(path), reading.codes)
    rows, pixels, remarks = rows_of([array], [str(path)], reading)
    return shuffled(Part(rows[0]), reading.seed, remarks=remarks, pixels=pixels)


def rows_of(
    arrays: Sequence[Array], where: Sequence[str], reading: Reading
) -> tuple[list[Tensor], bool, list[str]]:
    """The rows of arrays that belong together, whether they are grey levels, and what was guessed."""
    for array, name in zip(arrays, where, strict=True):
        _check_numbers(array, name)
    pixels = are_pixels(arrays, where[0], reading.pixels)
    rows = [
        to_rows(array, name, reading.takes_gaps, pixels)
        for array, name in zip(arrays, where, strict=True)
    ]
    remarks = [*_remark_on_shape(arrays[0]), *_remark_on_levels(arrays, pixels, reading.pixels)]
    if arrays[0].ndim == 2 and arrays[0].dtype.kind != "b":
        remarks += remarks_on_codes(arrays[0], None)
    return rows, pixels, remarks


def are_pixels(arrays: Sequence[Array], where: str, said: bool | None = None) -> bool:
    """Whether whole numbers from 0 to 255 are grey levels; zeros and ones alone are left as they are.

    They are where rows have the shape of images, bytes always and other numbers if one is 128 or more.

    :param said: what a person says.
    :raises InputError: it is said that they are, and some are neither such numbers nor from 0 to 1.
    """
    if said is False or not all(map(len, arrays)):
        return False
    whole = all(map(_are_bytes, arrays))
    if said and not whole and not all(map(_are_in_unit_interval, arrays)):
        raise InputError(
            f"pixels=True, but {where} holds numbers that are neither whole and from 0 to 255, nor all "
            "from 0 to 1"
        )
    if said or not whole or arrays[0].ndim not in (3, 4):
        return bool(said) and whole
    most = max(np.nanmax(array) for array in arrays)
    return bool(most > 1 if arrays[0].dtype == np.uint8 else most >= _BRIGHT)


def _are_bytes(array: Array) -> bool:
    """Whether there are only whole numbers from 0 to 255, and gaps."""
    if array.dtype in (np.uint8, np.bool_):
        return True
    return all(
        bool((((part >= 0) & (part <= 255) & (part == np.rint(part))) | np.isnan(part)).all())
        for part in _pieces(array)
    )


def _are_in_unit_interval(array: Array) -> bool:
    return all(bool((((p >= 0) & (p <= 1)) | np.isnan(p)).all()) for p in _pieces(array))


def _pieces(array: Array) -> Iterator[Array]:
    """The rows, a bounded number at a time."""
    step = max(1, 2**22 // max(1, array[:1].size))
    return (array[start : start + step] for start in range(0, len(array), step))


def _channels_last(shape: Sequence[int]) -> bool | None:
    """Whether rows are images with their channels last; None where it cannot be told."""
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


def _remark_on_levels(arrays: Sequence[Array], pixels: bool, said: bool | None) -> list[str]:
    if said is not None:
        return []
    if pixels:
        return ["whole numbers from 0 to 255 are grey levels, k/255 (--pixels false: as they are)"]
    looks = arrays[0].dtype == np.uint8 or arrays[0].ndim in (3, 4)
    if looks and all(map(_are_bytes, arrays)) and max(np.nanmax(a) for a in arrays) > 1:
        return ["whole numbers are taken as they are (--pixels true: as grey levels, k/255)"]
    return []


def check_bytes(path: Path) -> None:
    """:raises InputError: the file is empty."""
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")


def _check_numbers(array: Array, where: str) -> None:
    if array.dtype.kind not in "biuf":
        raise InputError(f"{where} holds {array.dtype} values, not numbers")
    if array.ndim == 0 or array.size == 0:
        raise InputError(f"{where} holds no rows (its shape is {array.shape})")


def to_rows(
    array: Array,
    where: str,
    missing: bool = False,
    pixels: bool | None = None,
    to_the_digit: bool = False,
) -> Tensor:
    """The array's numbers as rows (N | event): uint8 if they are grey levels or truth values, else float.

    A vector is N rows of one number; (N, H, W) are grey images (N, 1, H, W); images with their one,
    three or four channels last, and sides above 4, are turned to (N, C, H, W).

    :param missing: let NaN pass, as a value that is missing.
    :param pixels: whether they are grey levels from 0 to 255; None to find out.
    :param to_the_digit: float64 unless nothing is lost in float32, as outputs repeat the values.
    :raises InputError: not numbers, no rows, or a NaN or an infinity (with its index).
    """
    _check_numbers(array, where)
    if pixels is None:
        pixels = are_pixels([array], where)
    if array.dtype.kind == "f":
        check_finite(array, where, missing, f", {READS_MISSING}")
    if array.ndim in (1, 3):
        array = array[:, None]
    elif _channels_last(array.shape):
        array = np.moveaxis(array, 3, 1)
    if pixels and np.isnan(array).any():
        return torch.from_numpy(_narrow(array / 255))
    if pixels or array.dtype == np.bool_ or (array.dtype == np.uint8 and array.max() <= 1):
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.uint8))
    return torch.from_numpy(_narrow(array, to_the_digit))


def _narrow(array: Array, to_the_digit: bool = False) -> Array:
    """float32, or float64 where the differences between rows, or ``to_the_digit`` any, would be lost."""
    if array.dtype in (np.float16, np.float32):
        return np.ascontiguousarray(array, dtype=np.float32)
    wide = np.ascontiguousarray(array, dtype=np.float64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    if to_the_digit:
        return narrow if np.array_equal(narrow, wide, equal_nan=True) else wide
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


def to_labels(
    array: Array, where: str, rows: int, unseen: str | None = None
) -> tuple[Tensor, tuple[str, ...] | None]:
    """Labels as int64, and the classes' names where the labels were not numbers 0, 1, 2, ...

    Whole numbers with gaps are names, too: of 0, 1000 and 2000 there are three classes. A label that was
    not seen is -1: so are NaN, an empty word and ``unseen``. -1 itself beside two others or more is no
    class; -1 and 1 are two classes.

    :raises InputError: not one label per row, none that was seen, or labels that are neither whole numbers
        nor names.
    """
    check_labels_shape(array, where, rows)
    array = array.reshape(-1)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind not in "biufU":
        raise InputError(f"{where} holds {array.dtype} values; labels are whole numbers or names")
    seen = _are_seen(array, unseen)
    if not seen.any():
        raise InputError(f"{where} has not a single label that was seen")
    known = array[seen]
    if known.dtype.kind == "f":
        if (known != known.round()).any():
            row = int(np.flatnonzero(seen)[(known != known.round()).argmax()])
            raise InputError(
                f"{where} holds {array[row]} at row {row + 1}; labels are whole numbers or names"
            )
        known = known.astype(np.int64)
    names, of_known = np.unique(known, return_inverse=True)
    codes = np.full(len(array), -1, np.int64)
    codes[seen] = of_known
    if known.dtype.kind in "biu":
        if names[0] == -1 and len(names) > 2:  # not seen; beside one other it is a sign
            names = names[1:]
            codes[seen] -= 1
        if np.array_equal(names, np.arange(len(names))):
            return torch.from_numpy(codes), None
    return torch.from_numpy(codes), tuple(map(str, names))


def _are_seen(labels: Array, unseen: str | None) -> Array:
    """Which labels are no gaps, and not the one that stands for such."""
    if labels.dtype.kind == "U":
        return (np.char.strip(labels) != "") & (labels != (unseen or ""))
    seen = ~np.isnan(labels) if labels.dtype.kind == "f" else np.ones(len(labels), bool)
    if unseen is None:
        return seen
    try:
        return seen & (labels != float(unseen))
    except ValueError:  # a word, which is none of the numbers
        return seen


def check_labels_shape(array: Array, where: str, rows: int) -> None:
    if array.shape not in ((rows,), (rows, 1)):
        raise InputError(
            f"{where} has shape {array.shape}, but there are {rows:,} rows; one label per row, "
            f"({rows},), would fit"
        )
