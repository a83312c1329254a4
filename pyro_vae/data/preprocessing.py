"""Rows as a model sees them: in splits, as zeros and ones on request, scaled where they must be."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from pyro_vae.data.binarize import Draw, Threshold, binarized
from pyro_vae.data.columns.arguments import Argument, ColumnsByArgument, find_arguments
from pyro_vae.data.columns.column import Column, Kind
from pyro_vae.data.data_set import DataSet
from pyro_vae.data.readers.source import Source, SourceRows, divide_rows
from pyro_vae.data.rows import Rows, chunks
from pyro_vae.data.split import Split
from pyro_vae.data.values import (
    Encoding,
    ValueRange,
    centred_encoding,
    detect_levels,
    lost_in_float32,
    num_missing,
    standardised_encoding,
    value_range,
)
from pyro_vae.errors import InputError

Binarize = Literal["none", "threshold", "stochastic", "fixed"]


def preprocess(
    name: str,
    source: Source,
    binarize: Binarize,
    standardize: bool | None,
    validation: float | int | None,
    seed: int,
    asked: ColumnsByArgument | None,
) -> DataSet:
    """Return a source's rows in splits, as a model sees them; the options are those of :func:`load`."""
    arguments = None if asked is None else find_arguments(asked, source.columns, name)
    parts = divide_rows(source, validation, seed)
    for part in parts.values():
        check_categories(name, part, source.columns or (), arguments or ())
    stored = {split: part.x for split, part in parts.items()}
    rows, encoding, levels = detect_levels(stored, source.levels, source.columns is not None)
    _check_columns(name, source, rows["train"])
    values = value_range(rows, encoding, levels)
    encodings = dict.fromkeys(rows, encoding)
    if values.levels == 2:
        binarize = "none"  # zeros and ones are already what any rule would make of them
    if binarize != "none":
        _check_binarize(name, binarize, values, rows)
        rows, encodings = _binarize(rows, encoding, binarize, seed)
        values = ValueRange(0.0, 1.0, 2)
    scaled = _which_to_scale(rows["train"], source.columns, standardize)
    if scaled.any():
        scaled_encoding = centred_encoding if standardize is None else standardised_encoding
        encodings = dict.fromkeys(rows, scaled_encoding(rows["train"], encoding, scaled))
        values = value_range(rows, encodings["train"], levels)
    class_names = None if source.class_names is None else tuple(source.class_names)
    columns = None if source.columns is None else _as_scaled(source.columns, scaled)

    def split(which: str) -> Split:
        part, x, encoding = parts[which], rows[which], encodings[which]
        names = (part.places, part.ids, part.id_name)
        factors = (part.factors, source.factor_columns)
        return Split(
            x, values, encoding, part.labels, class_names, columns, *names, arguments, *factors
        )

    validation_rows = split("validation") if "validation" in parts else None
    remarks, pixels = tuple(source.remarks), source.pixels
    return DataSet(name, split("train"), validation_rows, split("test"), binarize, remarks, pixels)


def check_categories(
    name: str, part: SourceRows, columns: Sequence[Column], arguments: Sequence[Argument]
) -> None:
    """Check that no row lacks a category that is an argument."""
    for place in [p for argument in arguments if argument.is_category for p in argument.places]:
        x = part.x[torch.arange(len(part))][:, place]
        if num_missing(x):
            row = int(x.isnan().int().argmax())
            row = row if part.places is None else int(part.places[row])
            raise InputError(
                f"{name} has no value in row {row + 1}, column {columns[place].name!r} "
                f"({num_missing(x):,} such rows)",
                subject=columns[place].name,
                expected="a category, as the column is an argument",
                remedy="leave these rows out",
            )


def _which_to_scale(x: Rows, columns: Sequence[Column] | None, standardize: bool | None) -> Tensor:
    """Return which elements, ``| event``, are centred or standardised: never categories, always times."""
    if standardize is False:
        return torch.zeros(x.shape[1:], dtype=torch.bool)
    which = lost_in_float32(x) if standardize is None else torch.ones(x.shape[1:], dtype=torch.bool)
    if columns is not None:
        which |= torch.tensor([c.kind is Kind.TIME for c in columns])
        which &= torch.tensor([c.is_number and c.kind is not Kind.BINARY for c in columns])
    return which


def _as_scaled(columns: Sequence[Column], scaled: Tensor) -> tuple[Column, ...]:
    """Return the columns once some are scaled, after which these are real numbers."""
    dates = (Kind.DATE, Kind.TIME)
    return tuple(
        replace(column, kind=Kind.REAL, highest=None)
        if is_scaled and column.kind not in dates
        else column
        for column, is_scaled in zip(columns, scaled.tolist(), strict=True)
    )


def _check_columns(name: str, source: Source, x: Rows) -> None:
    """Check that each element of the event has a value in some training row."""
    if not num_missing(x):
        return
    never = torch.stack([chunk.isnan().all(0) for chunk in chunks(x)]).all(0)
    if never.any():
        index = tuple(never.nonzero()[0].tolist())
        column = source.columns[index[0]].name if source.columns else None
        where = f"at index {index}" if column is None else f"in column {column!r}"
        raise InputError(
            f"no training row of {name} has a value {where} ({int(never.sum()):,} such in all)",
            subject=name if column is None else column,
            remedy="leave it out, as nothing can be learnt of it",
        )


def _check_binarize(
    name: str, binarize: Binarize, values: ValueRange, rows: dict[str, Rows]
) -> None:
    if not values.in_unit_interval:
        problem, expected = f"has {values}", "values in [0, 1]"
    elif any(map(num_missing, rows.values())):
        problem, expected = "has missing values", "all values"
    else:
        return
    raise InputError(
        f"binarize={binarize!r} does not fit {name}, which {problem}",
        subject="binarize",
        expected=expected,
    )


def _binarize(
    rows: dict[str, Rows], encoding: Encoding, how: Binarize, seed: int
) -> tuple[dict[str, Rows], dict[str, Encoding]]:
    encodings = dict.fromkeys(rows, Encoding())
    fixed = dict(rows)
    for split, x in rows.items():
        if how == "stochastic" and split == "train":
            encodings[split] = Encoding(encoding.unit, stochastic=True)
        else:
            rule = Threshold() if how == "threshold" else Draw(seed, split)
            fixed[split] = binarized(x, encoding, rule)
    return fixed, encodings
