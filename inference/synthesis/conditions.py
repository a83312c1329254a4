"""What drawn rows are to have in some of their columns: words of the user as numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data import Column, Split
from pyro_vae.data.columns.column import Kind
from pyro_vae.errors import InputError, unknown


def given_numbers(split: Split, where: Mapping[str, Any]) -> dict[int, float]:
    """Return values of columns as numbers in the units of the file, by the place of the column.

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
    for name in where:
        if name not in names:
            raise unknown(f"there is no column {name!r}", name, names, subject="where")
    places = {names.index(name): value for name, value in where.items()}
    return {place: number_of(split.columns[place], value) for place, value in places.items()}


def known_row(split: Split, given: Mapping[int, float]) -> Tensor:
    """Return a row as a model sees it, ``| columns``, with NaN in all columns but the given ones."""
    row = torch.full(split.event_shape, torch.nan, dtype=torch.float64)
    for place, number in given.items():
        row[place] = number
    return split.encoding(row.unsqueeze(0)).squeeze(0)


def check_in_range(split: Split, given: Mapping[int, float]) -> None:
    """Check that numbers lie where those of some rows do: elsewhere a model has learnt nothing.

    Raises:
        InputError: one does not.
    """
    columns = split.columns or ()
    known = split.to_original(split.read(torch.arange(len(split)))).double()
    for place, number in given.items():
        column, values = columns[place], known[:, place]
        if column.categories is not None:
            continue
        values = values[~values.isnan()]
        slack = 1e-6 * float(values.abs().max()) if len(values) else 0.0
        if len(values) and not values.min() - slack <= number <= values.max() + slack:
            low, high = (
                next(iter(column.decode(end.reshape(1).numpy()))) for end in values.aminmax()
            )
            raise InputError(
                f"column {column.name!r} cannot be {number:g}, as no training row comes near",
                subject="where",
                expected=f"a value from {low} to {high}",
            )


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
    except (TypeError, ValueError):
        number = np.nan
    is_whole = column.kind is not Kind.COUNT or number == np.floor(number)
    if not (np.isfinite(number) and is_whole) or (
        column.num_categories and number not in _grades(column)
    ):
        expected = "a date" if column.kind in (Kind.DATE, Kind.TIME) else "a number"
        if column.kind is Kind.COUNT:
            expected = "a whole number"
        if column.num_categories:
            expected = f"a whole number from 0 to {column.num_categories - 1}"
        raise InputError(
            f"column {column.name!r} cannot be {value!r}", subject="where", expected=expected
        )
    return number


def _grades(column: Column) -> range:
    return range(column.num_categories)
