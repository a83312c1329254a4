"""What a data set holds, in the order of its file."""

from typing import Any

import torch
from torch import Tensor

from pyro_vae.data import DataSet
from pyro_vae.data.rows import read_all


def order(data: DataSet) -> Tensor:
    """Where the rows of the file are in the splits, one after another."""
    places = [split.places for split in data.splits.values() if split.places is not None]
    return torch.cat(places).argsort()


def rows(data: DataSet) -> Any:
    """All rows as stored."""
    return torch.cat([read_all(split.x) for split in data.splits.values()])[order(data)].numpy()


def seen(data: DataSet) -> Any:
    """All rows as a model sees them."""
    return torch.cat([split.read() for split in data.splits.values()])[order(data)].numpy()


def labels(data: DataSet) -> list[int]:
    found = [split.labels for split in data.splits.values() if split.labels is not None]
    return torch.cat(found)[order(data)].tolist()


def ids(data: DataSet) -> list[str] | None:
    """The names of all rows."""
    found = [name for split in data.splits.values() for name in split.ids or ()]
    return [found[place] for place in order(data).tolist()] if found else None
