"""What ``load`` does to values and rows, whatever they came from."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refused import refused
from stories import RNG

from pyro_vae.data import DataSet, available, load
from pyro_vae.data.rows import read_all


def _save(folder: Path, array: Any) -> str:
    np.save(folder / "a.npy", array)
    return str(folder / "a.npy")


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Two columns of unlike scale and one that is constant."""
    return _save(tmp_path, RNG.normal([5.0, -300.0, 0.1], [2.0, 40.0, 0.0], (1000, 3)))


def test_digits_are_all_there_once() -> None:
    data = load("digits")
    assert [len(s) for s in data.splits.values()] == [1397, 200, 200]
    assert data.values.levels == 17
    assert data.train.x.dtype == torch.uint8
    rows = torch.cat([read_all(s.x) for s in data.splits.values()])
    from sklearn.datasets import load_digits

    known = load_digits()
    assert sorted(map(bytes, rows.flatten(1).numpy())) == sorted(
        map(bytes, known.data.astype(np.uint8))
    )
    sixteenths = data.train.read() * 16
    assert torch.equal(sixteenths, sixteenths.round())
    by_pixels = {
        bytes(x): int(y) for x, y in zip(known.data.astype(np.uint8), known.target, strict=True)
    }
    for split in data.splits.values():
        assert split.labels is not None
        assert [
            by_pixels[bytes(row)] for row in read_all(split.x).flatten(1).numpy()
        ] == split.labels.tolist()


def test_digits_split_is_the_same_for_every_seed_and_a_files_is_not(table: str) -> None:
    assert load("digits").test.fingerprint == load("digits", seed=7).test.fingerprint
    assert load(table, seed=1).test.fingerprint == load(table, seed=1).test.fingerprint
    assert load(table, seed=1).test.fingerprint != load(table, seed=2).test.fingerprint


@pytest.mark.parametrize(
    ("validation", "sizes"),
    [(0, [1597, 200]), (0.0, [1597, 200]), (1, [1596, 1, 200]), (0.25, [1198, 399, 200])],
)
def test_validation_by_number_and_fraction(validation: float, sizes: list[int]) -> None:
    data = load("digits", validation=validation)
    assert [len(s) for s in data.splits.values()] == sizes
    assert (data.validation is None) == (len(sizes) == 2)


@pytest.mark.parametrize("validation", [-1, 1.0, 1.5, 1597, float("nan"), -0.1])
def test_validation_that_does_not_fit(validation: float) -> None:
    with refused("validation", expected="below 1597"):
        load("digits", validation=validation)


def test_a_table_comes_as_it_is_in_the_file(table: str) -> None:
    plain = load(table)
    assert "centred" not in plain.describe()
    assert "standardised" not in plain.describe()
    assert torch.equal(plain.train.read(), read_all(plain.train.x))
    seconds = 1.7e9 + 3 * RNG.normal(size=(50, 2))  # where float32 knows minutes
    path = Path(table).with_name("times.npy")
    np.save(path, seconds)
    times = load(str(path))
    assert "centred at the training rows' mean" in times.describe()
    seen = times.train.read()
    assert abs(seen.mean()) < 1e-5
    torch.testing.assert_close(seen.double().std(0), times.train.x.std(0), rtol=1e-6, atol=0)


def test_standardised_by_the_training_rows(table: str) -> None:
    data = load(table, standardize=True)
    assert "standardised" in data.describe()
    seen = data.train.read()
    torch.testing.assert_close(seen.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]))
    # 100 test rows: their mean is off by a standard error of 1/10, their deviation by about 7%
    others = data.test.read()[:, :2]
    assert 0 < others.mean(0).abs().max() < 0.4
    assert (others.std(0) - 1).abs().max() < 0.3
    assert data.train.scale is not None
    assert data.train.scale[2] == 1
    for split in data.splits.values():
        torch.testing.assert_close(split.to_original(split.read()), split.x)
    everything = torch.cat([s.read() for s in data.splits.values()])
    assert data.values.low == everything.min()
    assert data.values.high == everything.max()


