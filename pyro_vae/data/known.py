"""Data sets without their rows: what a fitted model needs to know of the data, and new rows alike."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyro_vae.data.arguments import Argument
from pyro_vae.data.binarize import Draw, Threshold, binarized
from pyro_vae.data.columns.column import Column, Kind
from pyro_vae.data.finding import options_of, source_of
from pyro_vae.data.reading import Reading
from pyro_vae.data.rows import chosen, chunks, read_all
from pyro_vae.data.sets import DataSet
from pyro_vae.data.sources import Part, Source
from pyro_vae.data.split import Split
from pyro_vae.data.treatment import Binarize, check_categories
from pyro_vae.data.values import Encoding, ValueRange
from pyro_vae.errors import InputError, nearest


@dataclass(frozen=True, eq=False)
class Remembered(DataSet):
    """A data set that is not there: every split is a blank row, or one of each class."""


def facts_of(data: DataSet) -> dict[str, Any]:
    """What :func:`remembered` needs, as JSON gives it back."""
    train = data.train
    facts = {
        "event_shape": list(data.event_shape),
        "values": [*astuple(data.values)],
        "location": None if train.location is None else train.location.double().tolist(),
        "scale": None if train.scale is None else train.scale.double().tolist(),
        "dtype": str(torch.float64 if _is_wide(train.encoding) else torch.float32),
        "num_classes": data.num_classes,
        "class_names": None if train.class_names is None else list(train.class_names),
        "pixels": data.pixels,
        "arguments": None if train.arguments is None else [asdict(a) for a in train.arguments],
        "columns": None if train.columns is None else [asdict(column) for column in train.columns],
    }
    read: dict[str, Any] = json.loads(json.dumps(facts))  # tuples are lists there
    return read


def _is_wide(encoding: Encoding) -> bool:
    return encoding.location is not None and encoding.location.dtype == torch.float64


def remembered(name: str, facts: Mapping[str, Any], binarize: str = "none") -> Remembered:
    """The data set of that name by its facts alone."""
    dtype = torch.float64 if facts["dtype"] == str(torch.float64) else torch.float32
    location, scale = (
        None if facts[part] is None else torch.tensor(facts[part], dtype=dtype)
        for part in ("location", "scale")
    )
    shape = torch.Size(facts["event_shape"])
    blank = torch.zeros(shape, dtype=dtype) if location is None else location
    rows = facts["num_classes"] or 1
    split = Split(
        blank.expand(rows, *shape).clone(),
        ValueRange(*facts["values"]),
        Encoding(location=location, scale=scale),
        None if facts["num_classes"] is None else torch.arange(rows),
        _names(facts["class_names"]),
        _columns_of(facts["columns"]),
        arguments=_arguments_of(facts["arguments"]),
    )
    return Remembered(name, split, None, split, binarize, pixels=facts.get("pixels"))


def _names(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _arguments_of(arguments: list[dict[str, Any]] | None) -> tuple[Argument, ...] | None:
    if arguments is None:
        return None
    return tuple(Argument(**{**known, "places": tuple(known["places"])}) for known in arguments)


def _columns_of(columns: list[dict[str, Any]] | None) -> tuple[Column, ...] | None:
    if columns is None:
        return None
    return tuple(
        Column(
            column["name"], Kind(column["kind"]), _names(column["categories"]), column["highest"]
        )
        for column in columns
    )


def new_rows(
    name: str,
    known: DataSet,
    reading: Reading,
    *,
    labels_wanted: bool = False,
    root: Path | str | None = None,
    binarize: Binarize = "none",
) -> Split:
    """All rows of other data, in their order, treated as those of a known set were.

    Columns of a table are found by their names, classes by theirs.

    :param reading: how they are read; of its label there may be none unless ``labels_wanted``.
    :raises InputError: they are of another shape, lack a column, or have values or classes of another kind.
    """
    reading = _as_known(name, reading, known)
    try:
        source = source_of(name, reading, root=root)
    except InputError:
        if reading.label is None or labels_wanted:
            raise
        source = source_of(name, replace(reading, label=None), root=root)
    x, labels, ids = _in_order(source)
    if source.columns is not None and known.train.columns is not None:
        x = _columns(name, x, source.columns, known.train.columns)
    if x.shape[1:] != known.event_shape:
        raise InputError(
            f"the rows of {name} are of shape {tuple(x.shape[1:])}, and those that the run was fitted to "
            f"of {tuple(known.event_shape)}"
        )
    unit = 1.0 if reading.pixels is False else _unit(x, source.levels, known.values)
    encoding = Encoding(unit=unit)
    _check_values(name, x, encoding, known.values, binarize)
    train = known.train
    split = Split(
        x,
        known.values,
        replace(encoding, location=train.location, scale=train.scale),
        None if labels is None else _labels(name, labels, source.class_names, known),
        train.class_names,
        train.columns,
        ids=ids,
        id_name=source.pool.id_name,
        arguments=train.arguments,
    )
    check_categories(name, Part(x), train.columns or (), train.arguments or ())
    if binarize != "none":
        rule = Threshold() if binarize == "threshold" else Draw(reading.seed, "test")
        return replace(split, x=binarized(x, encoding, rule), encoding=Encoding())
    return split


def _as_known(name: str, reading: Reading, known: DataSet) -> Reading:
    """How a file is read, where what is known of the data leaves nothing to guess."""
    options = options_of(name)
    if "columns" in options and reading.columns is None:
        reading = replace(reading, columns=known.train.column_names)
    if "kinds" in options:
        reading = replace(reading, kinds=_kinds_that_code(known.train.columns or ()))
    if Path(name).expanduser().is_dir() and reading.image_size is None:
        reading = replace(reading, image_size=_side(known.event_shape))
    if "pixels" in options and reading.pixels is None:
        # of a set on known levels that came from no pixels, others of the same may do
        decided = known.pixels or known.values.levels is None
        reading = replace(reading, pixels=known.pixels if decided else None)
    return reading


def _in_order(source: Source) -> tuple[Tensor, Tensor | None, Sequence[str] | None]:
    """The rows, their labels and their names, of pool and test as they stand in their file."""
    parts = [part for part in (source.pool, source.test) if len(part)]
    labels = [part.labels for part in parts if part.labels is not None]
    together = torch.cat(labels) if len(labels) == len(parts) else None
    places = [part.places for part in parts]
    x = torch.cat([read_all(part.x) for part in parts])
    numbered = [place for place in places if place is not None]
    if len(numbered) < len(parts):  # each part is in order
        return x, together, None
    order = torch.cat(numbered).argsort()
    ids = [name for part in parts for name in part.ids or ()]
    return (
        x[order],
        None if together is None else together[order],
        chosen(ids, order) if ids else None,
    )


def _side(shape: Sequence[int]) -> int | None:
    """Height and width of square images."""
    return shape[-1] if len(shape) == 3 and shape[-1] == shape[-2] else None


def _kinds_that_code(columns: Sequence[Column]) -> dict[str, Kind]:
    """The kinds without which cells would be other numbers, or none, in other rows."""
    dates = {c.name: c.kind for c in columns if c.kind in (Kind.DATE, Kind.TIME)}
    return dates | {c.name: Kind.CATEGORY for c in columns if c.categories is not None}


def _columns(name: str, x: Tensor, columns: Sequence[Column], known: Sequence[Column]) -> Tensor:
    """The columns of a table that the known one has, in its order, their words by its numbers."""
    names = [column.name for column in columns]
    found = []
    for column in known:
        if column.name not in names:
            raise InputError(f"{name} has no column {column.name!r}{nearest(column.name, names)}")
        place = names.index(column.name)
        found.append(_by_known_names(name, x[:, place], columns[place], column))
    return torch.stack(found, 1)


def _by_known_names(name: str, x: Tensor, column: Column, known: Column) -> Tensor:
    """A column whose words have the numbers that they have in the known one."""
    if known.categories is None and column.categories is None:
        return x
    numbers = {word: float(number) for number, word in enumerate(known.categories or ())}
    seen = x[~x.isnan()]
    words = list(column.categories or map(str, range(int(seen.max()) + 1 if len(seen) else 0)))
    for word in (words[int(number)] for number in seen.unique()):
        if word not in numbers:
            what = f"only {', '.join(numbers)}" if numbers else "only numbers"
            raise InputError(
                f"{name} has {word!r} in column {column.name!r}, where the data that the run was fitted to "
                f"have {what}"
            )
    table = torch.tensor([numbers.get(word, torch.nan) for word in words], dtype=x.dtype)
    return torch.where(x.isnan(), x, table[x.nan_to_num().long()] if len(table) else x)


def _unit(x: Tensor, levels: int | None, values: ValueRange) -> float:
    """What one is, as stored."""
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
        seen = encoding(chunk)
        seen = seen[~seen.isnan()]
        fits = (seen >= 0) & (seen <= 1)
        if values.levels == 2 and binarize == "none":
            fits = (seen == 0) | (seen == 1)
        if not fits.all():
            raise InputError(
                f"{name} holds {float(seen[~fits][0]):.6g}, and the data that the run was fitted to are "
                f"{values}"
            )


def _labels(name: str, labels: Tensor, names: Any, known: DataSet) -> Tensor:
    """Labels by the numbers that the classes have in the known set."""
    own = known.train.class_names or tuple(map(str, range(known.num_classes or 0)))
    found = list(names) if names is not None else list(map(str, range(int(labels.max()) + 1)))
    numbers = {-1: -1}
    for number in labels.unique().tolist():
        if number >= 0:
            if found[number] not in own:
                raise InputError(
                    f"{name} has a class {found[number]!r}{nearest(found[number], own)}"
                )
            numbers[number] = own.index(found[number])
    return torch.tensor([numbers[number] for number in labels.tolist()])
