"""``--arguments``: regressions of a table's columns, from fit to the outputs of every verb."""

import json
import math

import numpy as np
import pandas as pd
import pyro
import pytest
import torch
import yaml
from stories import RNG

from pyro_vae import fit
from pyro_vae.cli.run.folder import open_run
from pyro_vae.data import batches, load
from pyro_vae.program.contract import signature

STORIES = '''
import pyro
import pyro.distributions as dist
import torch
from torch import nn


class Linear(nn.Module):
    """w ~ Normal(0, I), y ~ Normal(w_0 + x w, 1/2); the guide has the posterior's family."""

    def __init__(self, data_shape):
        super().__init__()
        self.size = data_shape[0] + 1
        self.loc = nn.Parameter(torch.zeros(self.size))
        self.factor = nn.Parameter(torch.eye(self.size) / 16)

    def model(self, x, y):
        w = pyro.sample("w", dist.Normal(x.new_zeros(self.size), 1.0).to_event(1))
        with pyro.plate("rows", len(x)):
            pyro.sample("y", dist.Normal(w[0] + x @ w[1:], 0.5), obs=y)

    def guide(self, x, y):
        factor = self.factor.tril()
        pyro.sample("w", dist.MultivariateNormal(self.loc, factor @ factor.T + 1e-6 * torch.eye(self.size)))


class Visits(nn.Module):
    """Poisson counts with an effect of each clinic, and one of each person."""

    def __init__(self, data_shape, num_group: int, width: int = 2):
        super().__init__()
        self.slope, self.effect = nn.Linear(data_shape[0], 1), nn.Embedding(num_group, 1)
        self.encoder = nn.Linear(data_shape[0] + num_group + 1, 2)
        self.num_group = num_group

    def model(self, x, group, y=None):
        with pyro.plate("people", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 0.3))
            rate = (self.slope(x) + self.effect(group)).squeeze(-1) + z
            pyro.sample("obs", dist.Poisson(rate.exp()), obs=y)

    def guide(self, x, group, y=None):
        one_hot = nn.functional.one_hot(group, self.num_group).to(x)
        loc, log_scale = self.encoder(torch.cat([x, one_hot, y[:, None].log1p()], -1)).unbind(-1)
        with pyro.plate("people", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()))


class Clinic(nn.Module):
    """Which clinic, by age; no latent."""

    def __init__(self, num_group: int):
        super().__init__()
        self.scores = nn.Linear(1, num_group)

    def model(self, age, group):
        with pyro.plate("people", len(age)):
            pyro.sample("group", dist.Categorical(logits=self.scores(age[:, None])), obs=group)

    def guide(self, age, group):
        pass


def picture(x, group, y):
    with pyro.plate("people", len(x)):
        pyro.sample("y", dist.Poisson((x.sum(-1) + group).exp()), obs=y)
'''
N = 80
CLINICS = np.array(["north", "south", "west"])
BY_NAME = "--data people.csv --arguments x=age,income group=clinic y=visits"
VISITS = f"fit --model stories_of_mine.Visits {BY_NAME} --epochs 3 --seed 1 -o runs/v"
OURS = "--model stories_of_mine.Visits"


def arrays_of(path):
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def table():
    """One for all tests, so that their run is made once."""
    code, age, income = np.arange(N) % 3, RNG.normal(size=N).round(3), RNG.normal(size=N).round(3)
    return pd.DataFrame(
        {
            "note": [f"person {i}" for i in range(N)],
            "age": age,
            "income": income,
            "clinic": CLINICS[code],
            "visits": RNG.poisson(np.exp(0.5 * age + 0.3 * code)),
            "cost": (1 + 0.7 * age - 0.4 * income + 0.5 * RNG.normal(size=N)).round(3),
        }
    )


@pytest.fixture
def people(here, table):
    (here / "stories_of_mine.py").write_text(STORIES)
    table.to_csv("people.csv", index=False)
    return table.copy()


@pytest.fixture
def run(people, made):
    outcome = made(VISITS)
    assert outcome.code == 0, outcome.err
    assert "arguments x: age, income; group: clinic (3 categories); y: visits" in outcome.err
    return open_run("runs/v", OURS.split())


