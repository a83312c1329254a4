"""Files hold keys to the data: rows by their numbers, columns and classes by their names."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pyro_vae import log_evidence
from pyro_vae.cli.run.folder import open_run
from pyro_vae.data import load

KINDS = ("oak", "elm", "ash")
FLOWERS = "length,width,kind\n" + "".join(
    f"{10 + i % 7 + i / 100:.2f},{20 + (3 * i) % 5},{KINDS[i % 3]}\n" for i in range(60)
)
SMALL = "--model.encoder.hidden_dims [4] --model.decoder.hidden_dims [4] --epochs 1"


def arrays(path: str) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return dict(archive)


@pytest.fixture
def flowers(here, made):
    """A run on a table with a column of names, and the table."""
    (here / "flowers.csv").write_text(FLOWERS)
    outcome = made("fit --model ConditionalVAE --data flowers.csv --label kind -o runs/f", SMALL)
    assert outcome.code == 0, outcome.err
    return pd.read_csv("flowers.csv")


def test_the_evidence_of_each_row(call, flowers):
    words = "evidence runs/f --split train --num_particles 20"
    assert call(words, "-o figures.csv").code == 0
    assert call(words, "-o figures.npz").code == 0
    table, figures = pd.read_csv("figures.csv"), arrays("figures.npz")
    assert list(table) == ["row", "log_evidence", "standard_error", "ess", "pareto_k", "kind"]
    assert (table["kind"] == flowers["kind"][table["row"]].to_numpy()).all()
    assert list(figures["classes"]) == list(table["kind"])
    run = open_run("runs/f")
    data = run.load_data()
    train = data.train
    model = run.load_program(data, torch.device("cpu"))
    each = log_evidence(model, train, num_particles=20, seed=0).log_evidence
    order = train.places.argsort()
    assert list(table["row"]) == train.places[order].tolist() == figures["rows"].tolist()
    np.testing.assert_allclose(table["log_evidence"], each[order], rtol=1e-6)
    np.testing.assert_allclose(figures["log_evidence"], each[order], rtol=1e-6)


def test_reconstructed_rows(call, flowers):
    for name in ("made.csv", "made.npz"):
        assert call(f"reconstruct runs/f --split train --num 7 -o {name}").code == 0
    table, made = pd.read_csv("made.csv"), arrays("made.npz")
    assert list(table) == ["row", "length", "width", "kind"]
    there = flowers.iloc[table["row"]]
    assert list(table["kind"]) == list(there["kind"]) == list(made["classes"])
    np.testing.assert_allclose(made["data"], there[["length", "width"]], rtol=1e-5)
    np.testing.assert_allclose(table[["length", "width"]], made["x_mean"], rtol=1e-5)


def test_samples_have_their_class(call, flowers):
    for name in ("drawn.csv", "drawn.npz"):
        assert call(f"sample runs/f --num 9 -o {name}").code == 0
    table, drawn = pd.read_csv("drawn.csv"), arrays("drawn.npz")
    assert list(table) == ["length", "width", "kind"]
    assert list(table["kind"]) == list(drawn["classes"])
    names = sorted(KINDS)
    assert [names[k] for k in drawn["labels"]] == list(drawn["classes"])
    np.testing.assert_allclose(table[["length", "width"]], drawn["x"], rtol=1e-5)


def test_a_model_without_labels_draws_no_class(call):
    assert call("fit --model FactorAnalysis --data table.csv --epochs 1 -o runs/fa").code == 0
    assert call("sample runs/fa --num 5 -o drawn.csv").code == 0
    assert list(pd.read_csv("drawn.csv")) == ["age", "height"]


def test_imputed_rows_of_a_split(here, call):
    lines = FLOWERS.splitlines()
    lines[1::4] = [f",{line.partition(',')[2]}" for line in lines[1::4]]
    (here / "gaps.csv").write_text("\n".join(lines) + "\n")
    fit = "fit --model VAE --model.likelihood Missing --model.encoder MaskedInput --epochs 1"
    outcome = call(fit, "--data gaps.csv --label kind -o runs/g")
    assert outcome.code == 0, outcome.err
    assert call("impute runs/g --num_particles 20 -o all.csv").code == 0
    assert call("impute runs/g --num_particles 20 --split train -o train.csv").code == 0
    assert call("impute runs/g --num_particles 20 -o all.npz").code == 0
    gaps, whole, part = (pd.read_csv(name) for name in ("gaps.csv", "all.csv", "train.csv"))
    assert list(whole) == list(gaps)
    assert (whole["kind"] == gaps["kind"]).all()
    assert list(part) == ["row", *gaps]
    assert (part["kind"] == gaps["kind"][part["row"]].to_numpy()).all()
    np.testing.assert_allclose(part["width"], gaps["width"][part["row"]], rtol=1e-6)
    assert arrays("all.npz")["rows"].tolist() == list(range(60))


def test_a_column_of_the_same_name_keeps_its_own(here, call):
    (here / "rows.csv").write_text("row,y\n" + "".join(f"{i * i % 11},{i}\n" for i in range(40)))
    assert call("fit --model FactorAnalysis --data rows.csv --epochs 1 -o runs/r").code == 0
    assert call("reconstruct runs/r -o made.csv").code == 0
    table = pd.read_csv("made.csv")
    assert list(table) == ["row_", "row", "y"]
    assert sorted(table["row_"]) == sorted(load("rows.csv").test.places)


def test_images_are_no_table(call, vae):
    for verb in ("sample", "reconstruct"):
        call(f"{verb} {vae} -o images.csv").refuses("images.csv", ".npz")
    assert not Path("images.csv").exists()


def test_every_verb_writes_to_out(call, vae):
    for words in (
        f"evidence {vae} --num_particles 5 -o evidence.png",
        f"graph {vae} -o graph.svg",
        f"sample {vae} -o samples.png",
        f"reconstruct {vae} -o reconstructions.png",
    ):
        assert call(words).code == 0, words
        assert Path(words.split()[-1]).exists()
        assert "--overwrite" in call(words).err


def test_the_names_of_rows_go_from_the_file_to_every_output_of_rows(here, call):
    lines = [
        "who,a,b",
        *(f"w{i:02d},{i % 7 + 0.5},{'' if i % 9 == 4 else i % 5}" for i in range(60)),
    ]
    (here / "named.csv").write_text("\n".join(lines) + "\n")
    assert call("fit --model VAE --data named.csv -o runs/n", SMALL).code == 0
    there = pd.read_csv("named.csv")["who"]
    for verb in ("evidence runs/n", "reconstruct runs/n", "impute runs/n --split train"):
        assert call(f"{verb} -o {verb[:4]}.csv").code == 0
        table = pd.read_csv(f"{verb[:4]}.csv")
        assert list(table)[:2] == ["row", "who"]
        assert (table["who"] == there[table["row"]].to_numpy()).all()
    assert call("impute runs/n -o whole.csv").code == 0
    whole = pd.read_csv("whole.csv")
    assert list(whole) == ["who", "a", "b"]
    assert (whole["who"] == there).all()
    assert call("evidence runs/n -o figures.npz").code == 0
    figures = arrays("figures.npz")
    assert (figures["ids"] == there[figures["rows"]].to_numpy()).all()
