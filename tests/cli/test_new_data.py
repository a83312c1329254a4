"""Runs without their training data, and other data in their place."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pyro_vae import log_evidence
from pyro_vae.cli.run.folder import open_run
from pyro_vae.data import load

FA = "fit --model FactorAnalysis --model.latent_dim 1 --data table.csv --epochs 5 -o runs/fa"
SMALL = "--model.encoder.hidden_dims [4] --model.decoder.hidden_dims [4] --epochs 1"


@pytest.fixture
def factors(here, made):
    assert made(FA).code == 0
    return here / "runs/fa"


def figures(call, words: str) -> dict:
    outcome = call(words, "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def each(call, words: str) -> pd.DataFrame:
    outcome = call(words, "--overwrite -o each.csv")
    assert outcome.code == 0, outcome.err
    return pd.read_csv("each.csv")


@torch.no_grad()
def test_new_rows_are_weighed_in_the_runs_own_units(here, call, factors):
    """The marginal of the run's model is known; each row of another file is one point of it."""
    new = pd.DataFrame({"age": [20.0, 31.5, 90.0, 44.0], "height": [150.0, 170.0, 199.0, 210.5]})
    new.to_csv("new.csv", index=False)
    found = each(call, "evidence runs/fa --data new.csv --num_particles 3000")
    run = open_run(factors)
    data = run.load_data()
    model = run.load_program(data, torch.device("cpu"))
    exact = model.log_evidence(torch.tensor(new.to_numpy()).float()).numpy()
    assert found["row"].tolist() == [0, 1, 2, 3]
    error = found["standard_error"].fillna(np.inf)
    assert (np.abs(found["log_evidence"] - exact) < 5 * error).all()
    assert error.isin([np.inf]).sum() < 2


def test_a_single_row_and_columns_in_another_order(here, call, factors):
    (here / "one.csv").write_text("height,weight,age\n170,70,30\n")
    (here / "same.csv").write_text("age,height\n30,170\n")
    one, same = (figures(call, f"evidence runs/fa --data {name}.csv") for name in ("one", "same"))
    assert one["num_units"] == 1
    assert one["mean"] == same["mean"]


def test_the_same_rows_have_the_same_figures(call, factors):
    own = each(call, "evidence runs/fa --num_particles 4000")
    new = each(call, "evidence runs/fa --num_particles 4000 --data table.csv")
    assert new["row"].tolist() == list(range(60))
    error = 5 * np.hypot(own["standard_error"], new["standard_error"][own["row"]].to_numpy())
    gap = np.abs(own["log_evidence"] - new["log_evidence"][own["row"]].to_numpy())
    assert (gap < error.fillna(np.inf)).all()


@pytest.mark.parametrize(
    ("name", "table", "names"),
    [
        ("short", "age\n3\n4\n", ("short.csv", "'height'")),
        ("none", None, ("none.csv",)),
    ],
)
def test_other_data_that_do_not_fit(here, call, factors, name, table, names):
    if table:
        (here / f"{name}.csv").write_text(table)
    for verb in ("evidence", "sample", "reconstruct", "impute"):
        call(f"{verb} runs/fa --data {name}.csv").refuses(*names)
    call("evidence runs/fa --data table.csv --split train").refuses("--split", "--data")


def test_shapes_and_values_of_another_kind(here, call, vae):
    np.save("large.npy", np.zeros((4, 9, 9), dtype=np.uint8))
    np.save("grey.npy", np.full((4, 8, 8), 0.5))
    np.save("loud.npy", np.full((4, 8, 8), 7.0))
    for name, names in (("large", ("(1, 9, 9)", "(1, 8, 8)")), ("loud", ("7", "binary"))):
        call(f"evidence runs/vae --data {name}.npy").refuses(f"{name}.npy", *names)
    assert figures(call, "evidence runs/vae --data grey.npy --num_particles 5")["num_units"] == 4


def test_pixels_of_any_storage_are_the_same_pixels(here, call):
    pixels = load("digits").test.read()[:6]
    assert (
        call(
            "fit --model VAE --data digits --model.likelihood ContinuousBernoulli -o runs/grey",
            SMALL,
        ).code
        == 0
    )
    np.save("floats.npy", pixels.numpy())
    np.save("bytes.npy", (pixels * 255).round().to(torch.uint8).numpy())
    one, other = (
        figures(call, f"evidence runs/grey --num_particles 5 --data {name}.npy")["mean"]
        for name in ("floats", "bytes")
    )
    assert one == pytest.approx(other, rel=0.02)  # k/16 is no k/255


