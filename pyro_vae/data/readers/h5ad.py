"""Annotated matrices, .h5ad files: cells by genes, with names of both -> rows, and labels."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pyro_vae.data.columns.column import Column
from pyro_vae.data.columns.gaps import array_without_codes
from pyro_vae.data.columns.ids import check_names
from pyro_vae.data.columns.kinds import kind_of_all
from pyro_vae.data.readers.arrays import check_bytes, to_labels, to_rows
from pyro_vae.data.readers.containers import Array
from pyro_vae.data.readers.sparse import dense
from pyro_vae.data.reading import Reading
from pyro_vae.data.sources import Part, Source, shuffled
from pyro_vae.errors import InputError, nearest
from pyro_vae.memory import check_unpacked

_NAMES_AT_ONCE = 10_000


def read_h5ad(path: Path, reading: Reading) -> Source:
    """An .h5ad file, as anndata writes it: ``X``, or the layer that ``array`` names, dense or sparse.

    Columns are named as ``var`` says, rows as ``obs`` does; ``label`` is a column of ``obs``.

    :raises InputError: h5py is not installed, the file is damaged or too large, or a name is not there.
    """
    try:
        import h5py
    except ImportError as error:
        raise InputError(".h5ad files need h5py: pip install 'pyro-vae[h5ad]'") from error
    check_bytes(path)
    with h5py.File(path, "r") as file:
        array, remarks = _matrix(path, file, reading)
        names = _index(path, file, "var", array.shape[1])
        ids = _index(path, file, "obs", len(array))
        labels, classes = _labels(path, file, reading, len(array))
    if reading.columns is not None:
        check_names(path, reading.columns, names)
        array = array[:, [names.index(name) for name in reading.columns]]
        names = list(reading.columns)
    if len(set(names)) < len(names):
        raise InputError(
            f"{path} has columns of one name: make them differ (var_names_make_unique)"
        )
    array = array_without_codes(array, reading.codes)
    x = to_rows(array, str(path), reading.takes_gaps, pixels=False)
    kind = kind_of_all(array.T)
    return shuffled(
        Part(x, labels, ids=ids, id_name="id"),
        reading.seed,
        class_names=classes,
        columns=[Column(name, kind) for name in names],
        remarks=remarks,
    )


def _matrix(path: Path, file: Any, reading: Reading) -> tuple[Array, list[str]]:
    """The matrix that is read, and which one if there are others."""
    layers = list(file["layers"]) if "layers" in file else []
    chosen = reading.array or "X"
    if chosen != "X" and chosen not in layers:
        raise InputError(f"{path} has no layer {chosen!r}{nearest(chosen, ['X', *layers])}")
    where = "X" if chosen == "X" else f"layers/{chosen}"
    if where not in file:
        raise InputError(f"{path} has no matrix X{nearest('X', layers)}")
    node, place = file[where], f"{path}[{where}]"
    remarks = []
    if layers and reading.array is None:
        remarks.append(f"X holds the rows (--array: one of the layers {', '.join(layers[:5])})")
    if hasattr(node, "keys"):
        kind = str(node.attrs.get("encoding-type", "")).removesuffix("_matrix")
        shape = node.attrs.get("shape", node.attrs.get("h5sparse_shape"))
        if kind not in ("csr", "csc") or shape is None:
            raise InputError(f"{place} is of a form that is not known; X may be dense, csr or csc")
        parts = [_numbers(f"{place}/{name}", node[name]) for name in ("data", "indices", "indptr")]
        return dense(place, kind, shape, parts[0], parts[1:]), remarks
    array = _numbers(place, node)
    if array.ndim != 2:
        raise InputError(f"{place} has the shape {array.shape}, not of rows and columns")
    return array, remarks


def _numbers(where: str, node: Any) -> Array:
    """An array of numbers, read after what it says of its size."""
    if node.dtype.kind not in "biuf":
        raise InputError(f"{where} holds {node.dtype} values, not numbers")
    check_unpacked(where, prod(node.shape) * node.dtype.itemsize, node.id.get_storage_size())
    array: Array = node[()]
    return array


def _index(path: Path, file: Any, axis: str, size: int) -> list[str]:
    """The names along an axis."""
    if axis not in file or not hasattr(file[axis], "keys"):
        raise InputError(f"{path} has no {axis} of today's form: read and write it with anndata")
    key = str(file[axis].attrs.get("_index", "_index"))
    return _words(f"{path}[{axis}/{key}]", file[axis][key], size)


def _words(where: str, node: Any, size: int) -> list[str]:
    """Words, of which a part is read at a time: each may be long, and all may be the same one."""
    if node.shape != (size,):
        raise InputError(f"{where} has the shape {node.shape}, but {size:,} names are needed")
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
    path: Path, file: Any, reading: Reading, size: int
) -> tuple[Tensor | None, Sequence[str] | None]:
    label, unseen = reading.label, reading.unseen
    if label is None:
        return None, None
    known = [name for name in file["obs"] if not name.startswith("_")]
    if label not in known:
        raise InputError(f"{path} has no column {label!r} in obs{nearest(label, known)}")
    node, where = file["obs"][label], f"{path}[obs/{label}]"
    if not hasattr(node, "keys"):
        if node.dtype.kind in "biuf":
            return to_labels(_numbers(where, node), where, size, unseen)
        return to_labels(np.array(_words(where, node, size)), where, size, unseen)
    if "codes" not in node or "categories" not in node:
        raise InputError(f"{where} is of a form that is not known; labels may be categories")
    codes, categories = _numbers(where, node["codes"]), node["categories"]
    names = _words(where, categories, prod(categories.shape))
    if codes.shape != (size,) or codes.min() < -1 or codes.max() >= len(names):
        raise InputError(f"{where} is damaged: its codes do not fit its categories")
    words = np.array([*names, ""])[codes]  # of -1, which has none, the last
    return to_labels(words, where, size, unseen)
