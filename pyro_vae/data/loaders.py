"""Which rows a DataLoader stands for."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
)

from pyro_vae.errors import InputError


def rows_taken(loader: DataLoader[Any]) -> Dataset[Any]:
    """The rows that a loader cuts into batches; how it orders and cuts them, and drop_last, is not asked.

    :raises InputError: they are others each time, or some more often than once.
    """
    rows, data = loader.batch_sampler, loader.dataset
    if isinstance(data, IterableDataset) or not hasattr(data, "__len__"):
        return data  # refused further on
    if rows is None:
        raise InputError(
            "a DataLoader with batch_size=None does not stack rows: give it a batch_size"
        )
    if type(rows) is not BatchSampler:
        raise _unknown(f"batch_sampler ({type(rows).__name__})")
    sampler: Any = rows.sampler
    numbers = sampler.indices if type(sampler) is SubsetRandomSampler else sampler
    if isinstance(numbers, Sequence | Tensor | np.ndarray):
        return _numbered(data, numbers)
    if type(sampler) is RandomSampler and sampler.replacement:
        raise _unknown("RandomSampler with replacement")
    if type(sampler) not in (SequentialSampler, RandomSampler):
        raise _unknown(type(sampler).__name__)
    if len(sampler) != len(data):
        raise _unknown(f"{type(sampler).__name__} of {len(sampler)} of {len(data)} rows")
    return data


def _numbered(data: Dataset[Any], numbers: Any) -> Dataset[Any]:
    total, rows = len(data), [operator.index(number) for number in numbers]  # type: ignore[arg-type]
    beyond = [row for row in rows if not -total <= row < total]
    if beyond:
        raise InputError(
            f"the DataLoader's sampler takes row {beyond[0]}, but its data set has rows 0 to {total - 1}"
        )
    return Subset(data, [row % total for row in rows])


def _unknown(sampler: str) -> InputError:
    return InputError(
        f"what the DataLoader's {sampler} takes is no fixed set of rows: pass its data set, or "
        "torch.utils.data.Subset(data_set, indices) for some of the rows"
    )
