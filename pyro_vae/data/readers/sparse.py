"""Sparse matrices -> arrays, where these fit into memory."""

from collections.abc import Container, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vae.data.readers.containers import Array
from pyro_vae.errors import InputError
from pyro_vae.memory import check_unpacked

_PLACES = {"csr": ("indices", "indptr"), "csc": ("indices", "indptr"), "coo": ("row", "col")}


def is_sparse(archive: Container[str]) -> bool:
    """Whether an archive is what ``scipy.sparse.save_npz`` writes."""
    return all(name in archive for name in ("format", "shape", "data"))


def dense_of_archive(path: Path, archive: Mapping[str, Array]) -> Array:
    """The array that ``scipy.sparse.save_npz`` wrote.

    :raises InputError: it is of another format, damaged, or too large.
    """
    kind = str(archive["format"].astype(str).item()) if archive["format"].size == 1 else "?"
    if kind not in _PLACES:
        raise InputError(
            f"{path} holds a sparse matrix of the format {kind}: save it as csr (matrix.tocsr())"
        )
    lacking = [name for name in _PLACES[kind] if name not in archive]
    if lacking:
        raise InputError(
            f"{path} is damaged: a sparse matrix of the format {kind} has {lacking[0]}"
        )
    places = [archive[name] for name in _PLACES[kind]]
    return dense(str(path), kind, archive["shape"], archive["data"], places)


def dense(where: str, kind: str, shape: Any, data: Array, places: list[Array]) -> Array:
    """A matrix as an array (rows, columns): float32 where nothing is lost by it, else float64.

    :param kind: ``csr`` and ``csc``, whose ``places`` are indices and pointers; ``coo``, rows and columns.
    :raises InputError: its parts do not fit together, or the array would be too large.
    """
    import scipy.sparse

    size = np.asarray(shape).reshape(-1)
    parts = (data, *places)
    counted = all(part.dtype.kind in "iu" or not part.size for part in (size, *places))
    if not counted or len(size) != 2 or any(part.ndim != 1 for part in parts):
        raise InputError(f"{where} is damaged: it is not the sparse matrix of any rows and columns")
    if data.dtype.kind not in "biuf":
        raise InputError(f"{where} holds {data.dtype} values, not numbers")
    rows, columns = int(size[0]), int(size[1])
    with np.errstate(over="ignore"):
        values = data.astype(np.float32)
    if not (values == data).all():
        values = data.astype(np.float64)
    if rows <= 0 or columns <= 0:
        raise InputError(f"{where} holds no rows (its shape is {(rows, columns)})")
    stored = sum(part.nbytes for part in parts)
    check_unpacked(where, prod((rows, columns, values.itemsize)), stored)
    try:
        if kind == "coo":
            matrix: Any = scipy.sparse.coo_matrix((values, tuple(places)), (rows, columns))
        else:
            make = scipy.sparse.csr_matrix if kind == "csr" else scipy.sparse.csc_matrix
            matrix = make((values, *places), (rows, columns))
            matrix.check_format(full_check=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{where} is damaged: {error}") from error
    array: Array = matrix.toarray()
    return array
