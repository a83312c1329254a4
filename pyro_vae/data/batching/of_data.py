"""``batches``: a tensor, a split, a torch data set or a data loader -> batches on a device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torch.utils.data import default_collate as stack

from pyro_vae.data.batching.arrays import as_tensors
from pyro_vae.data.batching.batches import (
    Batch,
    Batches,
    Encodings,
    ResidentBatches,
    StreamedBatches,
    rows_exist,
)
from pyro_vae.data.batching.loader import rows_of_loader
from pyro_vae.data.data_set import DataSet
from pyro_vae.data.rows import Rows, nbytes, row_numbers
from pyro_vae.data.split import Split
from pyro_vae.errors import InputError, first_line
from pyro_vae.program.contract import Signature
from pyro_vae.program.generators import generators_as_found

LAZY_BYTES = 2**31  # rows in files are held in the host's memory up to this size


def batches(
    data: Any,
    device: torch.device | str = "cpu",
    columns: Signature | int | None = None,
    *,
    max_resident_bytes: int | None = None,
) -> Batches:
    """Return batches, on ``device``, of a tensor, a tuple of tensors of equal length, a ``Split``, a torch
    ``Dataset``, or a ``DataLoader`` (for its data set, batch size, collation and workers). NumPy arrays and
    a DataFrame become tensors: each argument of the program takes the column of its name.

    A loader that passes over its data set in some order, shuffled or not, gives all rows, the last ones too
    where it drops them; one with a list of row numbers or a ``SubsetRandomSampler`` gives these. The caller
    gives the order. A loader is refused if it draws with replacement or by weights, or has another sampler.

    A split's values come as a model sees them, its labels and categories as int64; everything else is
    not changed.

    Args:
        data: the rows.
        device: where batches are.
        columns: the program's ``signature``, or how many tensors it takes: 1 for x, 2 for x and labels.
            Further ones of a split or a Dataset are left out; a tuple of tensors is always taken whole. By
            default x of a split, or its arguments as they were named, and all tensors of other data.
        max_resident_bytes: up to which size data are held on the device; larger ones are streamed. By
            default half of a GPU's free memory; data on the CPU stay there.

    Raises:
        InputError: no rows, columns of different lengths, fewer columns than ``columns``, rows that do not
            stack into tensors, a loader whose rows change, or data of another kind.

    >>> rows = batches((torch.arange(5.0), torch.arange(5)))
    >>> rows.description
    '5 rows of float32, int64 (0.0 MB) held on cpu'
    >>> [x.tolist() for x, _ in rows.take(torch.tensor([4, 0, 2]), batch_size=2)]
    [[4.0, 0.0], [2.0]]
    """
    device, data = torch.device(device), as_tensors(data, columns)
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
    """Return the columns of data that consist of tensors."""
    if isinstance(data, Tensor):
        return (data,)
    if isinstance(data, tuple) and data and all(isinstance(column, Tensor) for column in data):
        return data
    if type(data) is TensorDataset:
        return data.tensors
    if type(data) is Subset:
        whole = _tensors(data.dataset)
        if whole is None:
            return None
        numbers = row_numbers(data.indices, len(whole[0]), "indices")
        return tuple(column[numbers] for column in whole)
    return None


def _of_columns(
    columns: Sequence[Rows], device: torch.device, encodings: Encodings, budget: int | None
) -> Batches:
    for column in columns:
        if not column.shape:
            raise InputError(
                "a tensor without dimensions has no rows",
                subject="data",
                expected="a first dimension that counts the rows",
                remedy="pass x[None] for one row",
            )
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise InputError(
            f"the tensors have different numbers of rows: {', '.join(map(str, lengths))}",
            subject="data",
        )
    _check_not_empty(lengths[0])
    if _fits(columns, device, budget):
        return ResidentBatches(columns, device, encodings)
    return StreamedBatches(_Columns(columns), device, _as_read, encodings)


def _fits(columns: Sequence[Rows], device: torch.device, budget: int | None) -> bool:
    if budget is None:
        if all(isinstance(c, Tensor) and c.device.type == device.type for c in columns):
            return True
        budget = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else LAZY_BYTES
    return sum(map(nbytes, columns)) <= budget


class _Columns(Dataset[Batch]):
    """Gather a whole batch of columns at once, as a Dataset."""

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
    data = rows_of_loader(loader)
    if loader.collate_fn is stack and _tensors(data) is not None:
        rows = batches(data, device, columns, max_resident_bytes=budget)
    else:
        options = {
            name: getattr(loader, name)
            for name in ("num_workers", "worker_init_fn", "timeout", "prefetch_factor")
        }
        options["multiprocessing_context"] = loader.multiprocessing_context
        rows = _of_dataset(data, device, columns, loader.collate_fn, **options)
    sampler: Any = loader.batch_sampler
    rows.batch_size = sampler.batch_size
    return rows


def _of_dataset(
    data: Any,
    device: torch.device,
    columns: int | None,
    collate: Callable[[list[Any]], Any],
    **options: Any,
) -> Batches:
    if isinstance(data, DataSet):
        raise InputError(
            f"{data.name} has several splits", subject=data.name, remedy="pass one, .train or .test"
        )
    if isinstance(data, IterableDataset):
        raise InputError(
            "an IterableDataset has no row numbers",
            subject="IterableDataset",
            remedy="make it a Dataset with len and [i]",
        )
    if not isinstance(data, Dataset) or not hasattr(data, "__len__"):
        raise InputError(
            f"a {type(data).__name__} cannot be cut into batches",
            subject="data",
            expected="a tensor, a tuple of tensors, NumPy arrays likewise, a DataFrame, a split, a torch "
            "Dataset with a length, or a DataLoader",
            remedy="make it a tensor, by torch.as_tensor",
        )
    _check_not_empty(len(data))
    with generators_as_found(), rows_exist():  # reading a row must not change the run
        first = _Collate(collate)([data[0]])
    _check_columns(columns, len(first))
    return StreamedBatches(data, device, _Collate(collate, columns), (), **options)


@dataclass(frozen=True)
class _Collate:
    """Turn rows of a user's data set into the first ``columns`` tensors."""

    collate: Callable[[list[Any]], Any]
    columns: int | None = None

    def __call__(self, rows: list[Any]) -> Batch:
        try:
            batch = self.collate(rows)
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"the rows do not stack into a batch: {first_line(error)}",
                subject="rows",
                expected="tensors of one shape",
                remedy="make them so, or pass a DataLoader with a collate_fn",
            ) from error
        batch = (batch,) if isinstance(batch, Tensor) else batch
        if not isinstance(batch, tuple | list) or not all(isinstance(c, Tensor) for c in batch):
            columns = batch if isinstance(batch, tuple | list) else [batch]
            raise InputError(
                f"a batch holds {', '.join(type(c).__name__ for c in columns)}",
                subject="batch",
                expected="tensors",
                remedy="pass a DataLoader with a collate_fn",
            )
        return tuple(batch[: self.columns])


def _check_not_empty(count: int) -> None:
    if not count:
        raise InputError("the data hold no rows", subject="data", expected="at least one row")


def _check_columns(columns: int | None, present: int) -> None:
    if columns is not None and not 1 <= columns <= present:
        raise InputError(
            f"the program takes {columns} tensors, but the data have {present}",
            subject="data",
            remedy="pass a tuple with as many tensors as the model takes",
        )
