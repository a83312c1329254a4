"""Batches of whatever holds data: kept on the device where they fit, else streamed to it."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torch.utils.data import default_collate as stack

from pyro_vae.data.loaders import rows_taken
from pyro_vae.data.rows import Rows, nbytes, read_all
from pyro_vae.data.sets import DataSet
from pyro_vae.data.split import Split
from pyro_vae.data.values import Encoding
from pyro_vae.errors import InputError
from pyro_vae.program.contract import Signature

Batch = tuple[Tensor, ...]

Encodings = Sequence[Encoding | None]  # of columns; empty of a person's own, which stay as they are

LAZY_BYTES = 2**31  # rows that lie in files are held in the host's memory up to this size


class Batches(ABC):
    """Rows that can be taken in any order, a batch at a time, on one device."""

    device: torch.device
    num_units: int  # rows in all
    description: str  # how many there are and where they are held, for people
    batch_size: int | None = None  # what a DataLoader that they came in asked for

    def take(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Batch]:
        """The rows numbered ``order`` (M,), ``batch_size`` at a time; the last may be fewer.

        :param start: how many batches to skip, unread. The rest come out as they would have, given
            the same state of the global generators.
        :raises InputError: a row number or the batch size is out of range.
        """
        if batch_size < 1 or start < 0:
            raise InputError(f"batch_size={batch_size} and start={start} must be at least 1 and 0")
        if order.is_cpu and len(order) and not 0 <= order.min() <= order.max() < self.num_units:
            raise InputError(
                f"rows {order.min()} to {order.max()} are asked for, but there are rows 0 to "
                f"{self.num_units - 1}"
            )
        order = order[start * batch_size :]
        return self._take(order, batch_size) if len(order) else iter(())

    @abstractmethod
    def _take(self, order: Tensor, batch_size: int) -> Iterator[Batch]: ...


class _Resident(Batches):
    """Columns that lie on the device as stored, and are gathered and encoded there."""

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


class _Streamed(Batches):
    """Rows that a DataLoader reads as they are asked for."""

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
        # A generator of its own, lest each pass advance the global one; seeded by the order, so
        # that random transforms in workers differ from epoch to epoch, but not from run to run.
        generator = torch.Generator().manual_seed(zlib.crc32(order.numpy().tobytes()))
        loader = DataLoader(
            self._dataset,
            batch_sampler=[index.tolist() for index in order.split(batch_size)],
            collate_fn=self._collate,
            pin_memory=self.device.type == "cuda",
            generator=generator,
            **self._options,
        )
        for batch in loader:
            moved = (column.to(self.device, non_blocking=True) for column in batch)
            yield _encoded(moved, self._encodings)


def _on(device: torch.device, encodings: Encodings) -> Encodings:
    return [None if encoding is None else encoding.to(device) for encoding in encodings]


def _encoded(columns: Iterable[Tensor], encodings: Encodings) -> Batch:
    if not encodings:
        return tuple(columns)
    pairs = zip(columns, encodings, strict=True)
    return tuple(c if encoding is None else encoding(c) for c, encoding in pairs)


class OneCall(Batches):
    """In place of rows: a program that is called with what it has, once a pass."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.num_units = device, 1
        self.description = "one call with arguments as they are"

    def _take(self, order: Tensor, batch_size: int) -> Iterator[Batch]:
        yield ()


def batches(
    data: Any,
    device: torch.device | str = "cpu",
    columns: Signature | int | None = None,
    *,
    max_resident_bytes: int | None = None,
) -> Batches:
    """Batches, on ``device``, of a tensor, a tuple of tensors of equal length, a ``Split``, a torch
    ``Dataset``, or a ``DataLoader`` (for its data set, batch size, collation and workers).

    Of a loader that goes through its data set in whatever order, shuffled or not, all rows are taken, the
    last ones too where it drops them; of one with a list of row numbers or a ``SubsetRandomSampler``,
    these. The order is the caller's. One that draws with replacement or by weights, or has a sampler of its
    own, is refused.

    A split's values come as a model sees them, its labels and categories as int64; all else comes as it is.

    :param columns: what the program takes (its ``signature``), or how many tensors: 1 for
        x, 2 for x and labels. What more a split or a Dataset has is left out; a tuple of tensors is always
        taken whole. By default x of a split, or its arguments as they were named, and all that there is of
        other data.
    :param max_resident_bytes: up to which size data are held on the device; larger ones are
        streamed. By default half of a GPU's free memory; data on the CPU stay where they are.
    :raises InputError: no rows, columns of unlike length, fewer columns than asked for, rows that
        do not stack into tensors, a loader whose rows are no fixed set, or data of another kind.

    >>> rows = batches((torch.arange(5.0), torch.arange(5)))
    >>> rows.description
    '5 rows of float32, int64 (0.0 MB) held on cpu'
    >>> [x.tolist() for x, _ in rows.take(torch.tensor([4, 0, 2]), batch_size=2)]
    [[4.0, 0.0], [2.0]]
    """
    device = torch.device(device)
    if isinstance(data, Split):
        rows, encodings = zip(*data.inputs(columns), strict=True)
        return _of_columns(rows, device, encodings, max_resident_bytes)
    columns = columns.number if isinstance(columns, Signature) else columns
    if isinstance(data, DataLoader):
        return _of_loader(data, device, columns, max_resident_bytes)
    tensors = _tensors(data)
    if tensors is not None:
        _check_columns(columns, len(tensors))
        taken = tensors if isinstance(data, tuple) else tensors[:columns]
        return _of_columns(taken, device, (), max_resident_bytes)
    return _of_dataset(data, device, columns, stack)


