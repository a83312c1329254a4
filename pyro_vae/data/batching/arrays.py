"""Arrays and tables of other libraries as tensors."""

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.errors import InputError, unknown
from pyro_vae.program.contract import Signature


def as_tensors(data: Any, columns: Signature | int | None) -> Any:
    """Return NumPy arrays, a tuple of them, or a DataFrame as tensors, and everything else as it is.

    Floating numbers get torch's default dtype, integers stay. Of a DataFrame, each argument of the model
    takes the column of its name; a model with one argument, of another name, takes all columns as a matrix.

    Raises:
        InputError: an array holds no numbers, or an argument has no column.
    """
    if _is_table(data):
        return _of_table(data, columns)
    if isinstance(data, np.ndarray):
        return _tensor("data", data)
    if isinstance(data, tuple) and any(isinstance(part, np.ndarray) for part in data):
        return tuple(
            _tensor(f"array {number} of the data", part) if isinstance(part, np.ndarray) else part
            for number, part in enumerate(data)
        )
    return data


def _is_table(data: Any) -> bool:
    pandas = sys.modules.get("pandas")  # who has a DataFrame has imported it
    return pandas is not None and isinstance(data, pandas.DataFrame)


def _of_table(table: Any, columns: Signature | int | None) -> Any:
    names = columns.model if isinstance(columns, Signature) else None
    needed = columns.needed if isinstance(columns, Signature) else frozenset[str]()
    there = [str(name) for name in table.columns]
    if names is None or (len(needed) <= 1 and not set(names) & set(there)):
        matrix = torch.stack([_column(table, name) for name in table.columns], -1)
        return matrix.to(torch.get_default_dtype())
    for name in names:
        if name in needed and name not in there:
            raise unknown(
                f"the model takes {name!r}, and the table has no such column",
                name,
                there,
                subject=name,
            )
    taken = [name for name in names if name in there]
    if taken != list(
        names[: len(taken)]
    ):  # an optional argument is missing before one that is there
        missing = next(name for name in names if name not in there)
        raise InputError(
            f"the model's argument {missing!r} comes before {taken[-1]!r}, and has no column",
            subject=missing,
            remedy="give the table this column, or the model another order of arguments",
        )
    return tuple(_column(table, name) for name in taken)


def _column(table: Any, name: Any) -> Tensor:
    return _tensor(f"column {str(name)!r}", table[name].to_numpy())


def _tensor(what: str, array: np.ndarray) -> Tensor:
    if array.dtype == object or array.dtype.kind not in "biuf":
        raise InputError(
            f"{what} holds {array.dtype.name} values",
            subject="data",
            expected="numbers",
            remedy='code them as numbers, by table["name"].astype("category").cat.codes, say',
        )
    if array.dtype.kind == "f":
        return torch.as_tensor(array.astype(np.float64)).to(torch.get_default_dtype())
    if array.dtype.kind == "b":
        return torch.as_tensor(array.copy())
    return torch.as_tensor(array.astype(np.int64))