class TestWithoutTheData:
    @pytest.fixture
    def gone(self, here, factors):
        (here / "table.csv").rename(here / "elsewhere.csv")
        return here

    def test_what_needs_none_goes_on(self, call, gone):
        outcome = call("sample runs/fa --num 50 -o drawn.csv")
        assert outcome.code == 0, outcome.err
        assert "continuing without the run's data: " in outcome.err
        table = pd.read_csv("drawn.csv")
        assert list(table) == ["age", "height"]
        assert 20 < table["age"].mean() < 60
        assert call("sample runs/fa -o drawn.png").code == 0
        assert call("graph runs/fa").code == 0

    def test_draws_are_those_that_were_drawn_with_them(self, call, gone):
        """But for what only the data say: the file has whole numbers, in a range."""
        raw = call("sample runs/fa --num 50 -o without.csv")
        assert raw.code == 0
        assert "all decimals" in raw.err
        (gone / "elsewhere.csv").rename(gone / "table.csv")
        assert "all decimals" not in call("sample runs/fa --num 50 -o with.csv").err
        rounded, free = pd.read_csv("with.csv"), pd.read_csv("without.csv")
        known = pd.read_csv("table.csv")[list(rounded)]
        inside = (free > known.min()) & (free < known.max())
        assert inside.to_numpy().mean() > 0.5
        assert ((rounded - free).abs()[inside].fillna(0) <= 0.5).all(axis=None)

    def test_what_needs_them_names_the_way_out(self, call, gone):
        for verb in ("evidence", "reconstruct", "impute"):
            call(f"{verb} runs/fa").refuses("table.csv", "--data")
        assert call("evidence runs/fa --data elsewhere.csv").code == 0
        assert call("reconstruct runs/fa --data elsewhere.csv -o made.csv").code == 0
        assert set(pd.read_csv("made.csv")["row"]) == set(range(60))


class TestClasses:
    @pytest.fixture
    def flowers(self, here, made):
        lines = [
            f"{10 + i % 7},{20 + (3 * i) % 5},{('oak', 'elm', 'ash')[i % 3]}" for i in range(60)
        ]
        (here / "flowers.csv").write_text("\n".join(["length,width,kind", *lines]) + "\n")
        fit = "fit --model ConditionalVAE --data flowers.csv --label kind -o runs/f"
        outcome = made(fit, SMALL)
        assert outcome.code == 0, outcome.err
        return here

    def test_go_by_their_names(self, call, flowers):
        (flowers / "new.csv").write_text("kind,length,width\noak,11,23\noak,11,23\nelm,11,23\n")
        found = each(call, "evidence runs/f --data new.csv --num_particles 2000")
        assert found["kind"].tolist() == ["oak", "oak", "elm"]
        run = open_run("runs/f")
        data = run.load_data()
        model = run.load_program(data, torch.device("cpu"))
        split = run.new_data("new.csv")
        assert split.labels.tolist() == [2, 2, 1]
        again = log_evidence(model, split, num_particles=2000, seed=0)
        np.testing.assert_allclose(found["log_evidence"], again.log_evidence, rtol=1e-5)

    def test_that_are_not_known_are_refused(self, call, flowers):
        (flowers / "new.csv").write_text("kind,length,width\nfir,11,23\n")
        call("evidence runs/f --data new.csv").refuses("new.csv", "'fir'", "ash, elm, oak")
        (flowers / "new.csv").write_text("length,width\n11,23\n")
        call("evidence runs/f --data new.csv").refuses("new.csv", "'kind'")

    def test_are_drawn_in_turn_without_the_data(self, call, flowers):
        (flowers / "flowers.csv").unlink()
        assert call("sample runs/f --num 5 -o drawn.csv").code == 0
        assert pd.read_csv("drawn.csv")["kind"].tolist() == ["ash", "elm", "oak", "ash", "elm"]


def test_photographs_of_any_size_are_brought_to_that_of_the_runs_own(here, call):
    for folder, count, least in (("photos", 30, 9), ("new", 4, 20)):
        (here / folder).mkdir()
        for i in range(count):
            pixels = np.full((least + i % 3, least + i % 5), 8 * i, np.uint8)
            Image.fromarray(pixels).save(here / folder / f"{i:02}.png")
    outcome = call("fit --model VAE", SMALL.replace("--model.encoder.hidden_dims [4]", ""),
        "--model.encoder MLP --data photos --out runs/p")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert all(size in outcome.err for size in ("9x9", "13x11", "10x10"))
    found = each(call, "evidence runs/p --data new --num_particles 20")
    assert found["row"].tolist() == [0, 1, 2, 3]


def test_gaps_of_other_data_are_filled(here, call):
    lines = [f"{i % 9},{'' if i % 4 == 0 else i % 5}" for i in range(60)]
    (here / "gaps.csv").write_text("\n".join(["a,b", *lines]) + "\n")
    fit = "fit --model VAE --model.likelihood Missing --model.encoder MaskedInput --epochs 1"
    assert call(fit, "--data gaps.csv -o runs/g").code == 0
    (here / "new.csv").write_text("b,a\n,3\n2,\n1,1\n")
    assert call("impute runs/g --data new.csv --num_particles 50 -o filled.csv").code == 0
    filled = pd.read_csv("filled.csv")
    assert list(filled) == ["a", "b"]
    assert filled.notna().all(axis=None)
    assert filled["a"][[0, 2]].tolist() == [3, 1]
    assert filled["b"][[1, 2]].tolist() == [2, 1]


def test_gaps_of_other_data_are_refused_by_a_model_that_needs_all_values(here, call):
    lines = [f"{i % 9 + 0.5},{'uv'[i % 2]},{i % 5}" for i in range(60)]
    (here / "whole.csv").write_text("\n".join(["a,k,n", *lines]) + "\n")
    assert call("fit --model VAE --data whole.csv --epochs 1 -o runs/w").code == 0
    (here / "new.csv").write_text("n,k,a\n3,u,1.5\n2,,2.5\n1,v,1\n")
    for verb in ("evidence", "reconstruct", "impute"):
        outcome = call(f"{verb} runs/w --data new.csv")
        outcome.refuses("new.csv", "row 2, column 'k'", "1 such rows")
