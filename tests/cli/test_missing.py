"""Tables with gaps: from a file to figures, pictures and a table without any."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from stories import RNG
from torch.distributions import MultivariateNormal

from pyro_vae.cli.run.folder import open_run

LINEAR = """
    fit --model VAE --model.latent_dim 2 --data gaps.csv --epochs 60 --batch_size 50 --optimizer.lr 1e-2
    --model.likelihood Missing --model.guide FullCovarianceNormal
    --model.encoder MaskedInput --model.decoder MLP --model.decoder.hidden_dims []
    --out runs/linear
"""


def write_gaps(path: Path) -> np.ndarray:
    """A table of two factors, in units far from one, a quarter of it missing; rows without anything."""
    x = RNG.normal(size=(300, 2)) @ RNG.normal(size=(2, 4)) + 0.5 * RNG.normal(size=(300, 4))
    x = (x * np.array([1, 10, 100, 0.1]) + np.array([0, 50, 1000, 2])).round(3)
    x[RNG.random(x.shape) < 1 / 4] = math.nan
    x[::40] = math.nan
    pd.DataFrame(x, columns=["a", "b, in cm", "c", "d"]).to_csv(path, index=False, na_rep="NA")
    return x


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    """One table for all that start from its run, so that the run is made once."""
    path = tmp_path_factory.mktemp("gaps") / "gaps.csv"
    return path, write_gaps(path)


@pytest.fixture
def linear(here, made, gaps):
    """The table, and a run whose evidence and posterior are known in closed form."""
    path, x = gaps
    shutil.copy(path, here)
    outcome = made(LINEAR)
    assert outcome.code == 0, outcome.err
    assert "values missing" in outcome.err
    assert " impute runs/linear\n" in outcome.err
    return x, Path("runs/linear")


def opened(folder: Path):
    run = open_run(folder)
    data = run.load_data()
    return data, run.load_program(data, torch.device("cpu"))


@torch.no_grad()
def marginal(model) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance of p(x), all of it, as the model sees it."""
    complete = model.likelihood.complete
    layer = complete.decoder.layers[-1]
    noise = (2 * complete.log_scale).exp() * torch.eye(4)
    units = complete.scaling.scale
    covariance = (layer.weight @ layer.weight.T + noise) * units * units[:, None]
    return complete.scaling.location + units * layer.bias, covariance


def test_the_evidence_is_the_marginals_of_what_was_observed(call, linear):
    figures = json.loads(call("evidence runs/linear --num_particles 2000 --split train --json").out)
    data, model = opened(linear[1])
    loc, covariance = marginal(model)
    exact, x = [], data.train.read()
    for row in x:
        seen = ~row.isnan()
        p = MultivariateNormal(loc[seen], covariance[seen][:, seen]) if seen.any() else None
        exact.append(p.log_prob(row[seen]) if p else torch.tensor(0.0))
    assert (~x.isnan()).any(1).logical_not().sum() > 3  # of some rows nothing is known: 0 nats
    assert abs(figures["mean"] - torch.stack(exact).mean()) < 4 * 0.01
    assert figures["units_without_error"] < len(x) / 10  # the guide is not quite trained for some
    assert (figures["standard_error"] is None) == (figures["units_without_error"] > 0)
    assert figures["bits_per_dimension"] is None
    assert not any("standardised" in note for note in figures["notes"])
    complete = model.likelihood.complete  # a fit has learnt its units from what is there
    torch.testing.assert_close(complete.scaling.location, x.nanmean(0))


def test_a_density_of_standardised_values_is_said_to_be_one(here, call):
    write_gaps(here / "gaps.csv")
    assert call(LINEAR, "--standardize true --epochs 1").code == 0
    data, _ = opened(Path("runs/linear"))
    figures = json.loads(call("evidence runs/linear --num_particles 20 --split train --json").out)
    (note,) = (note for note in figures["notes"] if "standardised" in note)
    x = data.train.read()
    shift = (data.train.scale.log() * ~x.isnan()).sum() / len(x)
    assert f"on average {shift:.3f} nats lower" in note


