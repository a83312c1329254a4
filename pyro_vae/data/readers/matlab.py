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
from pyro_vae.data.readers.arrays import check_bytes
from pyro_vae.data.readers.containers import Array
from pyro_vae.data.readers.sparse import dense
from pyro_vae.data.reading import Reading
from pyro_vae.data.sources import Source
from pyro_vae.errors import InputError, report_read_errors
from pyro_vae.memory import ALLOWANCE, MAX_RATIO, check_unpacked

_TYPES = {"single": "f4", "double": "f8", "logical": "b1", "char": "U1", "sparse": "f8"} | {
    f"{sign}int{8 * size}": f"{sign or 'i'}{size}" for sign in ("", "u") for size in (1, 2, 4, 8)
}
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HEADER, _COMPRESSED = 128, 15  # bytes at a file's beginning; the type of a packed element


def read_mat(path: Path, reading: Reading) -> Source:
    """A .mat file of MATLAB's versions 4 to 7: rows and labels as of an .npz.

    :raises InputError: it is damaged, of version 7.3, or holds no numbers.
    """
    check_bytes(path)
    source = read_arrays(path, Matrices(path), reading)
    rows, event = len(source.pool) + len(source.test), source.pool.x.shape[1:]
    if len(event) == 1 and rows < event[0] and source.pool.labels is None:
        remark = (
            f"the first axis counts the rows, {rows:,} of {event[0]:,} numbers: if the columns are the "
            "rows, transpose the array"
        )
        return replace(source, remarks=[*source.remarks, remark])
    return source


class Matrices(Mapping[str, Array]):
    """The arrays of numbers and letters in a .mat file by their names, each read when it is asked for.

    A matrix of one row, or of one column, is a vector.

    :raises InputError: the file is damaged, too large, or of version 7.3.
    """

    def __init__(self, path: Path) -> None:
        from scipy.io import whosmat  # type: ignore[attr-defined]

        self.path, self._stored = path, path.stat().st_size
        with path.open("rb") as file:
            start = file.read(600)
        if start.startswith(_HDF5) or start[512:520] == _HDF5:
            raise InputError(f"{path} is of MATLAB's version 7.3: save it with save(FILE, '-v7')")
        check_unpacked(str(path), _unpacked(path, self._stored), self._stored)
        with report_read_errors(path):
            found = whosmat(path)
        self._kinds = {name: (shape, kind) for name, shape, kind in found if kind in _TYPES}

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def look(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """The shape and type of an array that is not read yet."""
        shape, kind = self._kinds[name]
        return _squeezed(shape), np.dtype(_TYPES[kind])

    def __getitem__(self, name: str) -> Array:
        from scipy.io import loadmat  # type: ignore[attr-defined]

        where, (shape, kind) = f"{self.path}[{name}]", self._kinds[name]
        if kind != "sparse":
            size = prod(shape) * np.dtype(_TYPES[kind]).itemsize
            if min(shape, default=0) < 0:
                raise InputError(f"{where} is damaged: it says that it has the shape {shape}")
            check_unpacked(where, size, self._stored)
        with report_read_errors(where), warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            try:
                found: Any = loadmat(self.path, variable_names=[name], mat_dtype=True)[name]
            except np.exceptions.ComplexWarning as error:
                raise InputError(
                    f"{where} holds complex numbers, which no model here takes"
                ) from error
            if kind == "sparse":
                matrix = found if found.format == "coo" else found.tocsc()
                places = (
                    [matrix.row, matrix.col]
                    if matrix.format == "coo"
                    else [matrix.indices, matrix.indptr]
                )
                return dense(where, matrix.format, matrix.shape, matrix.data, places)
        array: Array = found.astype(bool) if kind == "logical" else found
        return array.reshape(_squeezed(array.shape))


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (prod(shape),) if len(shape) == 2 and 1 in shape else tuple(shape)


def _unpacked(path: Path, stored: int) -> int:
    """The bytes that the elements of a file take once unpacked, or more than may be."""
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
    """The bytes that a packed element takes once unpacked, of which a part is held at a time."""
    unpacker, size = zlib.decompressobj(), 0
    try:
        while packed and size <= most and not unpacker.eof:
            size += len(unpacker.decompress(packed, 2**20))
            packed = unpacker.unconsumed_tail
    except zlib.error:  # it is said of the array that is read
        return size
    return size
