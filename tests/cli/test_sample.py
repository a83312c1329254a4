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
def people(here: Path, made) -> str:
    (here / "people.csv").write_text(PEOPLE)
    outcome = made("fit --data people.csv --epochs 3 --model.width 8 --out runs/people")
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
        ("--where job=cook job=clerk", ("--where", "job")),
        ("--where age=900", ("where", "age", "20")),
        ("--num 4 --per_class 3 --target job", ("--num", "--per_class")),
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


def test_rows_of_a_run_whose_data_are_gone_are_no_zeros(call, people):
    Path("people.csv").unlink()
    outcome = call(people, "--num 40 --where job=cook --out more.csv")
    assert outcome.code == 0, outcome.err
    assert "no range" in outcome.err
    assert len({row["height"] for row in rows("more.csv")}) > 20


def test_the_data_are_not_overwritten(call, people):
    before = Path("people.csv").read_text()
    call(people, "--num 4 --out people.csv --overwrite").refuses("--out", "people.csv")
    call(people, "--num 4 --report people.csv --out more.csv").refuses("--report")
    Path("new.csv").write_text(PEOPLE)
    words = "score runs/people --data new.csv --out new.csv --overwrite"
    call(words).refuses("--out", "new.csv")
    assert Path("people.csv").read_text() == before == Path("new.csv").read_text()


def test_a_report_predicts_a_column_that_has_several_categories(call, here):
    lines = PEOPLE.splitlines()
    text = "\n".join([f"{lines[0]},unit", *(f"{line},cm" for line in lines[1:])])
    (here / "people.csv").write_text(text)
    assert call("fit --data people.csv --epochs 2 --model.width 8 --out runs/people").code == 0
    outcome = call("sample runs/people --num 60 --report report.html --out more.csv")
    assert outcome.code == 0, outcome.err
    assert "gradient boosting of job" in outcome.out


def test_a_table_without_latents_is_not_reconstructed(call, here):
    (here / "people.csv").write_text(PEOPLE)
    outcome = call("fit --data people.csv --epochs 2 --model.width 8 --out runs/people")
    assert "sample runs/people" in outcome.err
    assert "reconstruct" not in outcome.err
