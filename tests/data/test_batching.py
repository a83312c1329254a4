"""Batches: the right rows in the right order, with the right noise, held where they should be."""

import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from refused import refused
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from pyro_vae.data import Batches, Split, batches, load


class Pairs(Dataset[Any]):
    """Rows (i, i * i) that exist only when they are asked for."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.read.append(index)
        return torch.tensor([float(index)]), index * index


X, Y = torch.arange(10.0)[:, None], torch.arange(10) ** 2
SOURCES: dict[str, Any] = {
    "tuple": (X, Y),
    "tensor data set": TensorDataset(X, Y),
    "subset": Subset(TensorDataset(X.flip(0), Y.flip(0)), list(range(9, -1, -1))),
    "data set": Pairs(),
    "loader": DataLoader(Pairs(), batch_size=3, shuffle=True),
    "loader of tensors": DataLoader(TensorDataset(X, Y), batch_size=3, shuffle=True),
}


def _listed(rows: Batches, order: Tensor, size: int, start: int = 0) -> list[list[list[Any]]]:
    return [[column.tolist() for column in batch] for batch in rows.take(order, size, start)]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("budget", [None, 0])
def test_every_source_gives_the_rows_in_the_order_asked(source: str, budget: int | None) -> None:
    rows = batches(SOURCES[source], max_resident_bytes=budget)
    assert rows.num_units == 10
    order = torch.tensor([7, 1, 1, 9, 0, 4, 3])
    x, y = X[order], Y[order]
    wanted = [[x[i : i + 3].tolist(), y[i : i + 3].tolist()] for i in (0, 3, 6)]
    assert _listed(rows, order, 3) == wanted
    assert _listed(rows, order, 3, start=2) == wanted[2:]
    assert _listed(rows, order, 3, start=3) == []
    assert rows.batch_size == (3 if "loader" in source else None)
    held = budget is None and source not in ("data set", "loader")
    assert ("held on cpu" if held else "streamed to cpu") in rows.description


def test_columns_that_the_program_does_not_take_are_left_out_of_sets_not_of_tuples() -> None:
    order = torch.arange(2)
    for source in ("tensor data set", "data set", "loader"):
        assert len(next(batches(SOURCES[source], columns=1).take(order, 2))) == 1
    assert len(next(batches((X, Y), columns=1).take(order, 2))) == 2
    assert len(next(batches(load("digits").train, columns=2).take(order, 2))) == 2
    assert len(next(batches(load("digits").train).take(order, 2))) == 1


def test_a_persons_tensors_are_not_touched() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(next(batches(pixels).take(torch.arange(256), 256))[0], pixels)
    wide = torch.rand(4, 2, dtype=torch.float64)
    assert next(batches(wide).take(torch.arange(4), 4))[0].dtype == torch.float64


def test_resident_rows_stay_as_they_are_stored() -> None:
    split = load("digits").train
    rows = batches(split, columns=2)
    assert rows.description == "1,397 rows of uint8, int64 (0.1 MB) held on cpu"
    (x, y), *_ = rows.take(torch.tensor([3, 5]), 2)
    assert x.dtype == torch.float32
    assert isinstance(split.x, Tensor)
    assert split.labels is not None
    assert torch.equal(x, split.x[[3, 5]].float() / 16)
    assert torch.equal(y, split.labels[[3, 5]])
    held = rows._columns[0]  # type: ignore[attr-defined]
    assert held.dtype == torch.uint8
    assert held.data_ptr() == split.x.data_ptr()  # not copied


def _split(**options: Any) -> Split:
    return load("digits", **options).train


@pytest.mark.parametrize("budget", [None, 0])
@pytest.mark.parametrize("binarize", ["none", "stochastic", "fixed"])
def test_skipped_batches_leave_the_rest_as_they_were(binarize: str, budget: int | None) -> None:
    rows = batches(_split(binarize=binarize), columns=2, max_resident_bytes=budget)
    order = torch.randperm(rows.num_units, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    whole = rows.take(order, 100)
    for _ in range(5):
        next(whole)
    state = torch.get_rng_state()
    rest = list(whole)
    torch.set_rng_state(state)
    resumed = list(rows.take(order, 100, start=5))
    assert len(rest) == len(resumed) == 9
    for (x, y), (x_again, y_again) in zip(rest, resumed, strict=True):
        assert torch.equal(x, x_again)
        assert torch.equal(y, y_again)
    assert len(rest[-1][0]) == 97


def test_streamed_draws_are_the_resident_ones() -> None:
    split, order = _split(binarize="stochastic"), torch.arange(300)
    seen = []
    for budget in (None, 0):
        torch.manual_seed(0)
        rows = batches(split, max_resident_bytes=budget)
        seen.append(torch.cat([x for (x,) in rows.take(order, 64)]))
    assert torch.equal(*seen)


@pytest.mark.parametrize("budget", [None, 0])
def test_the_global_generator_is_touched_by_draws_alone(budget: int | None) -> None:
    state = torch.get_rng_state()
    for source in (_split(), (X, Y), Pairs()):
        rows = batches(source, max_resident_bytes=budget)
        list(rows.take(torch.arange(10), 4))
    assert torch.equal(torch.get_rng_state(), state)


def test_skipped_rows_are_not_read() -> None:
    pairs = Pairs()
    rows = batches(pairs)
    pairs.read.clear()
    list(rows.take(torch.arange(10), 4, start=2))
    assert pairs.read == [8, 9]


def test_a_loaders_collation_and_workers_are_taken() -> None:
    def sums(rows: list[Any]) -> Tensor:
        return torch.stack([x * 0 + y for x, y in rows])

    loader = DataLoader(Pairs(), batch_size=4, collate_fn=sums)
    assert _listed(batches(loader), torch.tensor([2, 3]), 2) == [[[[4.0], [9.0]]]]
    # a process of its own: forking this one, with its threads, would be refused
    code = """
