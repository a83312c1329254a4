"""Rows of a data set as they are stored: a tensor, or files that are read on access."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from pyro_vae.errors import InputError

CHUNK_BYTES = 2**26  # passes over all rows (statistics, draws) take pieces of this size


class LazyRows(ABC):
    """Read rows that are too many for memory when they are indexed by a tensor of row numbers."""

    shape: torch.Size  # (N | event)
    dtype: torch.dtype

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, index: Tensor) -> Tensor:
        """Read the rows numbered ``index`` (B,): (B | event)."""

    @abstractmethod
    def subset(self, index: Tensor) -> "LazyRows":
        """Return the rows numbered ``index`` without reading them."""

    @abstractmethod
    def identity(self) -> bytes:
        """Return what distinguishes these rows from others, without reading all of them."""


Rows = Tensor | LazyRows


def subset(rows: Rows, index: Tensor) -> Rows:
    """Return the rows numbered ``index``; lazy ones stay unread."""
    return rows.subset(index) if isinstance(rows, LazyRows) else rows[index]


def select_names(names: Sequence[str], index: Tensor) -> tuple[str, ...]:
    """Return the names numbered ``index``."""
    return tuple(names[place] for place in index.tolist())


def nbytes(rows: Rows) -> int:
    """Return the bytes that the rows take in memory, once read."""
    return prod(rows.shape) * rows.dtype.itemsize


def chunks(rows: Rows) -> Iterator[Tensor]:
    """Yield all rows in order, a bounded number of bytes at a time."""
    row_bytes = max(1, nbytes(rows) // max(1, len(rows)))
    for index in torch.arange(len(rows)).split(max(1, CHUNK_BYTES // row_bytes)):
        yield rows[index]


def read_all(rows: Rows, device: torch.device | None = None) -> Tensor:
    """Return all rows as one tensor on ``device``, filled in place so that no row is held twice."""
    if isinstance(rows, Tensor):
        return rows.to(device)
    whole = torch.empty(rows.shape, dtype=rows.dtype, device=device)
    start = 0
    for chunk in chunks(rows):
        whole[start : start + len(chunk)] = chunk.to(device)
        start += len(chunk)
    return whole


def row_numbers(
    index: Sequence[int] | Tensor | npt.NDArray[Any], count: int, subject: str
) -> Tensor:
    """Return row numbers as a tensor of int64, and negative ones as counted from the end.

    Args:
        index: the numbers, or a truth value for each row.
        count: how many rows there are.
        subject: what messages call ``index``.

    Raises:
        InputError: they are not whole numbers, or a row does not exist.
    """
    numbers = torch.as_tensor(index)
    if numbers.dtype == torch.bool and numbers.shape == (count,):
        return numbers.nonzero().squeeze(-1)
    if numbers.dtype == torch.bool and numbers.dim() == 1:
        raise InputError(
            f"there are {len(numbers):,} truth values, and {count:,} rows",
            subject=subject,
            expected="one for each row",
        )
    if numbers.numel() and (numbers.is_floating_point() or numbers.dtype == torch.bool):
        raise InputError(
            f"row numbers have the type {numbers.dtype}",
            subject=subject,
            expected="whole numbers, or a truth value for each row",
        )
    wrong = numbers[(numbers < -count) | (numbers >= count)]
    if len(wrong):
        raise InputError(
            f"row {int(wrong[0])} does not exist",
            subject=subject,
            expected=f"numbers from 0 to {count - 1}",
        )
    return numbers.long() % count if count else numbers.long()
