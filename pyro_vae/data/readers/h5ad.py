"""Annotated matrices, .h5ad files: cells by genes, with names of both -> rows, and labels."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pyro_vae.data.columns.column import Column
from pyro_vae.data.columns.kinds import kind_of_all
from pyro_vae.data.columns.missing import mask_na_values_of_array
from pyro_vae.data.readers.arrays import check_not_empty, to_labels, to_rows
from pyro_vae.data.readers.containers import Array
from pyro_vae.data.readers.options import ReadOptions
from pyro_vae.data.readers.row_names import check_names
from pyro_vae.data.readers.source import Source, SourceRows, shuffled_source
from pyro_vae.data.readers.sparse import dense
from pyro_vae.data.refusals import damaged, no_column, not_numbers
from pyro_vae.errors import InputError, unknown
from pyro_vae.memory import check_unpacked

_NAMES_AT_ONCE = 10_000


def read_h5ad(path: Path, options: ReadOptions) -> Source:
    """Read an .h5ad file, as anndata writes it: ``X``, or the layer that ``array`` names, dense or sparse.

    ``var`` has the columns' names, ``obs`` the rows' names and, as a column, the labels.

    Raises:
        InputError: h5py is not installed, the file is damaged or too large, or it lacks a name.
    """
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            ".h5ad files need h5py",
            subject="h5py",
            remedy="install it: pip install 'pyro-vae[h5ad]'",
        ) from error
    check_not_empty(path)
    with h5py.File(path, "r") as file:
        array, remarks = _matrix(path, file, options)
        names = _index(path, file, "var", array.shape[1])
        ids = _index(path, file, "obs", len(array))
        labels, classes = _labels(path, file, options, len(array))
    if options.columns is not None:
        check_names(path, options.columns, names)
        array = array[:, [names.index(name) for name in options.columns]]
        names = list(options.columns)
    if len(set(names)) < len(names):
        raise InputError(
            f"{path} has columns of one name",
            subject=str(path),
            remedy="call var_names_make_unique() and save it",
        )
    array = mask_na_values_of_array(array, options.na_values)
    x = to_rows(array, str(path), options.allows_missing, pixels=False)
    kind = kind_of_all(array.T)
    return shuffled_source(
        SourceRows(x, labels, ids=ids, id_name="id"),
        options.seed,
        class_names=classes,
        columns=[Column(name, kind) for name in names],
        remarks=remarks,
    )


def _matrix(path: Path, file: Any, options: ReadOptions) -> tuple[Array, list[str]]:
    """Return the matrix that the user names, or X with a remark if there are others."""
    layers = list(file["layers"]) if "layers" in file else []
    chosen = options.array or "X"
    if chosen != "X" and chosen not in layers:
        raise unknown(f"{path} has no layer {chosen!r}", chosen, ["X", *layers])
    where = "X" if chosen == "X" else f"layers/{chosen}"
    if where not in file:
        raise InputError(
            f"{path} has no matrix X",
            subject=str(path),
            remedy=f"name one of {', '.join(layers[:5])} by --array" if layers else None,
        )
    node, place = file[where], f"{path}[{where}]"
    remarks = []
    if layers and options.array is None:
        remarks.append(f"X holds the rows (--array: one of the layers {', '.join(layers[:5])})")
    if hasattr(node, "keys"):
        form = str(node.attrs.get("encoding-type", "")).removesuffix("_matrix")
        shape = node.attrs.get("shape", node.attrs.get("h5sparse_shape"))
        if form not in ("csr", "csc") or shape is None:
            raise InputError(
                f"{place} has the unknown form {form!r}",
                subject=place,
                expected="a dense matrix, csr or csc",
            )
        parts = [_numbers(f"{place}/{name}", node[name]) for name in ("data", "indices", "indptr")]
        return dense(place, form, shape, parts[0], parts[1:]), remarks
    array = _numbers(place, node)
    if array.ndim != 2:
        raise InputError(
            f"{place} has the shape {array.shape}", subject=place, expected="rows and columns"
        )
    return array, remarks


def _numbers(where: str, node: Any) -> Array:
    """Return an array of numbers, once its size is checked."""
    if node.dtype.kind not in "biuf":
        raise not_numbers(where, node.dtype)
    check_unpacked(where, prod(node.shape) * node.dtype.itemsize, node.id.get_storage_size())
    array: Array = node[()]
    return array


def _index(path: Path, file: Any, axis: str, size: int) -> list[str]:
    """Return the names along an axis."""
    if axis not in file or not hasattr(file[axis], "keys"):
        raise InputError(
            f"{path} has no {axis} of the present form",
            subject=str(path),
            remedy="read and write it with anndata",
        )
    key = str(file[axis].attrs.get("_index", "_index"))
    return _words(f"{path}[{axis}/{key}]", file[axis][key], size)


def _words(where: str, node: Any, size: int) -> list[str]:
    """Return words, read a part at a time: each may be long, and all may share one copy in the file."""
    if node.shape != (size,):
        raise InputError(
            f"{where} has the shape {node.shape}", subject=where, expected=f"{size:,} names"
        )
    if node.dtype.kind in "iuf":
        return [str(value) for value in _numbers(where, node)]
    words: list[str] = []
    letters, stored = 0, node.id.get_storage_size()
    for start in range(0, size, _NAMES_AT_ONCE):
        some = node[start : start + _NAMES_AT_ONCE]
        words += [w.decode("utf-8", "replace") if isinstance(w, bytes) else str(w) for w in some]
        letters += sum(map(len, words[start:]))
        check_unpacked(where, 8 * letters, stored)
    return words


def _labels(
    path: Path, file: Any, options: ReadOptions, size: int
) -> tuple[Tensor | None, Sequence[str] | None]:
    label, unseen = options.label, options.unseen
    if label is None:
        return None, None
    known = [name for name in file["obs"] if not name.startswith("_")]
    if label not in known:
        raise no_column(f"{path}[obs]", label, known)
    node, where = file["obs"][label], f"{path}[obs/{label}]"
    if not hasattr(node, "keys"):
        if node.dtype.kind in "biuf":
            return to_labels(_numbers(where, node), where, size, unseen)
        return to_labels(np.array(_words(where, node, size)), where, size, unseen)
    if "codes" not in node or "categories" not in node:
        raise InputError(
            f"{where} has an unknown form", subject=where, expected="numbers, words or categories"
        )
    codes, categories = _numbers(where, node["codes"]), node["categories"]
    names = _words(where, categories, prod(categories.shape))
    if codes.shape != (size,) or codes.min() < -1 or codes.max() >= len(names):
        raise damaged(where, "its codes do not fit its categories")
    words = np.array([*names, ""])[codes]  # -1, which has no category, takes the last
    return to_labels(words, where, size, unseen)
