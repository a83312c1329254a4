"""The rows that a DataLoader stands for."""

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

from pyro_vae.data.rows import row_numbers
from pyro_vae.errors import InputError


def rows_of_loader(loader: DataLoader[Any]) -> Dataset[Any]:
    """Return the rows that a loader cuts into batches, whatever their order, batch size and drop_last.

    Raises:
        InputError: they are others at each pass, or some repeat.
    """
    data, by_batch = loader.dataset, loader.batch_sampler
    if isinstance(data, IterableDataset) or not hasattr(data, "__len__"):
        return data  # `batches` refuses it
    sampler: Any = by_batch.sampler if type(by_batch) is BatchSampler else None
    numbers = sampler.indices if type(sampler) is SubsetRandomSampler else sampler
    if isinstance(numbers, Sequence | Tensor | np.ndarray):
        return Subset(data, row_numbers(numbers, len(data), "sampler").tolist())
    is_whole = type(sampler) in (SequentialSampler, RandomSampler) and len(sampler) == len(data)
    if not is_whole or getattr(sampler, "replacement", False):
        name = type(by_batch if sampler is None else sampler).__name__
        name = "batch_size=None" if by_batch is None else name
        raise InputError(
            f"the DataLoader's sampler ({name}) may take other rows at each pass, or some twice",
            subject="sampler",
            remedy="pass its data set, or torch.utils.data.Subset(data_set, indices)",
        )
    return data