def test_standardising_can_be_refused_and_asked_for(table: str, tmp_path: Path) -> None:
    plain = load(table, standardize=False)
    assert plain.train.location is None
    assert torch.equal(plain.train.read(), read_all(plain.train.x))
    pixels = load("digits", standardize=True)
    assert pixels.values.levels is None
    assert pixels.train.x.dtype == torch.uint8
    assert pixels.train.read().mean().abs() < 1e-6
    torch.testing.assert_close(
        pixels.test.to_original(pixels.test.read()), load("digits").test.read(), atol=1e-6, rtol=0
    )
    assert load(_save(tmp_path, RNG.uniform(size=(50, 2)))).train.location is None


def test_tiny_and_huge_values(tmp_path: Path) -> None:
    tiny = load(_save(tmp_path, RNG.normal(size=(50, 2)) * 1e-200))
    assert tiny.train.read().isfinite().all()
    with refused("values", remedy="scale them down"):
        load(_save(tmp_path, RNG.normal(size=(50, 2)) * 1e300))


def test_threshold_is_above_a_half() -> None:
    grey, binary = load("digits"), load("digits", binarize="threshold")
    assert binary.values.levels == 2
    assert "1 where the grey value is above 1/2" in binary.describe()
    for one, other in zip(grey.splits.values(), binary.splits.values(), strict=True):
        assert torch.equal(other.read(), (one.read() > 0.5).float())
        assert other.x.dtype == torch.uint8


def _agrees_with_probabilities(draws: torch.Tensor, grey: torch.Tensor) -> bool:
    """Whether 0/1 draws are what their probabilities let one expect, group by group."""
    assert ((draws == 0) | (draws == 1)).all()
    assert torch.equal(draws[grey == 0], grey[grey == 0])
    assert torch.equal(draws[grey == 1], grey[grey == 1])
    for p in grey.unique():
        hits = draws[grey == p]
        deviation = (p * (1 - p) / len(hits)).sqrt()
        if (hits.mean() - p).abs() > 4.5 * deviation:
            return False
    return True


def test_fixed_draws_are_bernoulli_and_depend_on_seed_and_split_alone() -> None:
    grey = load("digits")
    fixed = load("digits", binarize="fixed", seed=3)
    for name, split in fixed.splits.items():
        assert not split.stochastic
        assert torch.equal(split.read(), split.read())
        assert _agrees_with_probabilities(split.read(), grey.splits[name].read())
    again, other = (load("digits", binarize="fixed", seed=seed) for seed in (3, 4))
    assert fixed.record() == again.record()
    assert not torch.equal(fixed.test.read(), other.test.read())
    # another validation set leaves the test draws alone
    assert torch.equal(
        load("digits", binarize="fixed", seed=3, validation=0).test.read(), fixed.test.read()
    )


def test_stochastic_draws_anew_for_training_and_once_for_the_rest() -> None:
    grey = load("digits")
    data = load("digits", binarize="stochastic", seed=3)
    assert data.values.levels == 2
    assert data.train.stochastic
    torch.manual_seed(0)
    first, second = data.train.read(), data.train.read()
    assert _agrees_with_probabilities(first, grey.train.read())
    assert not torch.equal(first, second)
    p = grey.train.read()
    expected, variance = (2 * p * (1 - p)).mean(), (2 * p * (1 - p) * (1 - 2 * p * (1 - p))).mean()
    error = (variance / p.numel()).sqrt()
    assert ((first != second).float().mean() - expected).abs() < 4.5 * error
    torch.manual_seed(0)
    assert torch.equal(data.train.read(), first)
    for split in (data.validation, data.test):
        assert split is not None
        assert not split.stochastic
        assert torch.equal(split.read(), split.read())
    assert torch.equal(data.test.read(), load("digits", binarize="fixed", seed=3).test.read())


def test_binarising_what_is_binary_changes_nothing_and_what_is_not_in_range_is_refused(
    tmp_path: Path, table: str
) -> None:
    path = _save(tmp_path / "..", RNG.integers(0, 2, (40, 3)))
    assert torch.equal(load(path, binarize="stochastic").train.read(), load(path).train.read())
    assert not load(path, binarize="stochastic").train.stochastic
    with refused("binarize", expected="[0, 1]"):
        load(table, binarize="threshold")


def test_real_values_in_the_unit_interval_can_be_binarised(tmp_path: Path) -> None:
    path = _save(tmp_path, RNG.uniform(size=(300, 20)))
    drawn = load(path, binarize="fixed")
    p, draws = load(path).train.read(), drawn.train.read()
    for low in torch.arange(0, 1, 0.1):
        here = (low <= p) & (p < low + 0.1)
        deviation = (p[here] * (1 - p[here])).sum().sqrt()
        assert (draws[here] - p[here]).sum().abs() < 4.5 * deviation


