"""Arrays in MATLAB's .mat files -> rows, and labels. Nothing in such a file is executed."""

import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vae.data.readers.archives import read_arrays
from pyro_vae.data.readers.arrays import check_not_empty
from pyro_vae.data.readers.containers import Array
from pyro_vae.data.readers.options import ReadOptions
from pyro_vae.data.readers.source import Source
from pyro_vae.data.readers.sparse import dense
from pyro_vae.data.refusals import damaged, not_numbers
from pyro_vae.errors import InputError, report_read_errors
from pyro_vae.memory import ALLOWANCE, MAX_RATIO, check_unpacked

_TYPES = {"single": "f4", "double": "f8", "logical": "b1", "char": "U1", "sparse": "f8"} | {
    f"{sign}int{8 * size}": f"{sign or 'i'}{size}" for sign in ("", "u") for size in (1, 2, 4, 8)
}
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HEADER, _COMPRESSED = 128, 15  # bytes at a file's beginning; the type of a packed element


def read_mat(path: Path, options: ReadOptions) -> Source:
    """Read a .mat file of MATLAB's versions 4 to 7: rows and labels as of an .npz.

    Raises:
        InputError: it is damaged, of version 7.3, or holds no numbers.
    """
    check_not_empty(path)
    source = read_arrays(path, MatFile(path), options)
    rows, event = len(source.pool) + len(source.test), source.pool.x.shape[1:]
    if len(event) == 1 and rows < event[0] and source.pool.labels is None:
        remark = (
            f"the first axis counts the rows, {rows:,} of {event[0]:,} numbers: if the columns are the "
            "rows, transpose the array"
        )
        return replace(source, remarks=[*source.remarks, remark])
    return source


class MatFile(Mapping[str, Array]):
    """Map the names of a .mat file's arrays of numbers and letters to the arrays, which are read on access.

    A matrix of one row, or of one column, is a vector.

    Raises:
        InputError: the file is damaged, too large, or of version 7.3.
    """

    def __init__(self, path: Path) -> None:
        from scipy.io import whosmat  # type: ignore[attr-defined]

        self.path, self._stored = path, path.stat().st_size
        with path.open("rb") as file:
            start = file.read(600)
        if start.startswith(_HDF5) or start[512:520] == _HDF5:
            raise InputError(
                f"{path} is of MATLAB's version 7.3",
                subject=str(path),
                expected="one of the versions 4 to 7",
                remedy="save it with save(FILE, '-v7')",
            )
        check_unpacked(str(path), _unpacked(path, self._stored), self._stored)
        with report_read_errors(path):
            contents = whosmat(path)
        self._kinds = {name: (shape, kind) for name, shape, kind in contents if kind in _TYPES}

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def shape_and_dtype(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return the shape and the type of an array without reading it."""
        shape, kind = self._kinds[name]
        return _squeezed(shape), np.dtype(_TYPES[kind])

    def __getitem__(self, name: str) -> Array:
        from scipy.io import loadmat  # type: ignore[attr-defined]

        where, (shape, kind) = f"{self.path}[{name}]", self._kinds[name]
        if kind != "sparse":
            size = prod(shape) * np.dtype(_TYPES[kind]).itemsize
            if min(shape, default=0) < 0:
                raise damaged(where, f"its header has the shape {shape}")
            check_unpacked(where, size, self._stored)
        with report_read_errors(where), warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            try:
                loaded: Any = loadmat(self.path, variable_names=[name], mat_dtype=True)[name]
            except np.exceptions.ComplexWarning as error:
                raise not_numbers(where, "complex") from error
            if kind == "sparse":
                return _dense(where, loaded)
        array: Array = loaded.astype(bool) if kind == "logical" else loaded
        return array.reshape(_squeezed(array.shape))


def _dense(where: str, matrix: Any) -> Array:
    matrix = matrix if matrix.format == "coo" else matrix.tocsc()
    is_coo = matrix.format == "coo"
    indices = [matrix.row, matrix.col] if is_coo else [matrix.indices, matrix.indptr]
    return dense(where, matrix.format, matrix.shape, matrix.data, indices)


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (prod(shape),) if len(shape) == 2 and 1 in shape else tuple(shape)


def _unpacked(path: Path, stored: int) -> int:
    """Return the bytes that the elements of a file unpack to; it stops counting above the limit."""
    most, total = max(ALLOWANCE, MAX_RATIO * stored), 0
    with path.open("rb") as file:
        order = {b"IM": "<", b"MI": ">"}.get(file.read(_HEADER)[-2:])
        while order and total <= most and len(tag := file.read(8)) == 8:
            kind, count = struct.unpack(f"{order}II", tag)
            if kind != _COMPRESSED:
                total += min(count, stored)
                file.seek(count, 1)
                continue
            total += _inflated(file.read(min(count, stored)), most)
    return total


def _inflated(packed: bytes, most: int) -> int:
    """Return the bytes that a packed element unpacks to, with a part of them in memory at a time."""
    unpacker, size = zlib.decompressobj(), 0
    try:
        while packed and size <= most and not unpacker.eof:
            size += len(unpacker.decompress(packed, 2**20))
            packed = unpacker.unconsumed_tail
    except zlib.error:  # the reader of the array reports it
        return size
    return size
