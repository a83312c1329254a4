"""What drawn rows are to have in some of their columns: words of the user as numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data import Column, Split
from pyro_vae.data.columns.column import Kind
from pyro_vae.errors import InputError, unknown


def known_row(split: Split, where: Mapping[str, Any]) -> Tensor:
    """Return a row as a model sees it, ``| columns``, with NaN in all columns but those of ``where``.

    Args:
        split: rows of a table.
        where: values of columns by name, as the file has them.

    Raises:
        InputError: the rows are no table, a column is unknown, or a value is none of its.
    """
    if split.columns is None or len(split.event_shape) != 1:
        raise InputError(
            "where needs columns with names, and the data are not a table",
            subject="where",
            remedy="leave it out; classes are given by per_class",
        )
    names = [column.name for column in split.columns]
    row = torch.full(split.event_shape, torch.nan, dtype=torch.float64)
    for name, value in where.items():
        if name not in names:
            raise unknown(f"there is no column {name!r}", name, names, subject="where")
        row[names.index(name)] = number_of(split.columns[names.index(name)], value)
    return split.encoding(row.unsqueeze(0)).squeeze(0)


def number_of(column: Column, value: Any) -> float:
    """Return a value of a column as the number that a model sees.

    >>> number_of(Column("job", Kind.CATEGORY, ("clerk", "cook")), "cook")
    1.0

    Raises:
        InputError: the column cannot have it.
    """
    if column.categories is not None:
        if str(value) not in column.categories:
            problem = f"no row has {value!r} in column {column.name!r}"
            raise unknown(problem, str(value), column.categories, subject="where")
        return float(column.categories.index(str(value)))
    try:
        if column.kind in (Kind.DATE, Kind.TIME):
            return float(np.datetime64(value, "s").astype(np.int64) / 86_400)
        number = float(value)
    except ValueError:
        number = np.nan
    if not np.isfinite(number) or (column.num_categories and number not in _grades(column)):
        expected = "a date" if column.kind in (Kind.DATE, Kind.TIME) else "a number"
        if column.num_categories:
            expected = f"a whole number from 0 to {column.num_categories - 1}"
        raise InputError(
            f"column {column.name!r} cannot be {value!r}", subject="where", expected=expected
        )
    return number


def _grades(column: Column) -> range:
    return range(column.num_categories)