def test_fingerprints_see_every_bit_and_every_treatment(tmp_path: Path) -> None:
    base = RNG.integers(0, 256, (60, 4, 5), dtype=np.uint8)

    def of(array: Any = base, **options: Any) -> str:
        return load(_save(tmp_path, array), **options).train.fingerprint

    changed = base ^ np.uint8(1)
    other_type = base + np.float32(0.5)
    prints = [
        of(),
        of(changed),
        of(other_type),
        of(base.reshape(60, 5, 4)),
        of(pixels=False),
        of(seed=1),
        of(validation=0),
        of(standardize=True),
        of(binarize="threshold"),
        of(binarize="stochastic"),
        of(binarize="fixed"),
        of(binarize="fixed", seed=1),
    ]
    assert len(set(prints)) == len(prints)
    assert all(len(p) == 64 for p in prints)
    assert of() == prints[0]


def test_fingerprint_of_digits_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "Generator", type(torch.default_generator))  # no `--seed`
    record = load("digits").record()
    assert json.loads(json.dumps(record)) == record
    assert record["sizes"] == {"train": 1397, "validation": 200, "test": 200}
    assert record["values"] == {"low": 0.0, "high": 1.0, "levels": 17, "is_whole": False}
    assert record["fingerprints"]["test"].startswith("546057ef")


@pytest.mark.parametrize(
    ("name", "options", "subject", "fields"),
    [
        ("digit", {}, "digit", {"remedy": "'digits'"}),
        ("zzz", {}, "zzz", {"expected": "pyro-vae data"}),
        ("", {}, "", {"expected": "pyro-vae data"}),
        ("MNIST2", {}, "MNIST2", {"remedy": "'mnist'"}),
        ("digits", {"seed": 2**64}, "seed", {"expected": "64 bits"}),
        ("digits", {"binarize": "treshold"}, "binarize", {"remedy": "'threshold'"}),
        ("digits", {"binarize": "fixed", "standardize": True}, "standardize", {"remedy": "one"}),
        ("digits", {"label": "y"}, "label", {"expected": "tables and archives"}),
        ("digits", {"image_size": 16}, "image_size", {"expected": "folders"}),
    ],
)
def test_wrong_names_and_options(
    name: str, options: dict[str, Any], subject: str, fields: dict[str, str]
) -> None:
    with refused(subject, **fields):
        load(name, **options)


def test_nothing_is_fetched_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYRO_VAE_DATA", raising=False)
    with refused("mnist", remedy="pass --download") as caught:
        load("mnist")
    assert "--data_root" in str(caught.value)
    with refused("mnist", remedy="--data_root"):
        load("mnist", download=True)
    monkeypatch.setenv("PYRO_VAE_DATA", str(tmp_path))
    with refused("mnist", remedy="--download") as caught:
        load("mnist")
    assert str(tmp_path) in str(caught.value)
    with refused("binarized-mnist", remedy="put BinarizedMNIST"):
        load("binarized-mnist", download=True)
    assert not list(tmp_path.iterdir())


def test_available(tmp_path: Path) -> None:
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").touch()
    status = {entry.name: entry.status for entry in available(tmp_path)}
    assert status["digits"] == "built in"
    assert status["mnist"] == f"there, in {tmp_path}"
    assert status["celeba"] == "not there; --download fetches it"
    assert status["omniglot-iwae"] == f"not there; put chardata.mat into {tmp_path}"


