"""``pyro-vae score``: scores of a run's rows and of others, with p-values, and what is refused."""

import json
from pathlib import Path

import pandas as pd
import pytest

FA = "fit --model FactorAnalysis --data table.csv --batch_size 16 --epochs 3 --model.latent_dim 1"


@pytest.fixture
def run(made):
    assert made(FA, "--out runs/fa").code == 0


def test_new_rows_get_scores_with_reasons(call, run):
    Path("new.csv").write_text("age,height\n25,160\n900,170\n30,180\n")
    words = "score runs/fa --data new.csv --out scores.csv --plot s.png --strangest r.png"
    outcome = call(words)
    assert outcome.code == 0, outcome.err
    table = pd.read_csv("scores.csv")
    assert table["row"].tolist() == [0, 1, 2]
    assert {"score", "error", "p", "q", "strange", "share of age"} <= set(table.columns)
    assert table["score"].idxmax() == 1
    assert table["share of age"].idxmax() == 1
    for name in ("s.png", "r.png"):
        assert Path(name).read_bytes().startswith(b"\x89PNG")
    assert "age" in outcome.out
    figures = json.loads(call("score runs/fa --data new.csv --json").out)
    assert figures["scores"] == pytest.approx(table["score"].tolist(), rel=1e-6)


@pytest.mark.parametrize(
    "by",
    [
        "reconstruction",
        "typicality",
        "dose",
        "complexity",
        pytest.param("regret", marks=pytest.mark.slow),
    ],
)
def test_every_score_has_a_name(call, run, by):
    outcome = call(f"score runs/fa --by {by} --reference validation --num_particles 20")
    assert outcome.code == 0, outcome.err


def test_a_second_run_is_the_background(call, run):
    assert call(FA.replace("latent_dim 1", "latent_dim 2"), "--out runs/b").code == 0
    assert call("score runs/fa --by background --background runs/b").code == 0
    call("score runs/fa --by background").refuses("--background")


def test_wrong_input_is_refused(call, run):
    call("score runs/fa --reference train").refuses("--reference", "training rows")
    call("score runs/fa --reference table.csv").refuses("training rows")
    call("score runs/fa --split test --reference test").refuses("--reference")
    call("score runs/fa --num_particles 0").refuses("num_particles")
    call("score runs/fa --by surprse").refuses("surprse", "surprise")
    call("score runs/fa --method exct").refuses("exct", "exact")
    call("score runs/fa --false_alarms 2").refuses("false_alarms")
    Path("other.csv").write_text("a,b,c\n1,2,3\n")
    assert call("score runs/fa --reference other.csv").code == 2


def test_an_autoencoder_has_no_score(call):
    words = "fit --model Autoencoder --data table.csv --epochs 1 --model.latent_dim 1 --out runs/ae"
    assert call(words).code == 0
    call("score runs/ae").refuses("z")
