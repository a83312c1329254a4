"""Sparse matrices -> arrays, where these fit into memory."""

from collections.abc import Container, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vae.data.readers.containers import Array
from pyro_vae.data.refusals import damaged, no_rows, not_numbers
from pyro_vae.errors import InputError
from pyro_vae.memory import check_unpacked

_INDICES = {"csr": ("indices", "indptr"), "csc": ("indices", "indptr"), "coo": ("row", "col")}


def is_sparse(archive: Container[str]) -> bool:
    """Return whether an archive is a file of ``scipy.sparse.save_npz``."""
    return all(name in archive for name in ("format", "shape", "data"))


def dense_of_archive(path: Path, archive: Mapping[str, Array]) -> Array:
    """Return the matrix in a file of ``scipy.sparse.save_npz`` as an array.

    Raises:
        InputError: it is of another format, damaged, or too large.
    """
    form = str(archive["format"].astype(str).item()) if archive["format"].size == 1 else "?"
    if form not in _INDICES:
        raise InputError(
            f"{path} holds a sparse matrix of the format {form}",
            subject=str(path),
            expected=", ".join(_INDICES),
            remedy="save matrix.tocsr()",
        )
    lacking = [name for name in _INDICES[form] if name not in archive]
    if lacking:
        raise damaged(path, f"a sparse matrix of the format {form} lacks {lacking[0]}")
    indices = [archive[name] for name in _INDICES[form]]
    return dense(str(path), form, archive["shape"], archive["data"], indices)


def dense(where: str, form: str, shape: Any, data: Array, indices: list[Array]) -> Array:
    """Return a sparse matrix as an array (rows, columns): float32 where that is exact, otherwise float64.

    Args:
        where: what messages call the matrix.
        form: ``csr`` and ``csc``, whose ``indices`` are indices and pointers; ``coo``, rows and columns.
        shape: rows and columns.
        data: the values that are stored.
        indices: two vectors that say where the values are.

    Raises:
        InputError: its parts do not fit together, or the array would be too large.
    """
    import scipy.sparse

    size = np.asarray(shape).reshape(-1)
    parts = (data, *indices)
    are_whole = all(part.dtype.kind in "iu" or not part.size for part in (size, *indices))
    if not are_whole or len(size) != 2 or any(part.ndim != 1 for part in parts):
        raise damaged(where, "its parts do not make a sparse matrix")
    if data.dtype.kind not in "biuf":
        raise not_numbers(where, data.dtype)
    rows, columns = int(size[0]), int(size[1])
    with np.errstate(over="ignore"):
        values = data.astype(np.float32)
    if not (values == data).all():
        values = data.astype(np.float64)
    if rows <= 0 or columns <= 0:
        raise no_rows(where, (rows, columns))
    stored = sum(part.nbytes for part in parts)
    check_unpacked(where, prod((rows, columns, values.itemsize)), stored)
    try:
        if form == "coo":
            matrix: Any = scipy.sparse.coo_matrix((values, tuple(indices)), (rows, columns))
        else:
            make = scipy.sparse.csr_matrix if form == "csr" else scipy.sparse.csc_matrix
            matrix = make((values, *indices), (rows, columns))
            matrix.check_format(full_check=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise damaged(where, error) from error
    array: Array = matrix.toarray()
    return array