def test_importing_the_package_imports_no_reader() -> None:
    code = (
        "import sys, pyro_vae.data; "
        "readers = 'torchvision', 'pandas', 'sklearn', 'scipy.io', 'PIL'; "
        "print([name for name in readers if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_splits_give_labels_only_where_there_are_some(table: str) -> None:
    data: DataSet = load(table)
    with refused("labels", remedy="label="):
        data.train.tensors(2)
    with refused("columns", expected="2 for x and labels"):
        load("digits").train.tensors(3)
    assert load("digits").num_classes == 10
    assert data.num_classes is None


def test_labels_can_be_kept_of_a_few_rows():
    digits = load("digits")
    few = digits.with_labels_of(100, seed=3)
    seen = few.train.labels >= 0
    assert int(seen.sum()) == 100
    assert torch.equal(few.train.labels[seen], digits.train.labels[seen])
    assert (few.train.labels[~seen] == -1).all()
    assert torch.equal(few.test.labels, digits.test.labels)
    assert few.num_classes == 10
    assert "labels of 100 training rows" in few.describe()
    assert few.record() == digits.with_labels_of(100, seed=3).record()
    assert few.record() != digits.with_labels_of(100, seed=4).record()
    with refused("labels", expected="from 0 to 1397"):
        digits.with_labels_of(1398)
    with refused("labels", remedy="--label"):
        replace(digits, train=replace(digits.train, labels=None)).with_labels_of(3)


def test_a_class_without_a_training_row_is_said(tmp_path: Path) -> None:
    rows = "".join(
        f"{i}.5,{'rare' if i == 7 else 'common' if i % 2 else 'usual'}\n" for i in range(40)
    )
    (tmp_path / "t.csv").write_text("a,kind\n" + rows)
    said = "no training row has the class 'rare'"
    for seed in range(200):
        data = load(str(tmp_path / "t.csv"), label="kind", seed=seed)
        labels = data.train.labels
        assert labels is not None
        assert (said in data.describe()) == (1 not in labels)
        if 1 not in labels:
            return
    pytest.fail("200 splits all had the row among those of training")


def test_counts_as_labels_are_said_to_be_classes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i}.5,{i**2 % 50}\n" for i in range(40)))
    data = load(str(tmp_path / "t.csv"), label="y")
    assert "'y', from 0 to 49, is taken for 22 classes, 0 to 21 (--arguments y=y" in data.describe()


def test_labels_are_kept_of_rows_that_have_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "a,y\n" + "".join(f"{i}.5,{'' if i % 2 else i % 3}\n" for i in range(60))
    )
    data = load(str(tmp_path / "t.csv"), label="y")
    assert data.train.labels is not None
    there = int((data.train.labels >= 0).sum())
    assert 0 < there < len(data.train)
    kept = data.with_labels_of(there - 1).train.labels
    assert kept is not None
    assert (kept >= 0).sum() == there - 1
    with refused("labels", expected=f"from 0 to {there}"):
        data.with_labels_of(there + 1)


@pytest.mark.parametrize("where", ["train", "test"])
def test_whole_numbers_are_whole_in_all_splits(tmp_path: Path, where: str) -> None:
    arrays = {"train": np.arange(60.0).reshape(20, 3), "test": np.arange(9.0).reshape(3, 3)}
    np.savez(tmp_path / "a.npz", **arrays)
    assert str(load(str(tmp_path / "a.npz")).values) == "whole numbers in [0, 59]"
    arrays[where][1, 1] = 0.5
    np.savez(tmp_path / "a.npz", **arrays)
    assert not load(str(tmp_path / "a.npz")).values.is_whole


def test_shares_in_fifths_are_no_grey_levels(tmp_path: Path) -> None:
    fifths = np.arange(60.0).reshape(20, 3) % 6 / 5  # each is a k/255
    np.save(tmp_path / "a.npy", fifths)
    np.savetxt(tmp_path / "t.csv", fifths, delimiter=",", header="a,b,c", comments="")
    for name in ("a.npy", "t.csv"):
        data = load(str(tmp_path / name))
        assert data.values.levels is None
        assert data.train.x.dtype != torch.uint8
    np.save(tmp_path / "grey.npy", np.arange(60.0).reshape(20, 3) * 4 / 255)
    assert load(str(tmp_path / "grey.npy")).values.levels == 256


def test_long_numbers_as_labels_stay_apart(tmp_path: Path) -> None:
    names = [2**60, 2**60 + 1, 2**60 + 2]  # alike as floats
    rows = "".join(f"{i}.5,{names[i % 3]}\n" for i in range(60))
    (tmp_path / "t.csv").write_text("a,y\n" + rows)
    data = load(str(tmp_path / "t.csv"), label="y")
    assert data.train.class_names == tuple(map(str, names))


def test_start_up_waits_for_no_library_that_only_some_files_need() -> None:
    def imported(what: str) -> set[str]:
        code = f"import sys, {what}; print(*sys.modules)"
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, text=True
        )
        return set(ran.stdout.split())

    needless = imported("torch, pyro, pyro_vae.data") - imported("torch, pyro")
    assert not needless & {"scipy", "pandas", "sklearn", "pyarrow", "h5py"}
