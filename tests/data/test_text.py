"""Tables of text as people have them: what is read, cell by cell, and what is said of it."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from in_order import ids, rows
from refused import refused

from pyro_vae.data import load

N = 30
A, B = np.arange(N) % 7 + 0.25, np.arange(N)[::-1]  # a column with decimals, one of whole numbers
COMMA = [f"{a:.2f}".replace(".", ",") for a in A]


def written(folder: Path, text: str, name: str = "t.csv", encoding: str = "utf-8") -> str:
    path = folder / name
    content = text.encode(encoding)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return str(path)


def lines(*columns: Any, separator: str = ",", header: str | None = None) -> str:
    body = [separator.join(map(str, row)) for row in zip(*columns, strict=True)]
    return "\n".join([header, *body] if header is not None else body) + "\n"


SEPARATED = "cells are set apart by {} (--separator)"
DECIMAL = "cells such as 42,78 are numbers with a decimal comma (--decimal)"
NAMES = "the first line names the columns (--header false: it is a row)"
ROW = "the first line is a row, and the columns are 0, 1, ... (--header true: it names them)"
NAMELESS = (
    "the column without a name names the rows and is not read (unless --columns has 'Unnamed: 0')"
)


def left_out(name: str) -> str:
    return f"column {name!r} names the rows and is not read (unless --columns has {name!r})"


WORDS = [f"r{i}" for i in range(N)]
NUMBERS = [str(i + 1) for i in range(N)]
QUOTED = [f'"{number}"' for number in NUMBERS]
GAPS = [3 * i + 5 for i in range(N)]  # a pandas index of which some rows were dropped

FILES: dict[str, tuple[str, str, tuple[str, ...], list[str] | None, list[str]]] = {
    "plain": ("t.csv", lines(A, B, header="a,b"), ("a", "b"), None, []),
    "a German spreadsheet": (
        "t.csv",
        "\ufeff" + lines(COMMA, B, separator=";", header="Größe;Maß").replace("\n", "\r\n"),
        ("Größe", "Maß"),
        None,
        [SEPARATED.format("a semicolon"), DECIMAL],
    ),
    "the same without names": (
        "t.csv",
        lines(COMMA, B, separator=";"),
        ("0", "1"),
        None,
        [SEPARATED.format("a semicolon"), ROW, DECIMAL],
    ),
    "decimal commas in quotes": (
        "t.csv",
        lines([f'"{c}"' for c in COMMA], B, header="a,b"),
        ("a", "b"),
        None,
        [DECIMAL],
    ),
    "tabs": ("t.tsv", lines(A, B, separator="\t", header="a\tb"), ("a", "b"), None, []),
    "tabs by another name": (
        "t.csv",
        lines(A, B, separator="\t", header="a\tb"),
        ("a", "b"),
        None,
        [SEPARATED.format("a tab")],
    ),
    "packed": ("t.tsv.gz", lines(A, B, separator="\t", header="a\tb"), ("a", "b"), None, []),
    "packed commas": ("t.csv.gz", lines(A, B, header="a,b"), ("a", "b"), None, []),
    "blanks": (
        "t.txt",
        lines([f"   {a:8.3f}" for a in A], [f"  {b}  " for b in B], separator=" ", header="a b"),
        ("a", "b"),
        None,
        [SEPARATED.format("blanks")],
    ),
    "as numpy.savetxt writes it": (
        "t.txt",
        lines(A, B, separator=" ", header="# a b"),
        ("a", "b"),
        None,
        [SEPARATED.format("blanks")],
    ),
    "the same with commas": ("t.csv", lines(A, B, header="# a,b"), ("a", "b"), None, []),
    "commas in a .txt": (
        "t.txt",
        lines(A, B, header="a,b"),
        ("a", "b"),
        None,
        [SEPARATED.format("a comma")],
    ),
    "bars": (
        "t.csv",
        lines(A, B, separator="|", header="a|b"),
        ("a", "b"),
        None,
        [SEPARATED.format("a bar")],
    ),
    "R's write.csv": (
        "t.csv",
        lines(QUOTED, A, B, header='"","a","b"'),
        ("a", "b"),
        NUMBERS,
        [NAMELESS],
    ),
    "R's write.table": (
        "t.txt",
        lines(QUOTED, A, B, separator=" ", header='"a" "b"'),
        ("a", "b"),
        NUMBERS,
        [SEPARATED.format("blanks"), NAMELESS],
    ),
    "the same with words and tabs": (
        "t.tsv",
        lines(WORDS, A, B, separator="\t", header="a\tb"),
        ("a", "b"),
        WORDS,
        [NAMELESS],
    ),
    "a pandas subset": (
        "t.csv",
        lines(GAPS, A, B, header=",a,b"),
        ("a", "b"),
        list(map(str, GAPS)),
        [NAMELESS],
    ),
    "a sequencer's counts": (
        "t.tsv.gz",
        lines(WORDS, A, B, separator="\t", header="gene\ts1\ts2"),
        ("s1", "s2"),
        WORDS,
        [left_out("gene")],
    ),
    "passengers": (
        "t.csv",
        lines(A, GAPS, B, header="a,PassengerId,b"),
        ("a", "b"),
        list(map(str, GAPS)),
        [left_out("PassengerId")],
    ),
    "separators at the ends of lines": (
        "t.csv",
        lines(A, B, [""] * N, header="a,b"),
        ("a", "b"),
        None,
        [],
    ),
    "columns of nothing": (
        "t.csv",
        lines(A, B, [""] * N, [""] * N, header="a,b,,"),
        ("a", "b"),
        None,
        ["2 columns without a name and without a value are left out"],
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_files_of_other_programs(tmp_path: Path, what: str) -> None:
    name, text, columns, names, said = FILES[what]
    data = load(written(tmp_path, text, name))
    assert data.train.column_names == columns
    np.testing.assert_array_equal(rows(data), np.stack([A, B], 1).astype(np.float32))
    assert ids(data) == names
    assert list(data.remarks) == said


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_marks_of_an_encoding(tmp_path: Path, encoding: str) -> None:
    text = lines(A, B, separator="\t", header="größe\tb")
    data = load(written(tmp_path, text, "t.txt", encoding))
    assert data.train.column_names == ("größe", "b")
    np.testing.assert_array_equal(rows(data)[:, 1], B)


def test_one_column_of_decimal_commas_is_one_column(tmp_path: Path) -> None:
    data = load(written(tmp_path, lines(COMMA, header="x")))
    assert data.train.column_names == ("x",)
    np.testing.assert_array_equal(rows(data)[:, 0], A.astype(np.float32))
    assert data.remarks == (DECIMAL,)
    r = load(
        written(tmp_path, lines(NUMBERS, B, header="x"))
    )  # and rows with their numbers are two
    np.testing.assert_array_equal(rows(r)[:, 0], B)
    assert ids(r) == NUMBERS


def test_decimal_commas_far_down_the_file(tmp_path: Path) -> None:
    whole = ["7"] * 500
    data = load(
        written(tmp_path, lines([*whole, "1,5"], [*whole, "2,25"], separator=";", header="a;b"))
    )
    assert rows(data)[-1].tolist() == [1.5, 2.25]
    assert data.remarks == (SEPARATED.format("a semicolon"), DECIMAL)


BELOW = [[i % 5, i % 7, i % 3] for i in range(N)]
TABLE = lines(*zip(*BELOW, strict=True))


@pytest.mark.parametrize(
    ("text", "columns", "first", "said"),
    [
        ("2019,2020,2021\n" + TABLE, ("2019", "2020", "2021"), [0, 0, 0], [NAMES]),
        ("7157,1017,672\n" + TABLE, ("7157", "1017", "672"), [0, 0, 0], [NAMES]),
        ("0,1,2\n" + TABLE, ("0", "1", "2"), [0, 0, 0], [NAMES]),
        ("3,1,2\n" + TABLE, ("0", "1", "2"), [3, 1, 2], [ROW]),
        ("1,2,3\n4,5,6\n7,8,9\n" * 5, ("0", "1", "2"), [1, 2, 3], [ROW]),
        ("1.5,2,3\n" + TABLE, ("0", "1", "2"), [1.5, 2, 3], [ROW]),
        ("5,6,7\n" + "1.5,2.5,3.5\n" * 9, ("5", "6", "7"), [1.5, 2.5, 3.5], [NAMES]),
        (
            lines(range(5), header=None).replace("\n", ",")[:-1] + "\n" + "1,0,2,1,1\n" * 9,
            ("0", "1", "2", "3", "4"),
            [1, 0, 2, 1, 1],
            [NAMES],
        ),
        ("gene,1990,2000\n" + "G,1,2\nH,2,3\n" * 9, ("gene", "1990", "2000"), [0, 1, 2], [NAMES]),
        ("5.1,3.5,setosa\n" + "4.9,3.0,virginica\n" * 9, ("0", "1", "2"), [5.1, 3.5, 0], [ROW]),
        ("u,v,2\n" + "u,w,3\n" * 9, ("0", "1", "2"), [0, 0, 2], [ROW]),
        ("u,v\n" + "a,c\nb,c\n" * 9, ("u", "v"), [0, 0], [NAMES]),
        (",0\n" + "5,1\n7,3\n9,4\n", ("0",), [1], [NAMES, NAMELESS]),
    ],
)
def test_a_first_line_of_numbers(
    tmp_path: Path, text: str, columns: tuple[str, ...], first: list[float], said: list[str]
) -> None:
    data = load(written(tmp_path, text))
    assert data.train.column_names == columns
    np.testing.assert_allclose(rows(data)[0], first, rtol=1e-6)
    assert list(data.remarks) == said


def test_a_person_overrules(tmp_path: Path) -> None:
    years = written(tmp_path, "2019,2020,2021\n" + TABLE)
    data = load(years, header=False)
    assert rows(data)[0].tolist() == [2019, 2020, 2021]
    assert not data.remarks
    row = load(written(tmp_path, "3,1,2\n" + TABLE), header=True)
    assert row.train.column_names == ("3", "1", "2")
    doubtful = written(tmp_path, "0,1\n" * 9)
    with refused(doubtful, remedy="--header false"):
        load(doubtful)
    assert len(rows(load(doubtful, header=False))) == 9
    assert len(rows(load(doubtful, header=True))) == 8
    for word in ("semicolon", ";"):
        comma = load(
            written(tmp_path, "a;b\n" + "1,234;5\n2,5;5\n" * 9), separator=word, decimal=","
        )
        assert rows(comma)[0].tolist() == [np.float32(1.234), 5]
        assert not comma.remarks
    cells = load(written(tmp_path, "a b;c\n" + "1 2;3\n4 5;6\n" * 9), separator="space")
    assert cells.train.column_names == ("a", "b;c")


def test_columns_by_name_and_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, lines(NUMBERS, A, B, header=",a,b"))
    data = load(path, columns=["b", "Unnamed: 0"])
    assert data.train.column_names == ("b", "Unnamed: 0")
    np.testing.assert_array_equal(rows(data), np.stack([B, np.arange(N) + 1], 1))
    assert not data.remarks
    assert ids(data) is None
    some = load(path, columns=["b"])
    assert ids(some) == NUMBERS
    for options, subject, fields in (
        ({"columns": ["b", "aa"]}, "aa", {"remedy": "'a'"}),
        ({"columns": ["b", "b"]}, "b", {"remedy": "once"}),
        ({"id": "x"}, "x", {"expected": "a, b"}),
        ({"id": "a", "columns": ["a", "b"]}, "a", {"remedy": "one of them"}),
    ):
        with refused(subject, **fields):
            load(path, **options)  # type: ignore[arg-type]


def test_the_names_of_rows_go_with_them(tmp_path: Path) -> None:
    path = written(tmp_path, lines(A, B, WORDS, header="a,b,who"))
    data = load(path, id="who")
    assert data.train.id_name == "who"
    assert data.train.column_names == ("a", "b")
    assert ids(data) == WORDS
    assert not data.remarks
    some = data.train.subset(torch.tensor([3, 1]))
    assert data.train.ids is not None
    assert some.ids == (data.train.ids[3], data.train.ids[1])
    number = load(path, id="b")
    assert ids(number) == [str(b) for b in B]
    assert number.train.column_names == ("a",)


def test_a_column_that_looks_like_an_id_and_is_none(tmp_path: Path) -> None:
    kept = load(written(tmp_path, lines([1, 2] * 15, A, header="id,a")))
    assert kept.train.column_names == ("id", "a")
    for name in ("grid", "paid", "valid"):
        assert load(written(tmp_path, lines(A, B, header=f"a,{name}"))).train.column_names == (
            "a",
            name,
        )
    counting = load(written(tmp_path, lines(range(N), A, header="time,a")))
    assert counting.train.column_names == ("time", "a")
    said = "column 'time' counts the rows and is read like any other (--id time if it names them)"
    assert counting.remarks == (said,)
    alone = load(written(tmp_path, lines(range(N), header="id")))
    assert alone.train.column_names == ("id",)
    dates = [f"2020-01-{i + 1:02}" for i in range(N)]
    assert load(written(tmp_path, lines(dates, A, header="day,a"))).train.column_names == (
        "day",
        "a",
    )


def test_words_called_id_name_the_rows_however_many_they_are(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    rows = [f"p{i:03d},{i % 2},{(i // 2) % 2}" for i in range(60)]
    path.write_text("\n".join(["id,q1,q2", *rows]))
    data = load(path)
    assert [column.name for column in data.train.columns] == ["q1", "q2"]
    assert data.train.id_name == "id"


@pytest.mark.parametrize("name", ["patient_id", "Patient ID", "PATIENT.ID", "ID", "customerId"])
def test_numbers_called_id_are_no_data_wherever_they_stand(tmp_path: Path, name: str) -> None:
    """They name the rows, or what the rows are of: then they come again, or are missing."""
    repeated = [1000 + i // 2 for i in range(2 * N)]
    for numbers in (range(1000, 1000 + 2 * N), repeated, [*repeated[1:], ""]):
        data = load(written(tmp_path, lines([*A, *A], numbers, [*B, *B], header=f"a,{name},b")))
        assert data.train.column_names == ("a", "b")
        assert ids(data) == list(map(str, numbers))
        assert data.remarks == (left_out(name),)


def test_an_index_of_a_parquet_file(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": A, "b": B}, index=GAPS)
    frame.to_parquet(tmp_path / "t.parquet")
    data = load(str(tmp_path / "t.parquet"))
    assert data.train.column_names == ("a", "b")
    assert ids(data) == list(map(str, GAPS))
    assert data.remarks == (NAMELESS,)
    frame.rename_axis("who").to_parquet(tmp_path / "t.parquet")
    assert load(str(tmp_path / "t.parquet"), id="who").train.id_name == "who"


@pytest.mark.parametrize("word", ["NA", "n/a", "NULL", "?", ".", "-", "#N/A", "None"])
def test_words_for_a_missing_number_are_said(tmp_path: Path, word: str) -> None:
    column = [word if i % 5 == 0 else i for i in range(N)]
    data = load(written(tmp_path, lines(column, A, header="x,a")), missing=True)
    wanted = np.array([np.nan if i % 5 == 0 else i for i in range(N)])
    np.testing.assert_array_equal(rows(data)[:, 0], wanted)
    assert data.remarks == (f"{word!r} stands for a missing value (--missing)",)


def test_words_are_missing_among_words_unless_others_are_named(tmp_path: Path) -> None:
    text = lines(["None", "low", "high"] * 10, A, header="x,a")
    data = load(written(tmp_path, text), missing=True)
    assert np.isnan(rows(data)[::3, 0]).all()
    assert data.remarks == ("'None' stands for a missing value (--missing)",)
    named = load(written(tmp_path, text), missing=["low"])
    assert np.isnan(rows(named)[1::3, 0]).all()
    assert named.train.columns is not None
    assert named.train.columns[0].categories == ("None", "high")
    code = load(written(tmp_path, text), missing=["-999"])
    assert np.isnan(rows(code)[::3, 0]).all()


CODES = [-999 if i % 6 == 0 else i for i in range(N)]


@pytest.mark.parametrize("ending", ["csv", "parquet", "npy", "npz"])
@pytest.mark.parametrize("code", ["-999", -999, "-999.0"])
def test_codes_are_missing_once_they_are_named(
    tmp_path: Path, ending: str, code: str | float
) -> None:
    frame = pd.DataFrame({"x": CODES, "a": B})
    path = tmp_path / f"t.{ending}"
    if ending == "csv":
        frame.to_csv(path, index=False)
    elif ending == "parquet":
        frame.to_parquet(path)
    else:
        np.save(path, frame.to_numpy()) if ending == "npy" else np.savez(path, x=frame.to_numpy())
    data = load(str(path), missing=[code])
    wanted = np.array([np.nan if c == -999 else c for c in CODES])
    np.testing.assert_array_equal(rows(data)[:, 0], wanted)
    np.testing.assert_array_equal(rows(data)[:, 1], B)
    assert not data.remarks
    unnamed = load(str(path), missing=True)
    np.testing.assert_array_equal(rows(unnamed)[:, 0], CODES)
    where = "0" if ending.startswith("np") else "'x'"
    assert unnamed.remarks == (
        f"-999 stands apart, 5 times, in column {where}: --missing -999, if it stands for a missing value",
    )


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([-1, 0, 3, 5, 7], "-1"),
        ([-200, 0.5, 3, 5, 7], "-200"),
        ([9999, -3, -4, 5, 7], "9999"),
        ([-99, -3.5, 3, 5, 7], "-99"),
        ([-1, 1, 1, 1, 1], None),
        ([-1, 0, 1, 1, 0], None),
        ([-2, -1, 3, 5, 7], None),
        ([99, 98, 3, 5, 7], None),
        ([0, 1, 2, 3, 4], None),
    ],
)
def test_which_numbers_look_like_codes(
    tmp_path: Path, values: list[float], code: str | None
) -> None:
    remarks = load(written(tmp_path, lines(values * 6, A, header="x,a"))).remarks
    assert [remark.split()[0] for remark in remarks] == ([] if code is None else [code])


FILE = "t.csv"


@pytest.mark.parametrize(
    ("text", "options", "subject", "text_of_error"),
    [
        ("a;b\n" + "1.234,56;7\n" * 9, {}, "a", "1.234,56; expected numbers"),
        ("a;b\n" + "1.234,56;7\n" * 9, {}, "a", "Take out the marks of thousands"),
        ("a\tb\n" + "1,234.5\t7\n" * 9, {}, "a", "1,234.5; expected numbers"),
        ("a;b\n" + "1,234;7\n" * 9, {}, FILE, "1,234"),
        ("a;b\n" + "1,234;7\n" * 9, {}, FILE, "--decimal ,"),
        ("a;b;c\n" + "1,5;2.5;1\n" * 9, {}, "b", "2.5; expected numbers with the decimal mark ','"),
        ("a;b\n" + "1,5;1.500\n" * 9, {}, "b", "1.500; expected numbers with the decimal mark ','"),
        (
            "a;b\n" + "1,5;7\n" * 9,
            {"decimal": "."},
            "a",
            "1,5; expected numbers with the decimal mark '.'",
        ),
        ("a,b\n" + "1,5,2,7\n" * 9, {}, FILE, "2 in the first, 4 in the next"),
        ("a,b\n" + "1,5,2\n" * 9, {}, FILE, "not ids"),
        ("a,b,c\n" + "1,5\n" * 9, {}, FILE, "3 in the first, 2 in the next"),
        ("a,b\n" + "1,5\n" * 9, {"separator": "xx"}, "separator", "'xx'"),
        ("a,b\n" + "1,5\n" * 9, {"decimal": "x"}, "decimal", "'x'"),
        ("a,a\n" + "1,5\n" * 9, {}, "a", "two columns"),
        ("a,b\n1,2\n" + "x,y,z\n" * 40, {}, FILE, "as many cells in each line"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, text: str, options: dict[str, Any], subject: str, text_of_error: str
) -> None:
    path = written(tmp_path, text)
    with refused(path if subject == FILE else subject) as caught:
        load(path, missing=True, **options)
    assert text_of_error in str(caught.value)


def test_packed_files_that_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    whole = gzip.compress(lines(A, B, header="a,b").encode())
    for content in (b"not packed", whole[:-12], whole[:-8] + bytes(8)):
        path.write_bytes(content)
        with refused(str(path), expected="gzip"):
            load(str(path))


def test_quotes_and_ends_of_lines_inside_cells(tmp_path: Path) -> None:
    text = '"a\nb","c, d"\n' + '"x\ny",1\n5" pipe,2\n' * 9
    data = load(written(tmp_path, text))
    assert data.train.columns is not None
    assert data.train.column_names == ("a\nb", "c, d")
    assert data.train.columns[0].categories == ('5" pipe', "x\ny")
    assert rows(data)[:2].tolist() == [[1, 1], [0, 2]]
