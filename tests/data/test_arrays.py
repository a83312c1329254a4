"""Files of arrays: what is read, and what is said of files that do not fit."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refused import refused
from stories import RNG

from pyro_vae.data import load
from pyro_vae.data.rows import read_all


def _npy(folder: Path, array: Any) -> str:
    path = folder / "a.npy"
    np.save(path, array)
    return str(path)


def _npz(folder: Path, **arrays: Any) -> str:
    path = folder / "a.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.mark.parametrize(
    ("shape", "event"),
    [
        ((30,), (1,)),
        ((30, 5), (5,)),
        ((30, 8, 6), (1, 8, 6)),
        ((30, 3, 8, 6), (3, 8, 6)),
        ((30, 8, 6, 3), (3, 8, 6)),
        ((30, 2, 3, 4, 5), (2, 3, 4, 5)),
    ],
)
def test_the_first_axis_counts_rows_and_images_are_channels_first(
    tmp_path: Path, shape: tuple[int, ...], event: tuple[int, ...]
) -> None:
    data = load(_npy(tmp_path, RNG.normal(size=shape)))
    assert data.event_shape == event
    assert [len(s) for s in data.splits.values()] == [24, 3, 3]


def test_channels_last_are_moved_not_reshaped(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (30, 8, 6, 3), dtype=np.uint8)
    data = load(_npy(tmp_path, images))
    rows = torch.cat([read_all(s.x) for s in data.splits.values()])
    wanted = {image.transpose(2, 0, 1).tobytes() for image in images}
    assert {row.contiguous().numpy().tobytes() for row in rows} == wanted


@pytest.mark.parametrize(
    ("array", "dtype", "levels"),
    [
        (RNG.integers(0, 256, (30, 4, 4), dtype=np.uint8), torch.uint8, 256),
        (RNG.integers(0, 2, (30, 4, 4)).astype(np.uint8) * 255, torch.uint8, 2),
        (RNG.integers(0, 2, (30, 4)).astype(bool), torch.uint8, 2),
        (RNG.integers(0, 2, (30, 4)), torch.uint8, 2),
        (RNG.integers(0, 2, (30, 4)).astype(float), torch.uint8, 2),
        (RNG.integers(0, 256, (30, 4)) / 255, torch.uint8, 256),
        ((RNG.integers(0, 256, (30, 4)) / 255).astype(np.float32), torch.uint8, 256),
        (RNG.uniform(size=(30, 4)), torch.float32, None),
        (RNG.integers(0, 9, (30, 4)), torch.float32, None),
        (RNG.normal(size=(30, 4)).astype(np.float16), torch.float32, None),
    ],
)
def test_values_are_recognised_and_none_is_lost(
    tmp_path: Path, array: Any, dtype: torch.dtype, levels: int | None
) -> None:
    data = load(_npy(tmp_path, array), standardize=False)
    assert data.train.x.dtype == dtype
    assert data.values.levels == levels
    seen = torch.cat([s.read() for s in data.splits.values()]).flatten().sort().values
    top = 255 if array.dtype == np.uint8 and array.max() > 1 else 1
    wanted = torch.from_numpy(array.astype(np.float64) / top).flatten().float().sort().values
    assert torch.equal(seen, wanted)
    assert data.values.low <= seen.min()
    assert seen.max() <= data.values.high


def test_float64_is_kept_where_float32_would_lose_the_differences(tmp_path: Path) -> None:
    stamps = 1.7e9 + np.arange(100.0)[:, None] / 8
    data = load(_npy(tmp_path, stamps))
    assert data.train.x.dtype == torch.float64
    seen = data.train.read()
    assert seen.dtype == torch.float32
    assert abs(seen.mean()) < 1e-6
    assert len(seen.unique()) == 80
    assert torch.equal(
        data.train.to_original(seen.double()).round(decimals=3), read_all(data.train.x)
    )


def test_npz_splits_and_labels_of_its_own(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (12, 4, 4), dtype=np.uint8)
    y = np.arange(12) % 3
    path = _npz(
        tmp_path,
        x_train=x[:6],
        y_train=y[:6],
        x_val=x[6:8],
        y_val=y[6:8],
        x_test=x[8:],
        y_test=y[8:],
    )
    data = load(path)
    assert [len(s) for s in data.splits.values()] == [6, 2, 4]
    for split, rows in ((data.train, slice(0, 6)), (data.test, slice(8, 12))):
        assert np.array_equal(read_all(split.x)[:, 0], x[rows])
        assert split.labels is not None
        assert np.array_equal(split.labels, y[rows])
    plain = load(_npz(tmp_path, train=x[:6], test=x[6:]))
    assert plain.validation is None
    assert plain.train.labels is None


@pytest.mark.parametrize("key", ["x", "data", "images", "anything"])
def test_npz_without_splits(tmp_path: Path, key: str) -> None:
    x = np.arange(40.0).reshape(20, 2)
    data = load(_npz(tmp_path, **{"target": np.arange(20), key: x}), standardize=False)
    for split in data.splits.values():
        assert split.labels is not None
        assert torch.equal(split.read()[:, 0], 2.0 * split.labels)


def test_labels_that_are_names_or_negative_become_codes(tmp_path: Path) -> None:
    x = RNG.normal(size=(20, 2))
    names = load(_npz(tmp_path, x=x, kind=np.array(["b", "a"] * 10)), label="kind")
    assert names.train.class_names == ("a", "b")
    signs = load(_npz(tmp_path, x=x, y=np.array([-1.0, 1.0] * 10)))
    assert signs.train.class_names == ("-1", "1")
    assert signs.num_classes == 2
    assert signs.train.labels is not None
    assert set(signs.train.labels.tolist()) == {0, 1}


@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_labels_that_were_not_seen_stay_so_and_gaps_are_no_classes(
    tmp_path: Path, kind: type
) -> None:
    x = np.arange(30.0)[:, None]
    for labels, names in (
        ([-1, 0, 1], None),
        ([-1, 10, 20], ("10", "20")),
        ([0, 1000, 2000], ("0", "1000", "2000")),
    ):
        data = load(_npz(tmp_path, x=x, y=np.array(labels * 10, dtype=kind)))
        assert data.num_classes == 3 - (labels[0] == -1)
        assert data.train.class_names == names
        codes = torch.tensor([0, 1, 2]) - int(labels[0] == -1)
        for split in data.splits.values():
            row = split.to_original(split.read())[:, 0].round().long()
            assert split.labels is not None
            assert torch.equal(split.labels, codes[row % 3])


def _with(index: tuple[int, ...], value: float) -> Any:
    array = RNG.normal(size=(20, 3))
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("array", "expected", "text"),
    [
        (_with((17, 2), math.nan), "finite numbers", "nan at index (17, 2)"),
        (_with((0, 1), math.inf), "finite numbers", "inf at index (0, 1)"),
        (np.array(["a", "b", "c"]), "numbers", "<U1"),
        (np.zeros((5, 2), dtype=complex), "numbers", "complex128"),
        (np.zeros((0, 3)), "one row", "(0, 3)"),
        (np.float64(3.0), "one row", "()"),
        (np.array([{}, {}], dtype=object), "numbers", "Python objects"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, array: Any, expected: str, text: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, array, allow_pickle=True)
    with refused(str(path), expected=expected) as caught:
        load(str(path))
    assert text in str(caught.value)


def test_two_rows_are_too_few_for_three_splits(tmp_path: Path) -> None:
    path = _npy(tmp_path, np.zeros((2, 3)))
    with refused("rows", expected="one each", remedy="validation=0"):
        load(path)
    assert len(load(path, validation=0).train) == 1
    path = _npy(tmp_path, np.zeros((1, 3)))
    for validation in (None, 0, 0.0, 0.5):
        with refused("rows", remedy="add rows"):
            load(path, validation=validation)


X = np.ones((20, 2))


@pytest.mark.parametrize(
    ("arrays", "options", "subject", "fields"),
    [
        ({}, {}, "", {"expected": "one array"}),
        ({"train": X}, {}, "", {"expected": "x_test"}),
        ({"train": X, "test": np.ones((4, 3))}, {}, "[test]", {"expected": "2 float64"}),
        ({"train": X, "test": np.ones((4, 2), np.uint8)}, {}, "[test]", {"expected": "2 float64"}),
        ({"train": X, "test": X, "y_train": np.ones(20)}, {}, "", {"expected": "each split"}),
        (
            {"train": X, "test": X, "y_train": np.ones(20), "y_test": np.ones(9)},
            {},
            "[y_test]",
            {"expected": "(20,)"},
        ),
        ({"train": X, "test": X}, {"label": "y"}, "label", {"remedy": "y_train"}),
        ({"x": X, "y": np.ones(19)}, {}, "[y]", {"expected": "(20,)"}),
        ({"x": X, "y": np.full(20, 0.5)}, {}, "[y]", {"expected": "whole numbers"}),
        ({"x": X, "y": np.full(20, math.nan)}, {}, "[y]", {}),
        ({"x": X, "kind": np.ones(20)}, {"label": "kid"}, "kid", {"remedy": "'kind'"}),
        ({"x": np.array([None])}, {}, "[x]", {"expected": "numbers"}),
        ({"y": np.ones(20)}, {}, "", {"expected": "the rows"}),
    ],
)
def test_archives_that_do_not_fit(
    tmp_path: Path,
    arrays: dict[str, Any],
    options: dict[str, Any],
    subject: str,
    fields: dict[str, str],
) -> None:
    path = _npz(tmp_path, **arrays)
    whole = subject if subject and subject[0] != "[" else path + subject
    with refused(whole, **fields):
        load(path, **options)


def test_damaged_empty_missing_and_misnamed_files(tmp_path: Path) -> None:
    whole = Path(_npy(tmp_path, np.ones((20, 3))))
    for name, content, text in (
        ("short.npy", whole.read_bytes()[:200], "damaged"),
        ("empty.npy", b"", "is empty"),
        ("noise.npy", b"not an array at all", "expected a NumPy file"),
        ("noise.npz", b"PK\x03\x04 cut off", "expected a NumPy file"),
        ("array.npz", whole.read_bytes(), "end in .npy"),
        ("a.doc", b"1 2 3", "expected .npy, .npz"),
        ("a.npy.gz", b"1 2 3", "text alone"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with refused(str(path)) as caught:
            load(str(path))
        assert text in str(caught.value)
    with refused(str(tmp_path / "none.npy")):
        load(str(tmp_path / "none.npy"))
    archive = Path(_npz(tmp_path, x=np.arange(9000.0)))
    damaged = bytearray(archive.read_bytes())
    damaged[5000] ^= 255
    archive.write_bytes(damaged)
    assert zipfile.is_zipfile(archive)
    with refused(f"{archive}[x]", expected="a NumPy file"):
        load(str(archive))
    path = archive.rename(tmp_path / "archive.npy")
    with refused(str(path), remedy="end in .npz"):
        load(str(path))
    with refused("label", expected="tables and archives"):
        load(str(whole), label="y")
    with refused("image_size", expected="folders"):
        load(str(whole), image_size=8)


@pytest.mark.parametrize("ending", ["npy", "npz", "csv", "parquet"])
def test_files_that_the_system_does_not_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"loop.{ending}"
    path.symlink_to(path)
    with refused(str(path)):
        load(str(path))