@torch.no_grad()
def test_gaps_are_filled_by_the_conditional_in_the_files_order_and_units(call, linear):
    x, folder = linear
    words = "impute runs/linear --num_particles 1000 --num_draws 5"
    assert call(words, "--out filled.npz").code == 0
    with np.load("filled.npz") as archive:
        found = dict(archive)
    gaps = np.isnan(x)
    np.testing.assert_allclose(found["data"], x, rtol=1e-6)
    assert found["draws"].shape == (300, 5, 4)
    assert found["quantiles"].shape == (300, 3, 4)
    loc, covariance = (part.double() for part in marginal(opened(folder)[1]))
    for n in np.flatnonzero(gaps.any(1)):
        gone, seen = torch.from_numpy(gaps[n]), torch.from_numpy(~gaps[n])
        gain = covariance[gone][:, seen] @ torch.linalg.inv(covariance[seen][:, seen])
        mean = loc[gone] + gain @ (torch.from_numpy(x[n])[seen] - loc[seen])
        spread = (covariance[gone][:, gone] - gain @ covariance[seen][:, gone]).diagonal().sqrt()
        error = 5 * spread / math.sqrt(found["ess"][n])
        assert (np.abs(found["mean"][n, gaps[n]] - mean.numpy()) < error.numpy()).all()
        assert (np.abs(found["scale"][n, gaps[n]] - spread.numpy()) < error.numpy()).all()
    assert (found["scale"][~gaps] == 0).all()
    for each in (found["mean"], *found["draws"].swapaxes(0, 1), *found["quantiles"].swapaxes(0, 1)):
        np.testing.assert_allclose(each[~gaps], x[~gaps], rtol=1e-6)


@pytest.mark.parametrize(
    ("fill", "name"), [("mean", "mean"), ("median", "quantiles"), ("draw", "draws")]
)
def test_a_filled_table_reads_as_the_one_that_it_was(call, linear, fill, name):
    x, _ = linear
    assert call(f"impute runs/linear --num_particles 50 --fill {fill} --out filled.csv").code == 0
    assert call("impute runs/linear --num_particles 50 --out filled.npz").code == 0
    table = pd.read_csv("filled.csv")
    assert list(table) == ["a", "b, in cm", "c", "d"]
    assert np.isfinite(table.to_numpy()).all()
    assert (table.to_numpy()[~np.isnan(x)] == x[~np.isnan(x)]).all()  # to the last digit
    with np.load("filled.npz") as archive:
        expected = archive[name]
    expected = {"mean": expected, "median": expected[:, 1], "draw": expected[:, 0]}[fill]
    np.testing.assert_allclose(table, expected, rtol=1e-6)


def test_every_verb_works_on_a_table_with_gaps(call, linear):
    for words in (
        "fit --resume runs/linear --epochs 61",
        "evidence runs/linear --method ais --num_temperatures 5 --out evidence.png",
        "graph runs/linear --out graph.svg",
        "sample runs/linear --out samples.png",
        "reconstruct runs/linear --out reconstructions.png",
        "impute runs/linear --split test --out test.csv",
    ):
        outcome = call(words)
        assert outcome.code == 0, (words, outcome.err)
    assert len(pd.read_csv("test.csv")) == len(opened(linear[1])[0].test)
    folder = linear[1]
    assert {"graph.svg", "learning_curve.png"} <= {path.name for path in folder.iterdir()}


def test_answers_that_are_missing_are_read_as_they_are(here, call):
    answers = RNG.choice(["0", "1", ""], (60, 4)).tolist()
    (here / "answers.csv").write_text("\n".join(map(",".join, [["q", "r", "s", "t"], *answers])))
    outcome = call("fit --model ItemResponse --data answers.csv --epochs 2 --out runs/answers")
    assert outcome.code == 0, outcome.err
    assert "binary; " in outcome.err
    assert call("evidence runs/answers --num_particles 5").code == 0
    assert call("impute runs/answers --fill median --out filled.csv").code == 0
    filled = pd.read_csv("filled.csv")
    assert filled.isin([0, 1]).all(axis=None)
    for row, given in zip(filled.to_numpy(), answers, strict=True):
        assert all(not cell or float(cell) == value for value, cell in zip(row, given, strict=True))


def test_images_with_gaps_and_a_prior_of_pseudo_inputs(here, call):
    images = np.where(RNG.random((60, 4, 4)) < 1 / 3, math.nan, RNG.random((60, 4, 4)))
    np.save(here / "images.npy", images)
    parts = "--model.likelihood Missing --model.encoder MaskedInput"
    prior = "--model.prior VampPrior --model.prior.num_components 5"
    outcome = call("fit --model VAE --data images.npy --epochs 1 --out runs/i", parts, prior)
    assert outcome.code == 0, outcome.err
    assert call("reconstruct runs/i --out reconstructions.png").code == 0
    assert call("sample runs/i --out samples.png").code == 0
    assert call("impute runs/i --num_particles 10 --out images.npz").code == 0
    with np.load("images.npz") as archive:
        np.testing.assert_allclose(archive["data"][:, 0], images, rtol=1e-6)
        assert np.isfinite(archive["mean"]).all()


