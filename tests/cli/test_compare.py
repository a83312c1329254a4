"""``pyro-vae compare``: runs on the same data."""

import json
from pathlib import Path

import pandas as pd
import pytest

FA = "fit --model FactorAnalysis --data table.csv --batch_size 16 --epochs 3"


@pytest.fixture
def two_runs(made):
    """Two runs on one table, and one on the same table with other rows held out."""
    for name, words in {
        "one": "--model.latent_dim 1",
        "two": "--model.latent_dim 2",
        "other": "--model.latent_dim 1 --data_seed 5",
    }.items():
        assert made(FA, words, f"--out runs/{name}").code == 0


def test_runs_are_compared(call, two_runs):
    words = "compare runs/one runs/two --method exact --split train"
    outcome = call(words, "--json --out figures.csv --plot picture.png")
    assert outcome.code == 0
    figures = json.loads(outcome.out)["models"]
    table = pd.read_csv("figures.csv", index_col="model")
    assert Path("picture.png").read_bytes().startswith(b"\x89PNG")
    for run in ("one", "two"):
        alone = json.loads(call(f"evidence runs/{run} --method exact --split train --json").out)
        assert figures[run]["log_evidence"] == pytest.approx(alone["total"])
        assert table["log_evidence"][run] == pytest.approx(alone["total"])
    assert sum(f["probability"] for f in figures.values()) == pytest.approx(1)
    assert all(f["difference_sampling_error"] >= 0 for f in figures.values())
    printed = call(words, "--reference runs/one --loo").out
    assert "against 'one'" in " ".join(printed.split())
    assert "elpd_loo" in printed
    assert "elpd_loo" not in outcome.out


def test_standardised_runs_are_compared_with_one_another(call, two_runs):
    for name, latents in {"narrow": 1, "wide": 2}.items():
        words = f"--model.latent_dim {latents} --standardize true --out runs/{name}"
        assert call(FA, words).code == 0
    words = "--method exact --split train"
    outcome = call(f"compare runs/narrow runs/wide {words}")
    assert outcome.code == 0
    assert (
        outcome.err.count("differences and Bayes factors are the same in the data's own units") == 1
    )
    call(f"compare runs/one runs/narrow {words}").refuses("'one'", "'narrow'", "standardise")


def test_estimates_have_the_options_of_evidence(call, two_runs):
    words = "compare runs/one runs/two --num_particles 200 --prior_share 0.2 --widen 1.2 --seed 3"
    assert call(words).out == call(words).out
    assert "±" in call(words).out


def test_some_of_the_rows_are_weighed(call, two_runs):
    words = "compare runs/one runs/two --method exact --split train --columns frechet_distance"
    outcome = call(words, "--num_rows 20")
    assert outcome.code == 0, outcome.err
    text = " ".join(outcome.out.split())
    assert "all 20 rows" in text
    assert "20 of the" in outcome.err
    assert call(words, "--num_rows 100000").out == call(words).out
    call(words, "--num_rows 0").refuses("--num_rows", "at least 1")


def test_wrong_runs(call, two_runs, vae):
    call("compare runs/one runs/other --method exact").refuses("'one'", "'other'", "differ", "mean")
    call("compare runs/one runs/vae --num_particles 4").refuses("'one'", "'vae'")
    call("compare").refuses("no run", "pyro-vae compare")
    call("compare runs/one").refuses("one run", "two runs or more")
    call("compare runs/one runs/two runs/one").refuses("runs/one", "twice")
    call("compare runs/one runs/none").refuses("runs/none")
    call("compare runs/one runs/two --reference tow").refuses("tow", "'two'")
    call("compare runs/one runs/two --method exact --widen 2").refuses("--widen")
    call("compare runs/one runs/two --plot picture.bmp").refuses("--plot", ".png")
    call("compare runs/one runs/two --out table.png").refuses("--out", ".csv")
    call("compare runs/one runs/two --out table.csv").refuses("table.csv", "--overwrite")


def test_further_columns_are_named(call, two_runs):
    words = "compare runs/one runs/two --method exact --split train"
    names = "frechet_distance,kernel_distance,precision_recall,mse,active_units,parameters,seconds"
    outcome = call(words, f"--columns {names} --json")
    assert outcome.code == 0
    figures = json.loads(outcome.out)["models"]
    for name in ("frechet_distance", "kernel_distance", "precision", "recall", "mse", "seconds"):
        assert figures["one"][name] is not None
    assert figures["two"]["latent_units"] == 2
    assert figures["two"]["parameters"] > figures["one"]["parameters"]
    assert call(words, "--columns loo --loo").out.count("elpd_loo  ") == 1
    call(words, "--columns mse,frechet").refuses("--columns", "frechet_distance")


def test_every_column_but_leave_one_out(call, two_runs):
    outcome = call("compare runs/one runs/two --method exact --split train --columns all --json")
    assert outcome.code == 0, outcome.err
    figures = json.loads(outcome.out)["models"]["one"]
    assert figures["elbo"] == pytest.approx(-figures["rate"] - figures["distortion"])
    assert figures["elbo"] < figures["log_evidence"] / 48 + 4 * figures["elbo_error"]
    record = json.loads(Path("runs/one/fit.json").read_text())
    assert figures["epoch_seconds"] == pytest.approx(record["seconds"] / 3)
    assert "elpd_loo" not in figures


@pytest.mark.slow
def test_runs_are_fitted_anew_from_other_seeds(call, two_runs):
    words = "compare runs/one runs/two --method exact --seeds 2 --columns parameters,elbo"
    outcome = call(words, "--json --out over.csv")
    assert outcome.code == 0, outcome.err
    assert Path("runs/one/seeds/1/fit.json").is_file()
    found = json.loads(outcome.out)
    exact = [
        json.loads(call(f"evidence runs/{run} --method exact --json").out)["total"]
        for run in ("one", "one/seeds/1")
    ]
    assert exact[0] != exact[1]
    assert found["models"]["one"]["log_evidence"] == pytest.approx(sum(exact) / 2)
    assert found["models"]["one"]["parameters_sd"] == 0
    assert pd.read_csv("over.csv", index_col="model")["gap_low"].notna().all()
    before = Path("runs/one/seeds/1/checkpoint.safetensors").read_bytes()
    again = call(words)
    assert again.code == 0
    assert "as it is there" in again.err
    assert Path("runs/one/seeds/1/checkpoint.safetensors").read_bytes() == before
    assert "beyond noise" in again.out
    call("compare runs/one runs/two --seeds 1").refuses("--seeds", "2")
    call("compare runs/one runs/two --seeds 2 --plot a.png").refuses("--plot")
