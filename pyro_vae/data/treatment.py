"""Rows as a model is to see them: in splits, as zeros and ones if asked, scaled where they must be."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from pyro_vae.data.arguments import Argument, Asked, arguments_of
from pyro_vae.data.binarize import Draw, Threshold, binarized
from pyro_vae.data.columns.column import Column, Kind
from pyro_vae.data.rows import Rows, chunks
from pyro_vae.data.sets import DataSet
from pyro_vae.data.sources import Part, Source, divide
from pyro_vae.data.split import Split
from pyro_vae.data.values import (
    Encoding,
    ValueRange,
    centred,
    lost_in_float32,
    num_missing,
    recognise,
    standardised,
    value_range,
)
from pyro_vae.errors import InputError

Binarize = Literal["none", "threshold", "stochastic", "fixed"]


def treated(
    name: str,
    source: Source,
    binarize: Binarize,
    standardize: bool | None,
    validation: float | int | None,
    seed: int,
    asked: Asked | None,
) -> DataSet:
    """The source's rows in splits, as a model is to see them."""
    arguments = None if asked is None else arguments_of(asked, source.columns, name)
    parts = divide(source, validation, seed)
    for part in parts.values():
        check_categories(name, part, source.columns or (), arguments or ())
    stored = {name: part.x for name, part in parts.items()}
    rows, encoding, levels = recognise(stored, source.levels, source.columns is not None)
    _check_columns(name, source, rows["train"])
    values = value_range(rows, encoding, levels)
    encodings = dict.fromkeys(rows, encoding)
    if values.levels == 2:
        binarize = "none"  # zeros and ones are already what any rule would make of them
    if binarize != "none":
        if not values.in_unit_interval:
            raise InputError(f"binarize={binarize!r} needs values in [0, 1]; {name} has {values}")
        if any(map(num_missing, rows.values())):
            raise InputError(f"binarize={binarize!r} needs all values, and {name} has missing ones")
        rows, encodings = _binarize(rows, encoding, binarize, seed)
        values = ValueRange(0.0, 1.0, 2)
    scaled = _to_be_scaled(rows["train"], source.columns, standardize)
    if scaled.any():
        brought = centred if standardize is None else standardised
        encodings = dict.fromkeys(rows, brought(rows["train"], encoding, scaled))
        values = value_range(rows, encodings["train"], levels)
    class_names = None if source.class_names is None else tuple(source.class_names)
    columns = None if source.columns is None else _as_scaled(source.columns, scaled)
    splits = {
        split: Split(
            rows[split],
            values,
            encodings[split],
            part.labels,
            class_names,
            columns,
            part.places,
            part.ids,
            part.id_name,
            arguments,
        )
        for split, part in parts.items()
    }
    train, held_out, test = splits["train"], splits.get("validation"), splits["test"]
    return DataSet(name, train, held_out, test, binarize, tuple(source.remarks), source.pixels)


def check_categories(
    name: str, part: Part, columns: Sequence[Column], arguments: Sequence[Argument]
) -> None:
    """:raises InputError: a category that is an argument is missing from a row."""
    for place in [p for argument in arguments if argument.is_category for p in argument.places]:
        x = part.x[torch.arange(len(part))][:, place]
        if num_missing(x):
            row = int(x.isnan().int().argmax())
            row = row if part.places is None else int(part.places[row])
            raise InputError(
                f"{name} has no value in row {row + 1}, column {columns[place].name!r} ({num_missing(x):,} "
                "such rows), and a category that is an argument must be one of its levels: leave these "
                "rows out"
            )


def _to_be_scaled(x: Rows, columns: Sequence[Column] | None, standardize: bool | None) -> Tensor:
    """Which elements of the event are centred or standardised: never names by number, times always."""
    if standardize is False:
        return torch.zeros(x.shape[1:], dtype=torch.bool)
    which = lost_in_float32(x) if standardize is None else torch.ones(x.shape[1:], dtype=torch.bool)
    if columns is not None:
        which |= torch.tensor([c.kind is Kind.TIME for c in columns])
        which &= torch.tensor([c.is_number and c.kind is not Kind.BINARY for c in columns])
    return which


def _as_scaled(columns: Sequence[Column], scaled: Tensor) -> tuple[Column, ...]:
    """What columns hold once some are scaled: these are counts no more."""
    dates = (Kind.DATE, Kind.TIME)
    return tuple(
        replace(column, kind=Kind.REAL, highest=None)
        if is_scaled and column.kind not in dates
        else column
        for column, is_scaled in zip(columns, scaled.tolist(), strict=True)
    )


def _check_columns(name: str, source: Source, x: Rows) -> None:
    """:raises InputError: an element of the event is missing from all training rows."""
    if not num_missing(x):
        return
    never = torch.stack([chunk.isnan().all(0) for chunk in chunks(x)]).all(0)
    if never.any():
        index = tuple(never.nonzero()[0].tolist())
        columns = source.columns
        where = f"in column {columns[index[0]].name!r}" if columns else f"at index {index}"
        raise InputError(
            f"no training row of {name} has a value {where} ({int(never.sum()):,} such in all), so "
            "that nothing can be learnt of it: leave it out"
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
