"""What a notebook shows: a short line, and an HTML table that is whole, escaped and self-contained."""

import math

import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from html_page import Page

import pyro_vae
from pyro_vae.inference import Annealed, Sandwich
from pyro_vae.inference.posterior.new_rows import LogPredictive
from pyro_vae.inference.svi.fit_result import FitResult
from pyro_vae.models import FactorAnalysis
from pyro_vae.notebook import table
from pyro_vae.testing import check_program

X = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
UNSAFE = "<b>&'\"</b>"


@pytest.fixture(scope="module")
def shown():
    """A result of each verb."""

    def schools(y):
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        with pyro.plate("schools", len(y)):
            pyro.sample("y", dist.Normal(mu, 1.0), obs=y)

    program = FactorAnalysis((3,), 2)
    joint = pyro_vae.fit(schools, X[:, 0], epochs=20, progress=False).program
    return {
        "fit": pyro_vae.fit(program, X, validation=X[:9], epochs=30, progress=False),
        "evidence": pyro_vae.log_evidence(program, X, num_particles=100),
        "joint evidence": pyro_vae.log_evidence(joint, X[:, 0], num_particles=100),
        "exact evidence": pyro_vae.log_evidence(program, X, method="exact"),
        "bounds": pyro_vae.log_evidence(
            program, X[:9], method=Sandwich(Annealed(5)), num_particles=4, compile="off"
        ),
        "posterior": pyro_vae.posterior(program, X, num_draws=50),
        "joint posterior": pyro_vae.posterior(joint, X[:, 0], num_draws=50),
        "summary": pyro_vae.posterior(program, X, num_draws=50).summary(),
        "evaluation": pyro_vae.evaluate(program, X),
        "check": check_program(program, X[:6]),
        "data": pyro_vae.load("digits"),
    }


NAMES = [
    *("fit", "evidence", "joint evidence", "exact evidence", "bounds", "posterior"),
    *("joint posterior", "summary", "evaluation", "check", "data"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_result_is_a_short_line_and_a_whole_table(shown, name) -> None:
    text = repr(shown[name])
    assert "tensor(" not in text
    assert len(text) < (2_000 if name in ("summary", "check") else 250)
    page = Page(shown[name]._repr_html_())
    assert len({len(row) for row in page.rows}) == 1
    assert len(page.rows) > 1
    assert set(page.tags) <= {"table", "thead", "tbody", "tr", "td", "th", "p"}
    assert page.attributes <= {"style"}  # nothing is loaded or run


def test_the_tables_hold_the_figures(shown) -> None:
    evidence, fit = shown["evidence"], shown["fit"]
    rows = dict(Page(evidence._repr_html_()).rows)
    figure, *words = rows["mean of a unit (plate 'data')"].split()
    assert "nats" in words
    assert float(figure) == pytest.approx(evidence.mean, abs=1e-3)
    assert str(evidence) == evidence.summary()
    head, *epochs = Page(fit._repr_html_()).rows
    assert head == [
        "epoch",
        "train ELBO",
        "learning rate",
        "validation ELBO",
    ]  # KL weight: it stayed
    assert [int(row[0]) for row in epochs][:: len(epochs) - 1] == [1, 30]
    assert str(fit.best_epoch) in {row[0] for row in epochs}
    assert f"at epoch {fit.best_epoch}" in repr(fit)
    check = Page(shown["check"]._repr_html_()).rows
    assert check[1:] == [[o.check, o.outcome, o.reason] for o in shown["check"].outcomes]
    assert ["train", "1,397", "1,397"] in Page(shown["data"]._repr_html_()).rows


def test_a_posterior_shows_the_figures_of_its_small_sites(shown) -> None:
    page = Page(shown["joint posterior"]._repr_html_())
    assert page.rows == Page(shown["joint posterior"].summary()._repr_html_()).rows
    page = Page(shown["posterior"]._repr_html_())
    assert page.rows[1:] == [["z", "data, z_dim_0", "200 x 2"]]


def test_columns_of_a_table(tmp_path) -> None:
    frame = pd.DataFrame({"age": [1.5, 2.5, math.nan, 4.0] * 20, "job": ["cook", UNSAFE] * 40})
    frame.to_csv(tmp_path / "t.csv", index=False)
    html = pyro_vae.load(tmp_path / "t.csv", missing=True)._repr_html_()
    assert UNSAFE not in html
    rows = [row for row in Page(html.split("</table>", 1)[1]).rows if row]
    assert ["job", "binary"] in [row[:2] for row in rows]
    assert any(UNSAFE in row[2] for row in rows)


def test_every_text_is_escaped() -> None:
    page = table([(UNSAFE, "1.5")], (UNSAFE, UNSAFE), UNSAFE, [UNSAFE])
    assert UNSAFE not in page
    read = Page(page)
    assert read.rows == [[UNSAFE, UNSAFE], [UNSAFE, "1.5"]]
    assert read.notes == [UNSAFE, UNSAFE]


def test_the_density_of_new_rows_is_a_short_table() -> None:
    found = LogPredictive(-torch.arange(900.0), torch.full((900,), 0.25))
    assert repr(found).splitlines()[0] == (
        "log p(new row | data) of 900 new rows: -404550.000 nats together"
    )
    assert repr(found).splitlines()[2::9] == ["row 1: -1.000 ± 0.250", "... (890 more)"]
    page = Page(found._repr_html_())
    assert page.rows[0] == ["new row", "log p, nats", "Monte-Carlo error"]
    assert page.rows[10] == ["9", "-9.000", "0.250"]
    assert page.notes[-1] == "... (890 more)"
    of_one = LogPredictive(torch.tensor([-1.0]), torch.tensor([math.nan]))
    assert repr(of_one).splitlines()[1] == "row 0: -1.000 ± unknown"


def test_a_diagram_is_a_line_until_it_is_printed() -> None:
    graph = pyro_vae.render_model(FactorAnalysis((3,), 2), (X,))
    assert repr(graph).startswith("ModelGraph(FactorAnalysis: model of ")
    assert len(repr(graph)) < 100
    assert "\n" in str(graph)


def test_a_fit_without_an_epoch() -> None:
    result = FitResult([], None, 0.5, 3)
    assert repr(result) == "FitResult(0 steps in 0.5 s)"
    assert Page(result._repr_html_()).notes == ["Fit: 0 steps in 0.5 s", result.verdict]
