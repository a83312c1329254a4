"""Files of NumPy arrays, whose headers are checked before anything is read."""

import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from pyro_vae.data.refusals import damaged
from pyro_vae.errors import InputError
from pyro_vae.memory import check_unpacked, format_bytes

Array = npt.NDArray[Any]

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_ENDING = ".npy"
_FORM = "a NumPy file"


def read_array(path: Path) -> Array:
    """Return the array of a .npy file.

    Raises:
        InputError: it is damaged, of another form, or too large; then nothing of it is read.
    """
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            raise InputError(
                f"{path} is an archive of arrays",
                subject=str(path),
                expected="one array",
                remedy="rename it to end in .npz",
            )
        file.seek(0)
        size = os.fstat(file.fileno()).st_size
        return _read(file, str(path), size, size)


class NpzFile(Mapping[str, Array]):
    """Map the names of an .npz file's arrays to the arrays, which are read on access.

    Raises:
        InputError: the file is not an archive; on access, an array is damaged or too large.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
                raise InputError(
                    f"{path} is one array",
                    subject=str(path),
                    expected="an archive of arrays",
                    remedy="rename it to end in .npy",
                )
        try:
            with zipfile.ZipFile(path) as opened:
                self._members = {
                    member.filename.removesuffix(_ENDING): member
                    for member in opened.infolist()
                    if member.filename.endswith(_ENDING)
                }
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise damaged(path, error, _FORM) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def shape_and_dtype(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return the shape and the type of an array without reading it."""
        with self._opened(name) as file:
            return _header(file, f"{self.path}[{name}]")

    def __getitem__(self, name: str) -> Array:
        member = self._members[name]
        with self._opened(name) as file:
            return _read(file, f"{self.path}[{name}]", member.file_size, member.compress_size)

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with zipfile.ZipFile(self.path) as opened, opened.open(self._members[name]) as file:
                yield file
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise damaged(f"{self.path}[{name}]", error, _FORM) from error


def _read(file: IO[bytes], where: str, size: int, stored: int) -> Array:
    """Return the array in a file of ``size`` bytes, which are packed into ``stored`` ones."""
    shape, dtype = _header(file, where)
    if dtype.hasobject:
        raise InputError(
            f"{where} holds Python objects, which are never loaded",
            subject=where,
            expected="numbers",
            remedy="save array.astype('float32')",
        )
    needed, present = prod(shape) * dtype.itemsize, size - file.tell()
    if min(shape, default=0) < 0 or needed > present:
        raise damaged(
            where,
            f"its header has the shape {shape}, {format_bytes(needed)}, but {format_bytes(present)} follow",
        )
    check_unpacked(where, needed, stored)
    file.seek(0)
    try:
        array: Array = npy.read_array(file, allow_pickle=False)
    except ValueError as error:
        raise damaged(where, error, _FORM) from error
    return array


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and the type of the array in a file."""
    try:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"version {version} of the format is for columns with names")
        shape, _, dtype = _HEADERS[version](file)
    except (ValueError, EOFError, RecursionError, MemoryError) as error:
        raise damaged(where, error, _FORM) from error
    return shape, dtype
