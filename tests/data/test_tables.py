"""Tables: what is read, and what is said of tables that do not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from refused import refused

from pyro_vae.data import DataSet, load

FRAME = pd.DataFrame(
    {
        "age": np.arange(20.0),
        "height": np.linspace(1.5, 2.0, 20),
        "kind": ["cat", "dog"] * 10,
    }
)


def _csv(folder: Path, text: str) -> str:
    path = folder / "table.csv"
    path.write_text(text)
    return str(path)


def _rows(data: DataSet) -> torch.Tensor:
    """All rows in the order of their first column."""
    rows = torch.cat([s.to_original(s.read()) for s in data.splits.values()])
    return rows[rows[:, 0].argsort()]


@pytest.mark.parametrize("ending", ["csv", "semicolon.csv", "tab.csv", "parquet"])
def test_formats_give_the_same_rows(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"table.{ending}"
    if ending == "parquet":
        FRAME.to_parquet(path)
    else:
        separator = {"csv": ",", "semicolon.csv": ";", "tab.csv": "\t"}[ending]
        FRAME.to_csv(path, index=False, sep=separator)
    data = load(str(path), label="kind")
    torch.testing.assert_close(
        _rows(data), torch.tensor(FRAME[["age", "height"]].to_numpy()).float()
    )
    assert data.train.column_names == ("age", "height")
    assert data.train.class_names == ("cat", "dog")
    for split in data.splits.values():
        assert split.labels is not None
        ages = split.to_original(split.read())[:, 0].round().long()
        assert torch.equal(split.labels, ages % 2)


@pytest.mark.parametrize(
    ("first", "columns", "rows"),
    [
        ("a,b,c\n", ("a", "b", "c"), 5),
        ("1.5,2,3e1\n", ("0", "1", "2"), 6),
        ("\n1.5,2,3\n", ("0", "1", "2"), 6),
        ("0,1,2\n", ("0", "1", "2"), 5),  # as pandas writes columns without names
        ('"a","b, with a comma","c"\n', ("a", "b, with a comma", "c"), 5),
        ("\ufeffa,b,c\r\n", ("a", "b", "c"), 5),
    ],
)
def test_no_row_is_taken_for_names_nor_names_for_a_row(
    tmp_path: Path, first: str, columns: tuple[str, ...], rows: int
) -> None:
    data = load(_csv(tmp_path, first + "4,5,6\n" * 2 + "5,6,8\n" * 3))
    assert data.train.column_names == columns
    assert sum(len(s) for s in data.splits.values()) == rows


def test_truth_values_and_nullable_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame(
        {"on": [True, False] * 5, "n": pd.array([1, 0] * 5, dtype="Int64"), "y": [3, 1] * 5}
    ).to_parquet(path)
    data = load(str(path), label="y")
    assert data.values.levels == 2
    assert data.train.class_names == ("1", "3")
    assert data.num_classes == 2
    assert data.train.labels is not None
    assert torch.equal(data.train.labels, data.train.read()[:, 0].long())


def test_labels_that_were_not_seen_are_no_class(tmp_path: Path) -> None:
    data = load(_csv(tmp_path, "a,kind\n" + "-1,-1\n0,0\n1,1\n" * 5), label="kind")
    assert data.num_classes == 2
    for split in data.splits.values():
        assert split.labels is not None
        assert torch.equal(split.labels, split.to_original(split.read())[:, 0].round().long())


HEAD = "age,kind\n"
GOOD = "1,2\n" * 16


FILE = "table.csv"


@pytest.mark.parametrize(
    ("text", "options", "subject", "text_of_error"),
    [
        ("", {}, FILE, "is empty"),
        ("\n\n", {}, FILE, "not a table"),
        (HEAD, {}, FILE, "at least one row"),
        (HEAD + "1,2\n", {}, "rows", "(1)"),
        (HEAD + GOOD + ",3\n1,2\n", {}, "age", "row 17"),
        (HEAD + GOOD + "1,inf\n1,2\n", {}, "kind", "an infinity in row 17"),
        (HEAD + GOOD + "1,2,3\n", {}, FILE, "Expected 2 fields in line 18"),
        (HEAD + GOOD + "1,cat\n", {}, "kind", "'cat' in row 17 (1 such cells)"),
        (HEAD + GOOD + "1,cat\n", {}, "kind", "--missing cat if"),
        (HEAD + GOOD, {"kinds": {"kin": "real"}}, "kin", "Did you mean 'kind'"),
        (HEAD + GOOD, {"kinds": {"kind": "rael"}}, "kind", "Did you mean 'real'"),
        (HEAD + GOOD + "1,-1\n", {"kinds": {"kind": "count"}}, "kind", "whole numbers from 0"),
        (HEAD + GOOD + "1,3\n1,4\n", {"kinds": {"kind": "binary"}}, "kind", "3 different values"),
        (HEAD + GOOD, {"label": "kin"}, "kin", "Did you mean 'kind'"),
        (HEAD + GOOD + "1,2.5\n", {"label": "kind"}, f"{FILE}, column 'kind'", "2.5 at row 17"),
        ("kind\n" + "1\n" * 9, {"label": "kind"}, FILE, "besides the label"),
        ("id\n1\n2\n3\n", {"id": "id"}, FILE, "besides the label"),
        (HEAD + GOOD, {"columns": []}, FILE, "besides the label"),
        ("0,1\n" * 9, {}, FILE, "--header true"),
        (HEAD + GOOD, {"image_size": 3}, "image_size", "folders"),
    ],
)
def test_tables_that_do_not_fit(
    tmp_path: Path, text: str, options: dict[str, Any], subject: str, text_of_error: str
) -> None:
    path = _csv(tmp_path, text)
    with refused(subject.replace(FILE, path)) as caught:
        load(path, **options)
    assert text_of_error in str(caught.value)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    for name, content, fields in (
        ("latin.csv", "a\nä\n".encode("latin-1"), {"remedy": "UTF-8"}),
        ("zeros.csv", b"\x00" * 64, {}),
        ("noise.parquet", b"not a table", {"expected": "a Parquet file"}),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with refused(str(path), **fields):
            load(str(path))
