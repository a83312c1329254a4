"""Batches of rows on a device: rows that are held there, or streamed to it."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pyro_vae.data.rows import Rows, nbytes, read_all
from pyro_vae.data.values import Encoding
from pyro_vae.errors import InputError

Batch = tuple[Tensor, ...]
Encodings = Sequence[
    Encoding | None
]  # of columns; empty for a user's tensors, which stay as they are


class Batches(ABC):
    """Take rows in any order, a batch at a time, on one device."""

    device: torch.device
    num_units: int  # rows in all
    description: str  # how many rows there are and where they are held
    batch_size: int | None = None  # that of the DataLoader, if they came in one

    def take(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Batch]:
        """Yield the rows numbered ``order`` (M,), ``batch_size`` at a time; the last batch may be smaller.

        Args:
            order: row numbers.
            batch_size: rows in a batch.
            start: how many batches to skip without reading them. The others are the same as without
                ``start``, given the same state of the global generators.

        Raises:
            InputError: a row number or the batch size is out of range.
        """
        if batch_size < 1 or start < 0:
            raise InputError(
                f"batch_size={batch_size} and start={start} are out of range",
                subject="batch_size" if batch_size < 1 else "start",
                expected="at least 1 and 0",
            )
        is_whole = order.dtype in (torch.int64, torch.int32) or not order.numel()
        if order.ndim != 1 or not is_whole:
            raise InputError(
                f"order has the shape {tuple(order.shape)} and the type {order.dtype}",
                subject="order",
                expected="row numbers (M,) of int64",
            )
        if order.is_cpu and len(order) and not 0 <= order.min() <= order.max() < self.num_units:
            raise InputError(
                f"order has rows {order.min()} to {order.max()}",
                subject="order",
                expected=f"rows 0 to {self.num_units - 1}",
            )
        order = order[start * batch_size :]
        return self._take(order, batch_size) if len(order) else iter(())

    @abstractmethod
    def _take(self, order: Tensor, batch_size: int) -> Iterator[Batch]: ...


class ResidentBatches(Batches):
    """Hold columns on the device as they are stored, and gather and encode them there."""

    def __init__(self, columns: Sequence[Rows], device: torch.device, encodings: Encodings) -> None:
        self._columns = [read_all(column, device) for column in columns]
        self._encodings = _on(device, encodings)
        self.device = device
        self.num_units = len(columns[0])
        self.description = f"{_size(columns)} held on {device}"

    def _take(self, order: Tensor, batch_size: int) -> Iterator[Batch]:
        # the order is copied once: a copy for each batch would wait for the device each time
        for index in order.to(self.device).split(batch_size):
            yield _encoded((c.index_select(0, index) for c in self._columns), self._encodings)


class StreamedBatches(Batches):
    """Read rows by a DataLoader when a batch needs them."""

    def __init__(
        self,
        dataset: Dataset[Any],
        device: torch.device,
        collate: Callable[[Any], Batch],
        encodings: Encodings,
        **options: Any,
    ) -> None:
        self._dataset, self._collate, self._options = dataset, collate, options
        self._encodings = _on(device, encodings)
        self.device = device
        self.num_units = len(dataset)  # type: ignore[arg-type]
        self.description = f"{self.num_units:,} rows streamed to {device} by a DataLoader"

    def _take(self, order: Tensor, batch_size: int) -> Iterator[Batch]:
        order = order.cpu()
        # Its own generator leaves the global one as it is; seeded by the order, random transforms in
        # workers differ from epoch to epoch, but not from run to run.
        generator = torch.Generator().manual_seed(zlib.crc32(order.numpy().tobytes()))
        loader = DataLoader(
            self._dataset,
            batch_sampler=[index.tolist() for index in order.split(batch_size)],
            collate_fn=self._collate,
            pin_memory=self.device.type == "cuda",
            generator=generator,
            **self._options,
        )
        with rows_exist():
            for batch in loader:
                moved = (column.to(self.device, non_blocking=True) for column in batch)
                yield _encoded(moved, self._encodings)


class OneCall(Batches):
    """Stand for a program that is called with its own arguments, once a pass."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.num_units = device, 1
        self.description = "one call with arguments as they are"

    def _take(self, order: Tensor, batch_size: int) -> Iterator[Batch]:
        yield ()


@contextmanager
def rows_exist() -> Iterator[None]:
    """Report an index of a user's data set that is out of range as an InputError."""
    try:
        yield
    except IndexError as error:
        reason = str(error).strip().split("\n")[-1]
        raise InputError(
            f"the data set lacks a row below its length ({reason})",
            subject="data set",
            remedy="correct its __len__, or the indices of a Subset",
        ) from error


def _on(device: torch.device, encodings: Encodings) -> Encodings:
    return [None if encoding is None else encoding.to(device) for encoding in encodings]


def _encoded(columns: Iterable[Tensor], encodings: Encodings) -> Batch:
    if not encodings:
        return tuple(columns)
    pairs = zip(columns, encodings, strict=True)
    return tuple(c if encoding is None else encoding(c) for c, encoding in pairs)


def _size(columns: Sequence[Rows]) -> str:
    dtypes = ", ".join(str(column.dtype).removeprefix("torch.") for column in columns)
    megabytes = sum(map(nbytes, columns)) / 1e6
    return f"{len(columns[0]):,} rows of {dtypes} ({megabytes:.1f} MB)"
