"""Values that are missing from files: NaN for a model that reads them, else refused with their place."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from refused import refused
from stories import RNG

from pyro_vae.data import DataSet, load
from pyro_vae.data.rows import read_all


def with_gaps(shape: tuple[int, ...], values: Any = None) -> Any:
    """Numbers of which a third is missing, and all of the second row."""
    x = RNG.normal(size=shape) * 7 + 3 if values is None else RNG.choice(values, shape)
    x = np.where(RNG.random(shape) < 1 / 3, math.nan, x)
    x[1] = math.nan
    return x


def saved(folder: Path, ending: str, x: Any) -> str:
    path = folder / f"gaps.{ending}"
    frame = pd.DataFrame(x, columns=[f"c{i}" for i in range(x.shape[1])])
    if ending.endswith("csv"):
        gap = {"csv": "", "na.csv": "NA", "nan.csv": "nan", "tab.csv": ""}[ending]
        frame.to_csv(path, index=False, na_rep=gap, sep="\t" if ending == "tab.csv" else ",")
    elif ending == "parquet":
        frame.to_parquet(path)
    elif ending == "npy":
        np.save(path, x)
    else:
        np.savez(path, x=x)
    return str(path)


def in_file_order(data: DataSet) -> Any:
    """All rows as stored, by their places."""
    splits = data.splits.values()
    places = torch.cat([s.places for s in splits if s.places is not None])
    return torch.cat([read_all(s.x) for s in splits])[places.argsort()].numpy()


@pytest.mark.parametrize("ending", ["csv", "na.csv", "nan.csv", "tab.csv", "parquet", "npy", "npz"])
def test_every_file_gives_its_rows_with_nan_in_the_gaps(tmp_path: Path, ending: str) -> None:
    x = with_gaps((40, 3))
    data = load(saved(tmp_path, ending, x), missing=True)
    np.testing.assert_allclose(in_file_order(data), x, rtol=1e-6)
    missing = int(np.isnan(x).sum())
    assert sum(s.num_missing for s in data.splits.values()) == missing
    assert f"{missing} of 120 values missing" in data.describe()
    again = load(saved(tmp_path, ending, x), missing=True)
    assert data.record() == again.record()


def test_places_follow_a_split_and_an_archives_own_splits(tmp_path: Path) -> None:
    x = with_gaps((12, 3))
    path = tmp_path / "own.npz"
    np.savez(path, train=x[:7], valid=x[7:9], test=x[9:])
    data = load(str(path), missing=True)
    np.testing.assert_allclose(in_file_order(data), x, rtol=1e-6)
    some = data.train.subset(torch.tensor([4, 2]))
    assert some.places is not None
    assert some.places.tolist() == [4, 2]


def test_mean_and_scale_are_those_of_what_was_observed(tmp_path: Path) -> None:
    x = with_gaps((400, 3)) * np.array([1, 100, 1e-3])
    train = load(saved(tmp_path, "npy", x), missing=True, standardize=True).train
    assert train.places is not None
    rows = x[train.places]
    assert train.location is not None
    assert train.scale is not None
    np.testing.assert_allclose(train.location, np.nanmean(rows, 0), rtol=1e-5)
    np.testing.assert_allclose(train.scale, np.nanstd(rows, 0), rtol=1e-5)
    seen = train.read()
    np.testing.assert_allclose(np.nanmean(seen, 0), 0, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(seen, 0), 1, rtol=1e-5)
    eps = np.finfo(np.float32).eps  # of numbers whose scale is 1
    scale = np.asarray(train.scale)
    back = np.asarray(train.to_original(seen)) / scale
    np.testing.assert_allclose(back, rows / scale, rtol=4 * eps, atol=4 * eps)
    assert train.values.low <= float(np.nanmin(seen))
    assert float(np.nanmax(seen)) <= train.values.high


@pytest.mark.parametrize(
    ("values", "levels", "standardised"),
    [((0, 1), 2, False), (np.arange(256) / 255, 256, False), (np.arange(5), None, False)],
)
def test_what_the_values_are_is_said_by_those_that_are_there(
    tmp_path: Path, values: Any, levels: int | None, standardised: bool
) -> None:
    x = with_gaps((300, 2), values)
    data = load(saved(tmp_path, "npz", x), missing=True)
    assert data.values.levels == levels
    assert (data.train.scale is not None) == standardised
    seen = data.train.to_original(data.train.read())
    assert data.train.places is not None
    np.testing.assert_allclose(seen, x[data.train.places], rtol=1e-5, atol=1e-6)


def test_a_column_that_is_missing_from_the_test_alone_has_the_others_range(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    x = RNG.normal(size=(20, 2))
    np.savez(path, train=x[:15], test=np.stack([x[15:, 0], np.full(5, math.nan)], 1))
    values = load(str(path), missing=True).values
    assert math.isfinite(values.low)
    assert math.isfinite(values.high)


def test_large_numbers_keep_their_differences_beside_gaps(tmp_path: Path) -> None:
    stamps = 1.7e9 + np.arange(100.0)[:, None] / 8
    stamps[::7] = math.nan
    data = load(saved(tmp_path, "npy", stamps), missing=True)
    assert data.train.x.dtype == torch.float64
    np.testing.assert_array_equal(in_file_order(data), stamps)


def test_truth_values_with_gaps_and_a_first_line_with_gaps(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("on,n\n" + "True,1\nFalse,2\n,3\n" * 6)
    data = load(str(path), missing=True, standardize=False)
    on = in_file_order(data)[:, 0]
    np.testing.assert_array_equal(on, np.array([1, 0, math.nan] * 6))
    path.write_text("NA,2,3\n" + "1,,3\n" * 9)  # no names: a row as any other
    data = load(str(path), missing=True)
    assert len(in_file_order(data)) == 10
    assert data.train.column_names == ("0", "1", "2")


HEAD = "age,kind\n" + "1,2\n3,4\n" * 8


@pytest.mark.parametrize(
    ("text", "options", "subject", "fields", "row"),
    [
        (HEAD + ",3\n", {"missing": False}, "age", {"remedy": "MaskedInput"}, "row 17"),
        (HEAD + "1,inf\n,2\n", {}, "kind", {"expected": "finite"}, "row 17"),
        (HEAD + "1,x\n", {}, "kind", {"expected": "numbers", "remedy": "--missing x"}, "row 17"),
        (
            "a,b\n" + "1,\n2,\n" * 9,
            {"columns": ["a", "b"]},
            "b",
            {"remedy": "leave it out"},
            "(1 such in all)",
        ),
        (
            "a,b\n" + ",0\n,1\n" * 9,
            {"columns": ["a", "b"], "binarize": "fixed"},
            "a",
            {"remedy": "leave it out"},
            "",
        ),
        (
            "a,b\n" + ",0\n.5,1\n.25,1\n" * 6,
            {"binarize": "stochastic"},
            "binarize",
            {"expected": "all values"},
            "",
        ),
    ],
)
def test_what_is_refused_of_tables_with_gaps(
    tmp_path: Path,
    text: str,
    options: dict[str, Any],
    subject: str,
    fields: dict[str, str],
    row: str,
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with refused(subject, **fields) as caught:
        load(str(path), **{"missing": True, **options})
    assert row in str(caught.value)
    if fields.get("expected") == "finite":
        assert "missing=True" not in str(caught.value)  # which is no remedy for an infinity


def test_what_is_refused_of_arrays_with_gaps(tmp_path: Path) -> None:
    x = with_gaps((20, 3))
    path = saved(tmp_path, "npy", x)
    with refused(path, expected="finite", remedy="missing=True"):
        load(path)
    x[3, 1] = math.inf
    with refused(path, expected="finite") as caught:
        load(saved(tmp_path, "npy", x), missing=True)
    assert "inf at index (3, 1) (1 such" in str(caught.value)
    assert (caught.value.remedy or "").endswith("fill them in")
    x[:, 1:] = math.nan
    path = saved(tmp_path, "npz", x)
    with refused(path, remedy="leave it out") as caught:
        load(path, missing=True)
    assert "index (1,) (2 such in all)" in str(caught.value)
