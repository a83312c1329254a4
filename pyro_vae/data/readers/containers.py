"""Files of NumPy arrays, read only after their headers say what they hold."""

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

from pyro_vae.errors import InputError
from pyro_vae.memory import check_unpacked, format_bytes

Array = npt.NDArray[Any]

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_ENDING = ".npy"


def read_array(path: Path) -> Array:
    """The array of a .npy file.

    :raises InputError: it is damaged, no such file, or too large; nothing of it is read then.
    """
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            raise InputError(f"{path} is not one array; an archive of arrays ends in .npz")
        file.seek(0)
        size = os.fstat(file.fileno()).st_size
        return _read(file, str(path), size, size)


class Archive(Mapping[str, Array]):
    """The arrays of an .npz file by their names, each read when it is asked for.

    :raises InputError: the file is no archive; or, of an array, that it is damaged or too large.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
                raise InputError(f"{path} is one array, not an archive; such a file ends in .npy")
        try:
            with zipfile.ZipFile(path) as opened:
                self._members = {
                    member.filename.removesuffix(_ENDING): member
                    for member in opened.infolist()
                    if member.filename.endswith(_ENDING)
                }
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise InputError(f"{path} is damaged or not a NumPy file: {error}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def look(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """The shape and type of an array that is not read yet."""
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
            raise _damaged(f"{self.path}[{name}]", error) from error


def _read(file: IO[bytes], where: str, size: int, stored: int) -> Array:
    """The array in a file of ``size`` bytes, unpacked from those that are ``stored``."""
    shape, dtype = _header(file, where)
    if dtype.hasobject:
        raise InputError(
            f"{where} holds Python objects, which are never loaded; save an array of numbers "
            "(array.astype('float32'))"
        )
    needed, there = prod(shape) * dtype.itemsize, size - file.tell()
    if min(shape, default=0) < 0 or needed > there:
        raise InputError(
            f"{where} is damaged: it says that it has the shape {shape}, {format_bytes(needed)}, and "
            f"holds {format_bytes(there)}"
        )
    check_unpacked(where, needed, stored)
    file.seek(0)
    try:
        array: Array = npy.read_array(file, allow_pickle=False)
    except ValueError as error:
        raise _damaged(where, error) from error
    return array


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and type of the array in a file."""
    try:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"version {version} of the format is for columns with names")
        shape, _, dtype = _HEADERS[version](file)
    except (ValueError, EOFError, RecursionError, MemoryError) as error:
        raise _damaged(where, error) from error
    return shape, dtype


def _damaged(where: str, error: Exception) -> InputError:
    return InputError(
        f"{where} is damaged or not a NumPy file: {str(error).strip().partition(chr(10))[0]}"
    )
