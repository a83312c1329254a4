"""Rows of other data, which become what a model sees in the way that a known set's rows did."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from pyro_vae.data.binarize import Draw, Threshold, binarized
from pyro_vae.data.columns.column import Column, Kind
from pyro_vae.data.data_set import DataSet
from pyro_vae.data.preprocessing import Binarize, check_categories
from pyro_vae.data.readers.find import options_for, read_source
from pyro_vae.data.readers.options import ReadOptions
from pyro_vae.data.readers.source import Source, SourceRows
from pyro_vae.data.refusals import no_column
from pyro_vae.data.rows import chunks, read_all, select_names
from pyro_vae.data.split import Split
from pyro_vae.data.values import Encoding, ValueRange
from pyro_vae.errors import InputError, unknown


def new_rows(
    name: str,
    known: DataSet,
    options: ReadOptions,
    *,
    labels_wanted: bool = False,
    root: Path | str | None = None,
    binarize: Binarize = "none",
) -> Split:
    """Return all rows of other data, in their order, preprocessed as those of a known set were.

    Columns, categories and classes are found by their names.

    Args:
        name: of the data set, file or folder.
        known: the set that the run was fitted to.
        options: how the rows are read.
        labels_wanted: refuse data without the label that ``options`` name.
        root: the folder of the named data sets.
        binarize: the run's rule.

    Raises:
        InputError: they have another shape, lack a column, or have values or classes of another kind.
    """
    options = _without_guesses(name, options, known)
    try:
        source = read_source(name, options, root=root)
    except InputError:
        if options.label is None or labels_wanted:
            raise
        source = read_source(name, replace(options, label=None), root=root)
    x, labels, ids = _in_file_order(source)
    if source.columns is not None and known.train.columns is not None:
        x = _match_columns(name, x, source.columns, known.train.columns)
    if x.shape[1:] != known.event_shape:
        raise InputError(
            f"the rows of {name} have the shape {tuple(x.shape[1:])}",
            subject=name,
            expected=f"{tuple(known.event_shape)}, as the run was fitted to",
        )
    unit = 1.0 if options.pixels is False else _unit(x, source.levels, known.values)
    encoding = Encoding(unit=unit)
    _check_values(name, x, encoding, known.values, binarize)
    train = known.train
    split = Split(
        x,
        known.values,
        replace(encoding, location=train.location, scale=train.scale),
        None if labels is None else _match_labels(name, labels, source.class_names, known),
        train.class_names,
        train.columns,
        ids=ids,
        id_name=source.pool.id_name,
        arguments=train.arguments,
    )
    check_categories(name, SourceRows(x), train.columns or (), train.arguments or ())
    if binarize != "none":
        rule = Threshold() if binarize == "threshold" else Draw(options.seed, "test")
        return replace(split, x=binarized(x, encoding, rule), encoding=Encoding())
    return split


def _without_guesses(name: str, options: ReadOptions, known: DataSet) -> ReadOptions:
    """Return the options with what the known data decide."""
    applicable = options_for(name)
    if "columns" in applicable and options.columns is None:
        options = replace(options, columns=known.train.column_names)
    if "kinds" in applicable:
        options = replace(options, kinds=_kinds_of_codes(known.train.columns or ()))
    if Path(name).expanduser().is_dir() and options.image_size is None:
        options = replace(options, image_size=_side(known.event_shape))
    if "pixels" in applicable and options.pixels is None:
        # a set whose levels do not come from pixels lets the new values decide
        decides = known.pixels or known.values.levels is None
        options = replace(options, pixels=known.pixels if decides else None)
    return options


def _in_file_order(source: Source) -> tuple[Tensor, Tensor | None, Sequence[str] | None]:
    """Return the rows, their labels and their names, of pool and test together."""
    parts = [part for part in (source.pool, source.test) if len(part)]
    labels = [part.labels for part in parts if part.labels is not None]
    all_labels = torch.cat(labels) if len(labels) == len(parts) else None
    x = torch.cat([read_all(part.x) for part in parts])
    places = [part.places for part in parts if part.places is not None]
    if len(places) < len(parts):  # each part is in order
        return x, all_labels, None
    order = torch.cat(places).argsort()
    ids = [name for part in parts for name in part.ids or ()]
    return (
        x[order],
        None if all_labels is None else all_labels[order],
        select_names(ids, order) if ids else None,
    )


def _side(shape: Sequence[int]) -> int | None:
    """Return height and width of square images."""
    return shape[-1] if len(shape) == 3 and shape[-1] == shape[-2] else None


def _kinds_of_codes(columns: Sequence[Column]) -> dict[str, Kind]:
    """Return the kinds without which the cells of other rows could become other numbers."""
    dates = {c.name: c.kind for c in columns if c.kind in (Kind.DATE, Kind.TIME)}
    return dates | {c.name: Kind.CATEGORY for c in columns if c.categories is not None}


def _match_columns(
    name: str, x: Tensor, columns: Sequence[Column], known: Sequence[Column]
) -> Tensor:
    """Return the columns that the known table has, in its order, with its codes for categories."""
    names = [column.name for column in columns]
    matched = []
    for column in known:
        if column.name not in names:
            raise no_column(name, column.name, names)
        place = names.index(column.name)
        matched.append(_match_categories(name, x[:, place], columns[place], column))
    return torch.stack(matched, 1)


def _match_categories(name: str, x: Tensor, column: Column, known: Column) -> Tensor:
    """Return a column with the known column's codes for its categories."""
    if known.categories is None and column.categories is None:
        return x
    codes = {category: float(code) for code, category in enumerate(known.categories or ())}
    present = x[~x.isnan()]
    count = int(present.max()) + 1 if len(present) else 0
    categories = list(column.categories or map(str, range(count)))
    for category in (categories[int(code)] for code in present.unique()):
        if category not in codes:
            problem = f"{name} has {category!r} in column {column.name!r}"
            if codes:
                raise unknown(problem, category, codes, subject=column.name)
            raise InputError(problem, subject=column.name, expected="numbers, as the run has")
    table = torch.tensor([codes.get(word, torch.nan) for word in categories], dtype=x.dtype)
    return torch.where(x.isnan(), x, table[x.nan_to_num().long()] if len(table) else x)


