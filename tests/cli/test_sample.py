"""``sample``: rows as the file has them, given columns, of each class, as pictures, with a report."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PEOPLE = "age,job,height\n" + "".join(
    f"{20 + i % 40},{('cook', 'clerk')[i % 2]},{150 + i % 50}.5\n" for i in range(120)
)


@pytest.fixture
def people(here: Path, call) -> str:
    (here / "people.csv").write_text(PEOPLE)
    outcome = call("fit --data people.csv --epochs 3 --model.width 8 --out runs/people")
    assert outcome.code == 0, outcome.err
    assert "Table" in (here / "runs/people/config.yaml").read_text()
    return "sample runs/people"


def rows(name: str) -> list[dict[str, str]]:
    with Path(name).open() as file:
        return list(csv.DictReader(file))


def test_a_table_is_written_as_the_file_has_it(call, people):
    assert call(people, "--num 50 --out more.csv").code == 0
    found = rows("more.csv")
    assert list(found[0]) == ["age", "job", "height"]
    assert len(found) == 50
    assert {row["job"] for row in found} == {"cook", "clerk"}
    assert all(20 <= int(row["age"]) <= 59 for row in found)
    assert all(len(row["height"].partition(".")[2]) <= 1 for row in found)


def test_given_columns_hold_and_their_weights_are_said(call, people):
    outcome = call(people, "--num 30 --where job=cook age=33 --out more.csv")
    assert outcome.code == 0, outcome.err
    assert "effective sample size" in outcome.err
    assert "Pareto k" in outcome.err
    assert {(row["job"], row["age"]) for row in rows("more.csv")} == {("cook", "33")}
    call(people, "--num 30 --where job=cook age=33 --out again.csv")
    assert Path("again.csv").read_text() == Path("more.csv").read_text()
    assert call(people, "--num 30 --where job=cook --out some.npz").code == 0
    with np.load("some.npz") as arrays:
        assert arrays["x"].shape == (30, 3)
        assert arrays["ess"] > 0


def test_each_class_of_a_column(call, people):
    assert call(people, "--per_class 7 --target job --out more.csv").code == 0
    jobs = [row["job"] for row in rows("more.csv")]
    assert jobs == ["clerk"] * 7 + ["cook"] * 7


def test_a_report(call, people):
    outcome = call(people, "--num 60 --report report.html --out more.csv")
    assert outcome.code == 0, outcome.err
    assert "gradient boosting of job" in outcome.out
    assert "no guarantee of privacy" in outcome.out
    assert "<table" in Path("report.html").read_text()


def test_a_folder_of_images_of_each_class(call, here):
    words = """fit --model ConditionalVAE --data digits --epochs 1
        --model.latent_dim 2 --out runs/c"""
    assert call(words).code == 0
    assert call("sample runs/c --per_class 2 --out more").code == 0
    files = sorted(Path("more").rglob("*.png"))
    assert len(files) == 20
    assert {file.parent.name for file in files} == {str(k) for k in range(10)}
    with Image.open(files[0]) as image:
        assert image.size == (8, 8)
    assert call("sample runs/c --where label=3 --num 4 --out three.npz").code == 0
    with np.load("three.npz") as arrays:
        assert arrays["classes"].tolist() == ["3"] * 4
    call("sample runs/c --where label=12 --num 4 --out z.npz").refuses("12", "label")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("--where jobs=cook", ("jobs", "age")),
        ("--where job=pilot", ("pilot", "clerk")),
        ("--where job", ("--where", "sex=Female")),
        ("--num 0", ("--num",)),
        ("--per_class 3", ("--per_class", "--target")),
        ("--per_class 0 --target job", ("--per_class",)),
        ("--per_class 3 --target age", ("target", "job")),
        ("--report report.doc", ("--report", ".html")),
    ],
)
def test_wrong_input(call, people, words, names):
    call(people, words, "--out more.csv").refuses(*names)
    assert not Path("more.csv").exists()


def test_a_folder_of_rows_is_refused(call, people):
    call(people, "--out more").refuses("--out", ".csv")


def test_without_a_model_only_tables_are_fitted(call):
    call("fit --data digits").refuses("--model", "Table")
