"""What a run keeps of its data: all but the rows, from which a data set of blank rows can be made."""

import json
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from typing import Any

import torch

from pyro_vae.data.columns.arguments import Argument
from pyro_vae.data.columns.column import Column, Kind
from pyro_vae.data.data_set import DataSet
from pyro_vae.data.split import Split
from pyro_vae.data.values import Encoding, ValueRange


@dataclass(frozen=True, eq=False, repr=False)
class BlankDataSet(DataSet):
    """Stand for a data set that is not there: each split is a blank row, or one of each class."""


def metadata_of(data: DataSet) -> dict[str, Any]:
    """Return what :func:`blank_data_set` needs, as JSON gives it back."""
    train = data.train
    is_wide = train.location is not None and train.location.dtype == torch.float64
    metadata = {
        "event_shape": list(data.event_shape),
        "values": [*astuple(data.values)],
        "location": None if train.location is None else train.location.double().tolist(),
        "scale": None if train.scale is None else train.scale.double().tolist(),
        "dtype": str(torch.float64 if is_wide else torch.float32),
        "num_classes": data.num_classes,
        "class_names": None if train.class_names is None else list(train.class_names),
        "pixels": data.pixels,
        "arguments": None if train.arguments is None else [asdict(a) for a in train.arguments],
        "columns": None if train.columns is None else [asdict(column) for column in train.columns],
    }
    read: dict[str, Any] = json.loads(json.dumps(metadata))  # tuples are lists there
    return read


def blank_data_set(name: str, metadata: Mapping[str, Any], binarize: str = "none") -> BlankDataSet:
    """Return the data set of that name with blank rows."""
    dtype = torch.float64 if metadata["dtype"] == str(torch.float64) else torch.float32
    location, scale = (
        None if metadata[part] is None else torch.tensor(metadata[part], dtype=dtype)
        for part in ("location", "scale")
    )
    shape = torch.Size(metadata["event_shape"])
    blank = torch.zeros(shape, dtype=dtype) if location is None else location
    rows = metadata["num_classes"] or 1
    split = Split(
        blank.expand(rows, *shape).clone(),
        ValueRange(*metadata["values"]),
        Encoding(location=location, scale=scale),
        None if metadata["num_classes"] is None else torch.arange(rows),
        _as_tuple(metadata["class_names"]),
        _columns(metadata["columns"]),
        arguments=_arguments(metadata["arguments"]),
    )
    return BlankDataSet(name, split, None, split, binarize, pixels=metadata.get("pixels"))


def _as_tuple(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _arguments(arguments: list[dict[str, Any]] | None) -> tuple[Argument, ...] | None:
    if arguments is None:
        return None
    return tuple(Argument(**{**known, "places": tuple(known["places"])}) for known in arguments)


def _columns(columns: list[dict[str, Any]] | None) -> tuple[Column, ...] | None:
    if columns is None:
        return None
    return tuple(
        Column(c["name"], Kind(c["kind"]), _as_tuple(c["categories"]), c["highest"])
        for c in columns
    )
