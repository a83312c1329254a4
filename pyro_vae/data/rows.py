"""Rows of a data set as they are stored: a tensor, or files read when they are asked for."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor

CHUNK_BYTES = 2**26  # whole-set passes (statistics, draws) go through memory in pieces of this size


class LazyRows(ABC):
    """Rows that are too many for memory. Indexed as a tensor is, by a tensor of row numbers."""

    shape: torch.Size  # (N | event)
    dtype: torch.dtype

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, index: Tensor) -> Tensor:
        """The rows numbered ``index`` (B,), read now: (B | event)."""

    @abstractmethod
    def subset(self, index: Tensor) -> "LazyRows":
        """The rows numbered ``index``, not yet read."""

    @abstractmethod
    def identity(self) -> bytes:
        """What distinguishes these rows from others, without reading all of them."""


Rows = Tensor | LazyRows


def subset(rows: Rows, index: Tensor) -> Rows:
    """The rows numbered ``index``; lazy ones stay unread."""
    return rows.subset(index) if isinstance(rows, LazyRows) else rows[index]


def chosen(names: Sequence[str], index: Tensor) -> tuple[str, ...]:
    """The names numbered ``index``."""
    return tuple(names[place] for place in index.tolist())


def nbytes(rows: Rows) -> int:
    """The bytes that the rows take in memory, once read."""
    return prod(rows.shape) * rows.dtype.itemsize


def chunks(rows: Rows) -> Iterator[Tensor]:
    """All rows in order, a bounded number of bytes at a time."""
    row_bytes = max(1, nbytes(rows) // max(1, len(rows)))
    for index in torch.arange(len(rows)).split(max(1, CHUNK_BYTES // row_bytes)):
        yield rows[index]


def read_all(rows: Rows, device: torch.device | None = None) -> Tensor:
    """All rows as one tensor on ``device``, filled in place so that nothing is held twice."""
    if isinstance(rows, Tensor):
        return rows.to(device)
    whole = torch.empty(rows.shape, dtype=rows.dtype, device=device)
    start = 0
    for chunk in chunks(rows):
        whole[start : start + len(chunk)] = chunk.to(device)
        start += len(chunk)
    return whole
