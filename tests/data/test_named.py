"""Readers of the named sets, on small files of the real formats; and on the real sets."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from refused import refused
from scipy.io import savemat  # type: ignore[attr-defined]
from stories import RNG

from pyro_vae._torchvision import torchvision
from pyro_vae.data import LazyRows, load
from pyro_vae.data.rows import read_all


def _idx(path: Path, array: Any) -> None:
    """The idx format: magic with the number of dimensions, sizes, bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def _mnist_files(raw: Path, prefix: str = "", train: int = 60, test: int = 10) -> Any:
    images = RNG.integers(0, 256, (train + test, 28, 28), dtype=np.uint8)
    labels = np.arange(train + test) % 10
    for name, rows in (
        ("train", slice(0, train)),
        (f"{'test' if prefix else 't10k'}", slice(train, None)),
    ):
        _idx(raw / f"{prefix}{name}-images-idx3-ubyte", images[rows])
        _idx(raw / f"{prefix}{name}-labels-idx1-ubyte", labels[rows])
    return images


@pytest.mark.parametrize(
    ("name", "folder"),
    [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST"), ("kmnist", "KMNIST")],
)
def test_idx_files(tmp_path: Path, name: str, folder: str) -> None:
    images = _mnist_files(tmp_path / folder / "raw")
    data = load(name, root=tmp_path)
    assert [len(s) for s in data.splits.values()] == [50, 10, 10]
    rows = torch.cat([read_all(s.x) for s in data.splits.values()])
    assert np.array_equal(rows[:, 0], images)
    assert data.num_classes == 10
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [i % 10 for i in range(50)]


def test_emnist_is_turned_upright(tmp_path: Path) -> None:
    images = _mnist_files(tmp_path / "EMNIST" / "raw", "emnist-balanced-")
    data = load("emnist", root=tmp_path)
    assert np.array_equal(read_all(data.test.x)[:, 0], images[60:].transpose(0, 2, 1))
    assert data.num_classes == 47


def test_damaged_files_say_which_and_what_to_do(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    _mnist_files(raw)
    path = raw / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    with refused("mnist", remedy="--download"):
        load("mnist", root=tmp_path)
    (raw / "t10k-labels-idx1-ubyte").unlink()
    with refused("mnist", remedy="MNIST/raw"):
        load("mnist", root=tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    with refused("cifar10", remedy="cifar-10-batches-py"):
        load("cifar10", root=tmp_path)


def test_a_failing_download_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise OSError("<urlopen error no route to host>")

    monkeypatch.setattr(torchvision().datasets, "SVHN", unreachable)
    with refused("svhn") as caught:
        load("svhn", root=tmp_path, download=True)
    assert "<urlopen error" in str(caught.value)


@pytest.mark.parametrize("packed", [True, False])
def test_binarized_mnist_in_both_forms(tmp_path: Path, packed: bool) -> None:
    folder = tmp_path / "BinarizedMNIST"
    folder.mkdir()
    bits = {s: RNG.integers(0, 2, (n, 784)) for s, n in (("train", 5), ("valid", 2), ("test", 3))}
    if packed:
        arrays: dict[str, Any] = {
            s: np.packbits(b.astype(np.uint8), axis=1) for s, b in bits.items()
        }
        np.savez(folder / "binarized_mnist.npz", **arrays)
    else:
        for split, rows in bits.items():
            np.savetxt(folder / f"binarized_mnist_{split}.amat", rows, fmt="%d")
    data = load("binarized-mnist", root=tmp_path)
    assert data.values.levels == 2
    for read, rows in zip(data.splits.values(), bits.values(), strict=True):
        assert read.event_shape == (1, 28, 28)
        assert np.array_equal(read.read().flatten(1), rows)


def test_damaged_amat(tmp_path: Path) -> None:
    (tmp_path / "BinarizedMNIST").mkdir()
    for split in ("train", "valid", "test"):
        (tmp_path / "BinarizedMNIST" / f"binarized_mnist_{split}.amat").write_text("0 1 2\n")
    with refused(str(tmp_path / "BinarizedMNIST/binarized_mnist_train.amat"), expected="784"):
        load("binarized-mnist", root=tmp_path)


def test_omniglot_of_the_iwae_paper_is_stored_column_by_column(tmp_path: Path) -> None:
    images = RNG.uniform(size=(33, 28, 28))
    columns = images.transpose(0, 2, 1).reshape(33, 784).T
    savemat(tmp_path / "chardata.mat", {"data": columns[:, :30], "testdata": columns[:, 30:]})
    data = load("omniglot-iwae", root=tmp_path)
    assert [len(s) for s in data.splits.values()] == [27, 3, 3]
    assert np.array_equal(data.test.read()[:, 0], images[30:].astype(np.float32))


def test_omniglot_drawings_have_ink_one(tmp_path: Path) -> None:
    folder = tmp_path / "omniglot-py"
    for part, alphabets in (("background", ("A", "B")), ("evaluation", ("C",))):
        for alphabet in alphabets:
            for number in range(20):
                drawing = np.ones((105, 105), dtype=bool)
                drawing[:53, :53] = False  # ink, black, in the upper left
                path = folder / f"images_{part}" / alphabet / "character01" / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(drawing).save(path)

    def read() -> Any:
        with pytest.MonkeyPatch.context() as patch:
            # the archives' checksums are torchvision's business
            patch.setattr(torchvision().datasets.Omniglot, "_check_integrity", lambda self: True)
            return load("omniglot", root=tmp_path)

    data = read()
    assert [len(s) for s in data.splits.values()] == [36, 4, 20]
    image = data.test.read()[0, 0]
    assert image[:14, :14].all()
    assert image.sum() == 14 * 14
    assert data.test.labels.unique().tolist() == [964]


def test_colour_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = RNG.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    first = last.transpose(0, 3, 1, 2)
    digits = np.arange(20) % 10
    cifar = SimpleNamespace(data=last, targets=digits.tolist(), classes=["a", "b"])
    svhn = SimpleNamespace(data=first, labels=digits)
    monkeypatch.setattr(torchvision().datasets, "CIFAR10", lambda *a, **k: cifar)
    monkeypatch.setattr(torchvision().datasets, "SVHN", lambda *a, **k: svhn)
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "train_32x32.mat").touch()
    for name in ("cifar10", "svhn"):
        data = load(name, root=tmp_path)
        assert [len(s) for s in data.splits.values()] == [18, 2, 20]
        assert np.array_equal(read_all(data.test.x), first)
        assert data.test.labels is not None
        assert data.test.labels.tolist() == digits.tolist()


def test_celeba_is_read_lazily(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "celeba" / "img_align_celeba"
    folder.mkdir(parents=True)
    for number in range(9):
        Image.new("RGB", (178, 218), (number, 0, 255)).save(folder / f"{number}.png")
    parts = {"train": range(5), "valid": range(5, 7), "test": range(7, 9)}
    monkeypatch.setattr(
        torchvision().datasets,
        "CelebA",
        lambda root, split, download: SimpleNamespace(filename=[f"{i}.png" for i in parts[split]]),
    )
    data = load("celeba", root=tmp_path)
    assert data.event_shape == (3, 64, 64)
    assert isinstance(data.train.x, LazyRows)
    assert [len(s) for s in data.splits.values()] == [5, 2, 2]
    assert torch.equal(data.test.read()[:, 0, 5, 5] * 255, torch.tensor([7.0, 8.0]))
    assert load("celeba", root=tmp_path, image_size=32).event_shape == (3, 32, 32)


@pytest.mark.data
def test_mnist() -> None:
    data = load("mnist")
    assert [len(s) for s in data.splits.values()] == [50_000, 10_000, 10_000]
    assert data.train.labels is not None
    assert data.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.test.labels is not None
    assert data.test.labels.bincount().tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    assert data.validation is not None
    pool = torch.cat([read_all(data.train.x), read_all(data.validation.x)])
    # the mean and deviation that everybody normalises by
    assert abs(pool.double().mean() / 255 - 0.1307) < 5e-5
    assert abs(pool.double().std() / 255 - 0.3081) < 5e-5


@pytest.mark.data
def test_fashion_mnist() -> None:
    data = load("fashion-mnist")
    assert [len(s) for s in data.splits.values()] == [50_000, 10_000, 10_000]
    assert data.test.labels is not None
    assert data.test.labels.bincount().tolist() == [1000] * 10
    assert data.train.class_names is not None
    assert data.train.class_names[9] == "Ankle boot"


@pytest.mark.data
def test_binarized_mnist() -> None:
    data = load("binarized-mnist")
    assert [len(s) for s in data.splits.values()] == [50_000, 10_000, 10_000]
    assert data.values.levels == 2
    assert abs(read_all(data.train.x).double().mean() - 0.13) < 0.005
    # the test rows are ordered by class: the first 980 are the zeros, with a hole in the middle,
    # the next 1,135 the ones, with a stroke there
    centre = data.test.read()[:, 0, 12:16, 12:16].mean((1, 2))
    assert centre[:980].mean() < 0.1
    assert centre[980:2115].mean() > 0.6
    # and they are draws from MNIST's test images
    grey = load("mnist").test
    assert grey.labels is not None
    zeros = grey.read()[grey.labels == 0].mean(0)
    deviation = (zeros * (1 - zeros) / 980).sqrt()
    assert ((data.test.read()[:980].mean(0) - zeros).abs() <= 5 * deviation + 1e-3).all()


@pytest.mark.data
def test_omniglot() -> None:
    data = load("omniglot")
    assert [len(s) for s in data.splits.values()] == [17_352, 1_928, 13_180]
    assert data.values.levels == 2
    assert data.num_classes == 1623
    assert data.train.labels is not None
    assert data.test.labels is not None
    assert data.train.labels.max() < 964 <= data.test.labels.min()
    assert (data.test.labels.bincount()[964:] == 20).all()
    assert 0.03 < data.train.read().mean() < 0.2  # ink is one, and there is little of it


# --- tables -------------------------------------------------------------------------------------

ADULT = """age,workclass,capital-gain,income
{}
"""


def test_adult_has_words_without_blanks_and_gaps_where_question_marks_are(tmp_path: Path) -> None:
    (tmp_path / "Adult").mkdir()
    jobs, incomes = [" Private", " ?", " State-gov"], [" <=50K", " >50K"]
    lines = [f"{17 + i % 40},{jobs[i % 3]},{i % 7 * 1000},{incomes[i % 2]}" for i in range(60)]
    (tmp_path / "Adult" / "adult.csv").write_text(ADULT.format("\n".join(lines)))
    data = load("adult", root=tmp_path)
    assert [column.name for column in data.train.columns or ()] == ADULT.split("\n")[0].split(",")
    jobs_known, income = (data.train.columns[k] for k in (1, 3))
    assert jobs_known.categories == ("Private", "State-gov")
    assert income.categories == ("<=50K", ">50K")
    assert sum(split.num_missing for split in data.splits.values()) == 20
    rows = torch.cat([split.x for split in data.splits.values()])
    assert bool(rows[:, 1].isnan().sum() == 20)
    with refused("adult"):
        load("adult", root=tmp_path / "Adult")


@pytest.mark.data
def test_adult() -> None:
    data = load("adult")
    assert sum(map(len, data.splits.values())) == 32_561
    assert len(data.train.columns or ()) == 15
    assert sum(split.num_missing for split in data.splits.values()) == 4_262  # "?" in three columns
    income = data.train.columns[-1]
    share = torch.cat([split.x[:, -1] for split in data.splits.values()]).mean().item()
    assert income.categories == ("<=50K", ">50K")
    assert share == pytest.approx(7_841 / 32_561)


@pytest.mark.parametrize(
    ("name", "rows", "columns", "classes"),
    [
        ("breast_cancer", 569, 31, {"benign": 357, "malignant": 212}),
        ("wine", 178, 14, {"class_0": 59, "class_1": 71, "class_2": 48}),
    ],
)
def test_tables_of_scikit_learn(name: str, rows: int, columns: int, classes: Any) -> None:
    data = load(name)
    assert sum(map(len, data.splits.values())) == rows
    assert len(data.train.columns or ()) == columns
    last, x = data.train.columns[-1], torch.cat([split.x for split in data.splits.values()])
    counts = x[:, -1].long().bincount().tolist()
    assert dict(zip(last.categories or (), counts, strict=True)) == classes
    assert all(" " not in column.name for column in data.train.columns)