READER = '''
import torch
from my_model import MyVAE


class Reader(MyVAE):
    """One of one's own, that takes 0 for what is missing."""

    def model(self, x):
        super().model(x.nan_to_num())

    def guide(self, x):
        super().guide(x.nan_to_num())
'''


def test_a_model_of_ones_own_that_reads_gaps_needs_to_say_nothing(here, call):
    write_gaps(here / "gaps.csv")
    (here / "reading.py").write_text(READER)
    outcome = call("fit --model reading.Reader --data gaps.csv --epochs 1 --out runs/r")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "FactorAnalysis --data gaps.csv",
            "gaps.csv has no value in row 1, column 'a' (",
        ),
        ("FlowDensity --data gaps.csv", "gaps.csv has no value in row 1, column 'a'"),
        ("my_model.MyVAE --data gaps.csv", "gaps.csv has no value in row 1, column 'a'"),
        ("FactorAnalysis --data late.npz", "late.npz[test] holds nan at index (2, 1) (1 such"),
        (
            "SemiSupervisedVAE --data gaps.csv --label d --model.likelihood Missing "
            "--model.encoder MaskedInput",
            "labels that are whole numbers or names",
        ),
        (
            "ItemResponse --data grades.csv --model.item Graded --standardize true",
            "If they were standardised, leave that out (--standardize false)",
        ),
        (
            "ItemResponse --data gaps.csv",
            "the model's site 'x' got values between",  # what else is wrong is said, not that
        ),
    ],
)
def test_models_that_need_all_values(here, call, words, message):
    write_files_with_gaps(here)
    outcome = call("fit --model", words, "--epochs 1 --out runs/none")
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    errors = outcome.err[outcome.err.index("error: ") :]
    assert message in errors
    assert errors.count("\n") <= 2
    assert not Path("runs/none").exists()


def write_files_with_gaps(here):
    write_gaps(here / "gaps.csv")
    x = RNG.normal(size=(20, 2))
    x[12, 1] = math.nan
    np.savez(here / "late.npz", train=x[:10], test=x[10:])
    (here / "classes.csv").write_text("a,kind\n" + "1,0\n,1\n2.5,0\n" * 9)
    (here / "grades.csv").write_text("a,b\n" + "0,4\n,1\n2,3\n" * 9)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("VAE --data gaps.csv", {"likelihood": "Missing", "encoder": "MaskedInput"}),
        ("VAE --data late.npz --model.encoder GatedMLP", {"encoder": "MaskedInput"}),
        ("VAE --data gaps.csv --model.likelihood Missing", {"encoder": "MaskedInput"}),
        ("MixtureVAE --data gaps.csv --model.likelihood StudentT", {"likelihood": "Missing"}),
        ("SemiSupervisedVAE --data classes.csv --label kind", {"classifier": "MaskedInput"}),
    ],
)
def test_our_models_leave_gaps_out_unasked_and_say_so(here, call, words, parts):
    write_files_with_gaps(here)
    outcome = call("fit --model", words, "--epochs 1 --out runs/gaps")
    assert outcome.code == 0, outcome.err
    config = yaml.safe_load((here / "runs/gaps/config.yaml").read_text())
    options = config["model"]["init_args"]
    for name, kind in parts.items():
        assert options[name]["class_path"].endswith(f".{kind}")
        assert f"{name}: {kind}" in outcome.err
    if "GatedMLP" in words:
        assert options["encoder"]["init_args"]["network"]["class_path"].endswith(".GatedMLP")
    if "StudentT" in words:
        assert options["likelihood"]["init_args"]["likelihood"]["class_path"].endswith(".StudentT")
    assert "values are missing" in outcome.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("impute runs/vae", "no value of digits is missing"),
        ("impute runs/vae --out x.png", ".csv, .npz"),
        ("impute runs/vae --out table.csv", "table.csv is there already"),
        ("impute runs/vae --fill mode", "there is no fill 'mode'"),
    ],
)
def test_what_cannot_be_filled_in(call, vae, words, message):
    outcome = call(words)
    assert outcome.code == 2
    assert message in outcome.err