import torch
from torch.utils.data import DataLoader, Dataset
from pyro_vae.data import batches

class Noise(Dataset):
    def __len__(self): return 6
    def __getitem__(self, i): return torch.rand(1) + i

rows = batches(DataLoader(Noise(), batch_size=2, num_workers=1))
draw = lambda order: torch.cat([x for x, in rows.take(torch.tensor(order), 2)])
first, again, other = draw([0, 1, 2, 3]), draw([0, 1, 2, 3]), draw([3, 2, 1, 0]).flip(0)
assert torch.equal(first, again) and torch.equal(first.floor(), other.floor())
assert not torch.equal(first, other)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


class Ragged(Pairs):
    def __getitem__(self, index: int) -> Any:
        return torch.zeros(index + 1)


class Words(Pairs):
    def __getitem__(self, index: int) -> Any:
        return "word", 1.0


class Things(Pairs):
    def __getitem__(self, index: int) -> Any:
        return hashlib.sha256()


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield from ()


class Own(Sampler[int]):
    def __iter__(self) -> Any:
        return iter([3, 4])

    def __len__(self) -> int:
        return 2


class Listed(Pairs):
    def __getitem__(self, index: int) -> Any:
        return [torch.tensor([float(number)]) for number in range(10)][index]


class Longer(Listed):
    def __len__(self) -> int:
        return 11


ROWS, LISTED = TensorDataset(X, Y), Listed()


@pytest.mark.parametrize("data", [ROWS, Pairs()], ids=["tensors", "read"])
@pytest.mark.parametrize(
    "sampler",
    [
        [4, 1, 1, 2],
        range(4, 8),
        torch.tensor([4, 1, 1, -2]),
        SubsetRandomSampler([4, 1, 1, 2]),
        SubsetRandomSampler(np.array([4, 1, 1, 2])),  # type: ignore[arg-type]
    ],
)
def test_of_a_loader_with_numbered_rows_these_are_taken(data: Any, sampler: Any) -> None:
    given = sampler.indices if isinstance(sampler, SubsetRandomSampler) else sampler
    numbers = [int(number) for number in given]
    rows = batches(DataLoader(data, batch_size=3, sampler=sampler))
    assert rows.num_units == 4
    assert rows.batch_size == 3
    (x, y), *rest = rows.take(torch.arange(4), 4)
    assert not rest
    assert torch.equal(x, X[numbers])
    assert torch.equal(y, Y[numbers])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sampler": WeightedRandomSampler([1.0] * 10, 50)}, "WeightedRandomSampler"),
        ({"sampler": RandomSampler(X, replacement=True)}, "RandomSampler"),
        ({"sampler": RandomSampler(X, num_samples=4)}, "RandomSampler"),
        ({"sampler": SequentialSampler(X[:5])}, "SequentialSampler"),
        ({"sampler": Own()}, "Own"),
        ({"batch_sampler": [[0, 1], [2]]}, "list"),
        ({"batch_size": None}, "batch_size=None"),
    ],
)
def test_a_loader_whose_rows_are_no_fixed_set_is_refused(options: Any, text: str) -> None:
    with refused("sampler", remedy="Subset(data_set, indices)") as caught:
        batches(DataLoader(ROWS, **options))
    assert f"({text})" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "subject", "fields"),
    [
        (DataLoader(ROWS, sampler=[3, 10]), "sampler", {"expected": "0 to 9"}),
        (Subset(ROWS, [3, 10]), "indices", {"expected": "0 to 9"}),
        (Subset(ROWS, [0, -11]), "indices", {"expected": "0 to 9"}),
        (Subset(ROWS, [0.5, 2.0]), "indices", {"expected": "whole numbers"}),  # type: ignore[list-item]
        (Subset(ROWS, []), "data", {"expected": "one row"}),
        (Subset(LISTED, [10, 3]), "data set", {"remedy": "indices"}),
        (Subset(LISTED, [3, 10]), "data set", {"remedy": "indices"}),
        (Longer(), "data set", {"remedy": "__len__"}),
    ],
)
def test_rows_that_do_not_exist_are_refused(
    data: Any, subject: str, fields: dict[str, str]
) -> None:
    with refused(subject, **fields):
        rows = batches(data)
        list(rows.take(torch.arange(rows.num_units), 2))
    split = load("digits").train
    for numbers in (torch.tensor([3, 1397]), torch.tensor([-1398])):
        with refused("indices", expected="0 to 1396"):
            split.subset(numbers)
        with refused("indices", expected="0 to 1396"):
            split.read(numbers)


