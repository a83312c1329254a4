"""Rows of a run's data by their numbers in the file."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pyro_vae.cli.output.files import file_rows
from pyro_vae.cli.run.trained import TrainedModel
from pyro_vae.data import Encoding, Split
from pyro_vae.errors import InputError

MORE = "pyro-vae latents lists them"


def find_rows(
    trained: TrainedModel, numbers: dict[str, int], one_split: bool
) -> tuple[Split, list[int]]:
    """Return rows that have these numbers in the file, and their places there.

    Where all rows lie in one split, it is this split; otherwise a split of these rows alone.

    Args:
        trained: the run, with its data.
        numbers: of the rows in the file, from 0, by the option that names each.
        one_split: whether only the rows of ``trained.split`` are meant.

    Raises:
        InputError: a row is not there.
    """
    splits = {"": trained.split} if one_split else trained.data.splits
    found = {option: _place(splits, option, row) for option, row in numbers.items()}
    names = {name for name, _ in found.values()}
    if len(names) == 1:
        return splits[names.pop()], [place for _, place in found.values()]
    rows = [splits[name].subset(torch.tensor([place])) for name, place in found.values()]
    return _joined(rows), list(range(len(rows)))


def _place(splits: dict[str, Split], option: str, row: int) -> tuple[str, int]:
    """Return the split that has a row, and its place there."""
    least, most, count = None, None, 0
    for name, split in splits.items():
        numbers = file_rows(split, torch.arange(len(split)))
        where = (numbers == row).nonzero()
        if len(where):
            return name, int(where[0])
        ends = int(numbers.min()), int(numbers.max())
        least = ends[0] if least is None else min(least, ends[0])
        most = ends[1] if most is None else max(most, ends[1])
        count += len(split)
    raise InputError(
        f"{option} is {row}, and no row of these data has this number in the file",
        subject=option,
        expected=f"the number of one of {count:,} rows, between {least} and {most}; {MORE}",
    )


def _joined(rows: Sequence[Split]) -> Split:
    """Return rows of several splits as one; binarised ones as a model sees them."""
    first = rows[0]
    labels: Tensor | None = None
    if all(row.labels is not None for row in rows):
        labels = torch.cat([row.labels for row in rows if row.labels is not None])
    known: dict[str, Any] = {"labels": labels, "places": None, "ids": None, "factors": None}
    if any(row.encoding != first.encoding for row in rows) and first.location is None:
        x = torch.cat([row.read() for row in rows])
        return replace(first, x=x, encoding=Encoding(), **known)
    return replace(first, x=torch.cat([row.x[torch.arange(1)] for row in rows]), **known)