def _tensors(data: Any) -> tuple[Tensor, ...] | None:
    """The columns of data that are tensors through and through."""
    if isinstance(data, Tensor):
        return (data,)
    if isinstance(data, tuple) and data and all(isinstance(column, Tensor) for column in data):
        return data
    if type(data) is TensorDataset:
        return data.tensors
    if type(data) is Subset:
        whole = _tensors(data.dataset)
        return None if whole is None else tuple(c[torch.as_tensor(data.indices)] for c in whole)
    return None


def _of_columns(
    columns: Sequence[Rows], device: torch.device, encodings: Encodings, budget: int | None
) -> Batches:
    for column in columns:
        if not column.shape:
            raise InputError(
                "a tensor without dimensions has no rows, which its first dimension counts: of one "
                "datum x[0:1] has one"
            )
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise InputError(f"the tensors have unlike numbers of rows: {', '.join(map(str, lengths))}")
    if not lengths[0]:
        raise InputError("the data hold no rows")
    if _fits(columns, device, budget):
        return _Resident(columns, device, encodings)
    return _Streamed(_Columns(columns), device, _as_read, encodings)


def _fits(columns: Sequence[Rows], device: torch.device, budget: int | None) -> bool:
    if budget is None:
        if all(isinstance(c, Tensor) and c.device.type == device.type for c in columns):
            return True
        budget = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else LAZY_BYTES
    return sum(map(nbytes, columns)) <= budget


class _Columns(Dataset[Batch]):
    """Columns as a Dataset that gathers a whole batch at once."""

    def __init__(self, columns: Sequence[Rows]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitem__(self, index: int) -> Batch:
        return tuple(column[0] for column in self.__getitems__([index]))

    def __getitems__(self, indices: list[int]) -> Batch:
        return tuple(column[torch.tensor(indices)] for column in self._columns)


def _as_read(batch: Batch) -> Batch:
    return batch


def _of_loader(
    loader: DataLoader[Any], device: torch.device, columns: int | None, budget: int | None
) -> Batches:
    data = rows_taken(loader)
    if loader.collate_fn is stack and _tensors(data) is not None:
        made = batches(data, device, columns, max_resident_bytes=budget)
    else:
        options = {
            name: getattr(loader, name)
            for name in ("num_workers", "worker_init_fn", "timeout", "prefetch_factor")
        }
        options["multiprocessing_context"] = loader.multiprocessing_context
        made = _of_dataset(data, device, columns, loader.collate_fn, **options)
    sampler: Any = loader.batch_sampler  # which has the size, whoever made it
    made.batch_size = sampler.batch_size
    return made


def _of_dataset(
    data: Any,
    device: torch.device,
    columns: int | None,
    collate: Callable[[list[Any]], Any],
    **options: Any,
) -> Batches:
    if isinstance(data, DataSet):
        raise InputError(f"{data.name} has several splits: pass one, .train or .test")
    if isinstance(data, IterableDataset):
        raise InputError(
            "an IterableDataset has no row numbers; make it a Dataset with len and [i]"
        )
    if not isinstance(data, Dataset) or not hasattr(data, "__len__"):
        raise InputError(
            f"{type(data).__name__} holds no batches: pass a tensor (torch.as_tensor), a tuple of "
            "tensors, a split, a torch Dataset with a length, or a DataLoader"
        )
    if not len(data):
        raise InputError("the data hold no rows")
    with torch.random.fork_rng(devices=[]):  # a look at the first row must not change the run
        first = _Collate(collate)([data[0]])
    _check_columns(columns, len(first))
    return _Streamed(data, device, _Collate(collate, columns), (), **options)


@dataclass(frozen=True)
class _Collate:
    """Rows of a person's data set -> the first ``columns`` tensors, or a word on why not."""

    collate: Callable[[list[Any]], Any]
    columns: int | None = None

    def __call__(self, rows: list[Any]) -> Batch:
        try:
            batch = self.collate(rows)
        except (RuntimeError, TypeError, ValueError) as error:
            reason = str(error).strip().split("\n")[0]
            raise InputError(
                f"the rows of the data set do not stack into a batch: {reason}. Make them tensors "
                "of one shape, or pass a DataLoader with a collate_fn"
            ) from error
        batch = (batch,) if isinstance(batch, Tensor) else batch
        if not isinstance(batch, tuple | list) or not all(isinstance(c, Tensor) for c in batch):
            kinds = batch if isinstance(batch, tuple | list) else [batch]
            raise InputError(
                "a batch of the data set is not a tensor or a tuple of tensors but holds "
                f"{', '.join(type(c).__name__ for c in kinds)}: pass a DataLoader with a collate_fn"
            )
        return tuple(batch[: self.columns])


def _check_columns(columns: int | None, there: int) -> None:
    if columns is not None and not 1 <= columns <= there:
        raise InputError(
            f"{columns} tensors a batch are asked for, but the data have {there}: "
            "pass a tuple with as many as the model takes"
        )


def _size(columns: Sequence[Rows]) -> str:
    kinds = ", ".join(str(column.dtype).removeprefix("torch.") for column in columns)
    megabytes = sum(map(nbytes, columns)) / 1e6
    return f"{len(columns[0]):,} rows of {kinds} ({megabytes:.1f} MB)"