@pytest.mark.slow
def test_the_joint_evidence_of_a_conjugate_regression(people, call):
    """log N(y; 0, X X^T + I/4), X with a column of ones, within the error that is printed."""
    words = "--data people.csv --arguments x=age,income y=cost --validation 0 --epochs 800"
    fitted = call(f"fit --model stories_of_mine.Linear {words} --optimizer.lr 0.02 -o runs/l")
    assert fitted.code == 0, fitted.err
    weigh = "evidence runs/l --model stories_of_mine.Linear --split train --num_particles 20000"
    outcome = call(f"{weigh} --json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    run = open_run("runs/l", ["--model", "stories_of_mine.Linear"])
    rows = people.iloc[run.load_data().train.places.numpy()]
    x = np.c_[np.ones(len(rows)), rows[["age", "income"]].to_numpy()]
    covariance = torch.tensor(x @ x.T + np.eye(len(rows)) / 4)
    y = torch.tensor(rows["cost"].to_numpy())
    marginal = torch.distributions.MultivariateNormal(torch.zeros_like(y), covariance)
    assert found["num_units"] == 1
    assert 0 < found["standard_error"] < 0.5
    assert abs(found["mean"] - marginal.log_prob(y).item()) < 4 * found["standard_error"]
    other = call("evidence runs/l --model stories_of_mine.Linear")
    assert "--split train has the evidence that it was fitted to" in " ".join(other.out.split())


def test_held_out_rows_stand_for_those_whose_latents_they_share(people, call):
    """Else the prior of what all share would count once for a few rows, and the prior be the best guide."""
    words = "--data people.csv --arguments x=age,income y=cost --epochs 100 --optimizer.lr 0.02"
    outcome = call(f"fit --model stories_of_mine.Linear {words} -o runs/l")
    assert " 8 validation rows " in outcome.err
    assert "nats for all data together, at step" in outcome.out
    model = open_run("runs/l", ["--model", "stories_of_mine.Linear"])
    data = load("people.csv", arguments={"x": ["age", "income"], "y": "cost"})
    assert model.load_data().train.fingerprint == data.train.fingerprint


def test_a_fit_is_that_of_the_tensors_bit_for_bit(run, people):
    """Labels of clinics by the alphabet, columns in the order that was asked for, rows in their split's."""
    tensors = {}
    for name, split in run.load_data().splits.items():
        rows = people.iloc[split.places.numpy()]
        x = torch.tensor(rows[["age", "income"]].to_numpy(np.float32))
        group = torch.tensor([CLINICS.tolist().index(clinic) for clinic in rows["clinic"]])
        tensors[name] = (x, group, torch.tensor(rows["visits"].to_numpy(np.float32)))
    pyro.set_rng_seed(1)
    model = run.config.model((2,), 3)
    by_hand = fit(
        model, tensors["train"], validation=tensors["validation"], epochs=3, seed=1,
        device="cpu", progress=False,
    )  # fmt: skip
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == by_hand.metrics
    fitted = run.load_program(run.load_data(), torch.device("cpu"))
    for name, value in model.state_dict().items():
        assert torch.equal(value, fitted.state_dict()[name])


def test_each_row_has_its_evidence_and_its_place(run, people, call):
    assert call(f"evidence runs/v {OURS} --num_particles 2000 -o each.csv").code == 0
    each = pd.read_csv("each.csv")
    data = run.load_data()
    model = run.load_program(data, torch.device("cpu"))
    assert each["row"].tolist() == sorted(data.test.places.tolist())
    rows = people.iloc[each["row"]]
    x = torch.tensor(rows[["age", "income"]].to_numpy(np.float32))
    group = torch.tensor([CLINICS.tolist().index(name) for name in rows["clinic"]])
    with torch.no_grad():
        mean = (model.slope(x) + model.effect(group)).double()
    z, weight = np.polynomial.hermite_e.hermegauss(60)  # of one latent, Gauss-Hermite is exact
    log_rate = mean + 0.3 * torch.tensor(z)
    y = torch.tensor(rows["visits"].to_numpy(np.float64))[:, None]
    log_p = torch.distributions.Poisson(log_rate.exp()).log_prob(y)
    exact = (log_p + torch.tensor(weight / math.sqrt(2 * math.pi)).log()).logsumexp(-1)
    error = each["standard_error"].fillna(np.inf).to_numpy()
    assert np.isfinite(error).mean() > 0.8
    assert (np.abs(each["log_evidence"] - exact.numpy()) < 5 * error + 1e-4).all()


def test_a_run_opens_without_its_data_and_weighs_others(run, people, call):
    own = call(f"evidence runs/v {OURS} --data people.csv -o own.csv")
    assert own.code == 0, own.err
    example = people.loc[
        [5, 3, 7], ["visits", "clinic", "income", "age"]
    ]  # 3 clinics, 1 of them once
    example.to_csv("few.csv", index=False)
    (people.__class__)().to_csv("people.csv")  # gone
    outcome = call(f"evidence runs/v {OURS} --data few.csv --num_particles 4000 -o few_each.csv")
    assert outcome.code == 0, outcome.err
    one, other = pd.read_csv("own.csv").iloc[[5, 3, 7]], pd.read_csv("few_each.csv")
    gap = np.abs(one["log_evidence"].to_numpy() - other["log_evidence"].to_numpy())
    error = np.hypot(one["standard_error"].to_numpy(), other["standard_error"].to_numpy())
    assert (gap < 5 * np.nan_to_num(error, nan=np.inf)).all()
    example.assign(clinic="easst").to_csv("new.csv", index=False)
    assert "'easst' in column 'clinic'" in call(f"evidence runs/v {OURS} --data new.csv").err
    example.assign(clinic=["north", None, "west"]).to_csv("new.csv", index=False)
    assert "row 2, column 'clinic'" in call(f"evidence runs/v {OURS} --data new.csv").err
    example.drop(columns="age").to_csv("new.csv", index=False)
    assert "no column 'age'" in call(f"evidence runs/v {OURS} --data new.csv").err


def test_samples_are_joined_to_what_the_model_was_given(run, people, call):
    for name in ("s.csv", "s.npz", "s.png"):
        outcome = call(f"sample runs/v {OURS} --num 30 -o {name}")
        assert outcome.code == 0, outcome.err
    table, arrays = pd.read_csv("s.csv"), arrays_of("s.npz")
    assert table.columns.tolist() == ["row", "age", "income", "clinic", "visits"]
    there = people.iloc[table["row"]].reset_index(drop=True)
    assert np.allclose(table[["age", "income"]], there[["age", "income"]], atol=1e-6)
    assert table["clinic"].tolist() == there["clinic"].tolist()
    assert (table["visits"] == arrays["obs"]).all()
    assert (table["visits"] != there["visits"]).any()
    assert set(arrays) == {"rows", "x", "group", "obs", "obs_mean", "categories_clinic"}
    assert (arrays["categories_clinic"][arrays["group"]] == table["clinic"]).all()


def test_reconstructions_are_of_what_the_model_observes(run, people, call):
    for name in ("r.csv", "r.npz", "r.png"):
        outcome = call(f"reconstruct runs/v {OURS} --num 6 -o {name}")
        assert outcome.code == 0, outcome.err
    table, arrays = pd.read_csv("r.csv"), arrays_of("r.npz")
    assert table.columns.tolist() == ["row", "note", "visits"]  # whose words name the rows
    assert (table["note"] == people["note"].to_numpy()[table["row"]]).all()
    assert (arrays["data"] == people["visits"].to_numpy()[arrays["rows"]]).all()
    assert np.allclose(table["visits"], arrays["obs_mean"])


def test_a_category_that_is_drawn_has_its_name(people, call):
    words = "--data people.csv --arguments age=age group=clinic --epochs 2 -o runs/c"
    assert call(f"fit --model stories_of_mine.Clinic {words}").code == 0
    outcome = call("sample runs/c --model stories_of_mine.Clinic --num 40 -o s.csv")
    assert outcome.code == 0, outcome.err
    table = pd.read_csv("s.csv")
    assert table.columns.tolist() == ["row", "age", "clinic"]
    assert set(table["clinic"]) == set(CLINICS)


def test_standardised_columns_go_back_and_the_note_counts_what_is_observed(people, call):
    assert call(f"{VISITS.replace('visits', 'cost')} --standardize true").code == 2  # no counts now
    words = "--data people.csv --arguments x=age,income y=cost --standardize true --epochs 2"
    assert call(f"fit --model stories_of_mine.Linear {words} -o runs/l").code == 0
    data = load("people.csv", arguments={"x": ["age", "income"], "y": "cost"}, standardize=True)
    y = next(a for a in data.train.arguments if a.name == "y")
    shift = math.log(data.train.scale[y.places[0]])
    said = " ".join(
        call("evidence runs/l --model stories_of_mine.Linear --split train").out.split()
    )
    way = "lower" if shift > 0 else "higher"
    assert f"the figure for each datum is {abs(shift):.3f} nats {way}" in said
    assert call("sample runs/l --model stories_of_mine.Linear --num 40 -o s.csv").code == 0
    table = pd.read_csv("s.csv")
    assert np.allclose(table["age"], people["age"].iloc[table["row"]], atol=1e-5)
    batch = next(
        batches(data.test, columns=signature((lambda x, y: 0,) * 2)).take(torch.arange(8), 8)
    )
    assert batch[1].abs().max() < 5


def test_a_run_keeps_its_arguments(run, call):
    config = yaml.safe_load((run.folder / "config.yaml").read_text())
    assert config["arguments"] == ["x=age,income", "group=clinic", "y=visits"]
    assert config["model"]["init_args"] == {"width": 2}
    assert call(f"fit --resume runs/v {OURS} --epochs 4").code == 0
    again = call(f"fit --config runs/v/config.yaml {OURS} -o runs/again")
    assert again.code == 0, again.err
    other = call(f"fit --resume runs/v {OURS} --arguments x=age group=clinic y=visits")
    other.refuses("--arguments", "--config")


@pytest.mark.parametrize("written", ["3", "x=age", "{x: [age]}", "[[x=age]]", "[null]", "[x]"])
def test_a_configuration_whose_arguments_are_none(run, here, call, written):
    config = yaml.safe_load((run.folder / "config.yaml").read_text())
    config["arguments"] = yaml.safe_load(written)
    (here / "other.yaml").write_text(yaml.safe_dump(config))
    outcome = call(f"fit --config other.yaml {OURS} -o runs/other")
    outcome.refuses("arguments")


def test_names_that_hold_commas_or_equals_signs(people, call):
    people.rename(columns={"age": "age,x", "income": "a=b"}).to_csv("people.csv", index=False)
    words = ["fit", "--model", "stories_of_mine.Linear", "--data", "people.csv", "--epochs", "1"]
    outcome = call(" ".join([*words, '--arguments x="age,x",a=b y=cost', "-o runs/l"]))
    assert outcome.code == 0, outcome.err
    assert "arguments x: age,x, a=b; y: cost" in outcome.err


def test_a_diagram_of_columns(run, people, call):
    assert "group" in call(f"graph runs/v {OURS} --text").out
    drawn = call(f"graph --model stories_of_mine.picture {BY_NAME} --text")
    assert drawn.code == 0, drawn.err
    assert "x, group" in drawn.out


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("--arguments x=age,income group=clinc y=visits", ("'clinc'", "Did you mean 'clinic'")),
        ("--arguments x=age,income y=visits", ("missing: --model.num_group",)),
        ("--arguments group=clinic y=visits", ("no column", "'x'")),
        ("--arguments x=age,income group=clinic z=visits", ("parameter", "'z'")),
        ("--arguments x=age,income group=visits y=visits", ("'group'", "--kinds visits=category")),
        ("--arguments age,income", ("--arguments", "'age,income'", "x=age,income")),
        ("--arguments x=age x=income", ("--arguments", "'x' twice")),
        (f"{BY_NAME} --label clinic", ("label", "arguments")),
    ],
)
def test_what_is_refused(people, call, words, names):
    outcome = call(f"fit --model stories_of_mine.Visits --data people.csv {words}")
    outcome.refuses(*names)
    assert len(outcome.err.splitlines()) <= 6


def test_verbs_that_make_no_sense_say_so(run, call):
    call(f"impute runs/v {OURS}").refuses("impute", "--arguments")