def test_how_a_loader_orders_and_cuts_its_rows_is_not_asked() -> None:
    for options in (
        {"batch_size": 4, "drop_last": True, "shuffle": True},
        {"batch_sampler": BatchSampler(RandomSampler(X), 3, drop_last=False)},
    ):
        assert batches(DataLoader(ROWS, **options)).num_units == 10  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "columns", "subject", "text"),
    [
        ((X, Y[:9]), None, "data", "10, 9"),
        (X[:0], None, "data", "one row"),
        (Pairs(0), None, "data", "one row"),
        (torch.tensor(1.0), None, "data", "without dimensions"),
        (X, 2, "data", "2 tensors, but the data have 1"),
        (Pairs(), 3, "data", "3 tensors, but the data have 2"),
        (X.tolist(), None, "data", "torch.as_tensor"),
        ([X, Y], None, "data", "a tuple of tensors"),
        ((), None, "data", "a tuple of tensors"),
        (load("digits"), None, "digits", ".train or .test"),
        (Endless(), None, "IterableDataset", "a Dataset with len"),
        (DataLoader(Endless()), None, "IterableDataset", "a Dataset with len"),
        (Words(), None, "batch", "tuple, Tensor"),
        (Things(), None, "rows", "collate_fn"),
    ],
)
def test_data_that_give_no_batches(data: Any, columns: int | None, subject: str, text: str) -> None:
    with refused(subject) as caught:
        batches(data, columns=columns)
    assert text in str(caught.value)


def test_rows_that_do_not_stack_and_orders_out_of_range() -> None:
    with refused("rows", expected="tensors of one shape") as caught:
        list(batches(Ragged()).take(torch.arange(4), 2))
    assert "equal size" in str(caught.value)
    with refused("order", expected="rows 0 to 9") as caught:
        batches(X).take(torch.tensor([3, 10]), 2)
    assert "3 to 10" in str(caught.value)
    for order in (torch.arange(3.0), torch.tensor(1), torch.tensor([True] * 10)):
        with refused("order", expected="int64"):
            batches(X).take(order, 2)
    with refused("batch_size", expected="at least 1"):
        batches(X).take(torch.arange(3), 0)
    assert list(batches(X).take(torch.arange(0), 2)) == []


@pytest.mark.gpu
@pytest.mark.parametrize("budget", [None, 0])
def test_on_a_gpu_no_batch_waits(budget: int | None) -> None:
    split = _split(binarize="stochastic")
    assert split.labels is not None
    rows = batches(split, "cuda", 2, max_resident_bytes=budget)
    order = torch.randperm(rows.num_units)
    taken = rows.take(order, 100)
    next(taken)
    torch.cuda.set_sync_debug_mode("error")
    try:
        rest = list(taken)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(x.is_cuda and y.is_cuda for x, y in rest)
    assert torch.equal(torch.cat([y for _, y in rest]).cpu(), split.labels[order[100:]])
