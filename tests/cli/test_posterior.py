"""``pyro-vae posterior``: the table, the file for ArviZ and the figures of each row."""

import csv
from pathlib import Path

import arviz
import numpy as np
import pytest
import torch

from pyro_vae import posterior
from pyro_vae.cli.run.folder import open_run

FA = "fit --model FactorAnalysis --model.latent_dim 2 --data table.csv --batch_size 16"


@pytest.fixture
def factors(made):
    assert made(FA, "--epochs 3 --out runs/fa").code == 0
    return Path("runs/fa")


def test_draws_and_figures_are_written_with_the_rows_of_the_file(factors, call, here) -> None:
    outcome = call("posterior runs/fa --num_draws 60 --out p.nc --csv p.csv")
    assert outcome.code == 0, outcome.err
    assert "hdi_97%" in outcome.out
    run = open_run("runs/fa", [])
    data = run.load_data()
    program = run.load_program(data, torch.device("cpu"))
    train = data.splits["train"]
    expected = posterior(program, train, num_draws=60, seed=0)
    drawn = arviz.from_netcdf("p.nc")
    z = drawn["posterior"]["z"]
    np.testing.assert_array_equal(z.values[0], expected.draws["z"].numpy())
    np.testing.assert_array_equal(z["data"].values, train.places.numpy())
    with open("p.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == sorted(train.places.tolist())
    frame = expected.summary().to_frame()
    order = train.places.argsort().tolist()
    for place in (0, 5, len(rows) - 1):
        for i in (0, 1):
            figures = frame.loc[f"z[{order[place]}, {i}]"]
            for heading in ("mean", "sd", "hdi_97%"):
                assert float(rows[place][f"z[{i}] {heading}"]) == pytest.approx(figures[heading])
        assert float(rows[place]["k"]) == pytest.approx(float(expected.pareto_k[order[place]]))


def test_other_rows_and_another_method(factors, call) -> None:
    outcome = call("posterior runs/fa --split test --method guide --num_draws 40 --csv guide.csv")
    assert outcome.code == 0, outcome.err
    assert "draws of the guide" in outcome.out


MEANS = """
import pyro, torch
from pyro.distributions import Normal

class Means(torch.nn.Module):
    def __init__(self, data_shape):
        super().__init__()
        self.loc = torch.nn.Parameter(torch.zeros(data_shape))

    def model(self, x):
        with pyro.plate("rows", len(x)):
            pyro.sample("x", Normal(self.loc, 1.0).to_event(1), obs=x)

    def guide(self, x):
        pass
"""


def test_the_errors_of_what_was_learnt(call, here) -> None:
    """Of means with a known sd of 1 they are 1 / sqrt(N)."""
    Path("means_of_mine.py").write_text(MEANS, encoding="utf-8")
    own = "--model means_of_mine.Means"
    fitted = call(f"fit {own} --data table.csv --steps 40 --out runs/means")
    assert fitted.code == 0, fitted.err
    outcome = call(f"parameters runs/means {own} --out means.csv")
    assert outcome.code == 0, outcome.err
    assert "AIC" in outcome.out
    count = len(open_run("runs/means", own.split()).load_data().train)
    with open("means.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["parameter", "estimate", "se", "robust_se", "2.5%", "97.5%"]
    for row in rows:
        assert float(row["se"]) == pytest.approx(count**-0.5, rel=1e-3)
    assert call(f"parameters runs/means {own} --num_particles 0").code == 2
    assert call("parameters runs/none").code == 2


def test_methods_have_the_options_of_their_fields(factors, call) -> None:
    words = "--method nuts --num_chains 2 --num_warmup 5 --max_tree_depth 2 --num_draws 6"
    outcome = call(f"posterior runs/fa {words}")
    assert outcome.code == 0, outcome.err
    assert "NUTS, 2 chains after 5 steps" in outcome.out
    outcome = call("posterior runs/fa --prior_share 0.3 --num_draws 20")
    assert "30%" in outcome.out, outcome.out
    call("posterior runs/fa --method guide --num_chains 2").refuses("--num_chains", "nuts")
    call("posterior runs/fa --method ais --num_temperatures 0").refuses("num_temperatures")
    call("posterior runs/fa --method.num_chains 2").refuses("--method nuts", "--num_chains")


def test_what_does_not_fit_is_refused(factors, call, here) -> None:
    call("posterior runs/fa --method exact").refuses("'exact'", "importance")
    call("posterior runs/fa --out p.png").refuses("--out", ".nc")
    call("posterior runs/fa --csv p.nc").refuses("--csv", ".csv")
    call("posterior runs/fa --csv table.csv").refuses("--csv", "table.csv")
    call("posterior runs/fa --num_draws 0").refuses("num_draws")