def _unit(x: Tensor, levels: int | None, values: ValueRange) -> float:
    """Return the stored value of 1."""
    if levels is not None:
        return levels - 1.0
    if x.dtype != torch.uint8:
        return 1.0
    only_bits = values.levels == 2 and all(int(chunk.max()) <= 1 for chunk in chunks(x))
    return 1.0 if only_bits else 255.0


def _check_values(
    name: str, x: Tensor, encoding: Encoding, values: ValueRange, binarize: str
) -> None:
    if values.levels is None:
        return
    for chunk in chunks(x):
        encoded = encoding(chunk)
        encoded = encoded[~encoded.isnan()]
        fits = (encoded >= 0) & (encoded <= 1)
        if values.levels == 2 and binarize == "none":
            fits = (encoded == 0) | (encoded == 1)
        if not fits.all():
            raise InputError(
                f"{name} holds {float(encoded[~fits][0]):.6g}",
                subject=name,
                expected=f"values as the run was fitted to ({values})",
            )


def _match_labels(
    name: str, labels: Tensor, class_names: Sequence[str] | None, known: DataSet
) -> Tensor:
    """Return labels with the numbers that the classes have in the known set."""
    known_names = known.train.class_names or tuple(map(str, range(known.num_classes or 0)))
    names = list(map(str, range(int(labels.max()) + 1))) if class_names is None else class_names
    numbers = {-1: -1}
    for number in labels.unique().tolist():
        if number >= 0:
            if names[number] not in known_names:
                raise unknown(f"{name} has a class {names[number]!r}", names[number], known_names)
            numbers[number] = known_names.index(names[number])
    return torch.tensor([numbers[number] for number in labels.tolist()])
