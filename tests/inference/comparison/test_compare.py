"""Models compared by their evidence: closed forms, errors, what is refused, the table and the picture."""

import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused
from scipy import stats
from stories import RNG
from torch import Tensor

from pyro_vae import compare, log_evidence, plots
from pyro_vae.distributions import Columns, PartiallyObserved
from pyro_vae.inference import (
    COLUMNS,
    LOO,
    Column,
    Comparison,
    Evidence,
    Figures,
    Seconds,
    plot_comparison,
)
from pyro_vae.inference.comparison.evidences import probabilities
from pyro_vae.inference.comparison.lineup import Lineup


@dataclass(frozen=True)
class NormalMean:
    """y_n ~ N(mu, 1), mu ~ N(0, sd^2), with the exact posterior as guide, perhaps widened; joint."""

    sd: float
    widened: float = 1.5
    site: str = "y"

    def model(self, y: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, self.sd))
        with pyro.plate("rows", len(y)):
            pyro.sample(self.site, dist.Normal(mu, 1.0), obs=y)

    def guide(self, y: Tensor) -> None:
        precision = self.sd**-2 + len(y)
        pyro.sample("mu", dist.Normal(y.sum() / precision, self.widened * precision**-0.5))

    def exact(self, y: Tensor) -> float:
        y = y.double()
        covariance = self.sd**2 + torch.eye(len(y), dtype=torch.float64)
        mean = torch.zeros(len(y), dtype=torch.float64)
        return float(dist.MultivariateNormal(mean, covariance).log_prob(y))


@dataclass(frozen=True)
class RowNormal:
    """y_n ~ N(z_n, 1), z_n ~ N(m, sd^2), with the posterior widened as guide; a figure a row."""

    mean: float = 0.0
    sd: float = 1.0
    widened: float = 1.5

    def model(self, y: Tensor) -> None:
        with pyro.plate("rows", len(y)):
            z = pyro.sample("z", dist.Normal(self.mean, self.sd).expand([len(y)]))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(self, y: Tensor) -> None:
        precision = 1 + self.sd**-2
        loc = (y + self.mean * self.sd**-2) / precision
        with pyro.plate("rows", len(y)):
            pyro.sample("z", dist.Normal(loc, self.widened * precision**-0.5))

    def exact(self, y: Tensor) -> Tensor:
        return dist.Normal(self.mean, math.hypot(1, self.sd)).log_prob(y).double()


class Null:
    """y_n ~ N(0, 1): a point hypothesis, without a latent."""

    @staticmethod
    def model(y: Tensor) -> None:
        with pyro.plate("rows", len(y)):
            pyro.sample("y", dist.Normal(torch.zeros(len(y)), 1.0), obs=y)

    @staticmethod
    def guide(y: Tensor) -> None:
        pass


def no_guide(*_: Tensor) -> None:
    pass


def made(total: float, error: float = 0.1, rows: int = 4, **fields: object) -> Evidence:
    """An evidence of given figures, of which it is not known what it observed."""
    value = torch.full((rows,), total / rows)
    errors = torch.full((rows,), error / rows**0.5)
    kept = {"num_particles": 1000, "unit": "rows", "method": "by hand", "is_unbiased": True}
    return Evidence(value, errors, 50 + 0 * value, 0 * value, **(kept | fields))


CELLS = torch.tensor([[1.0, 2.0], [0.0, 3.0], [math.nan, 1.0], [4.0, 0.0]])
Y = torch.randn(30, generator=torch.Generator().manual_seed(3)) + 0.4


# --- closed forms ---------------------------------------------------------------------------------


def test_bayes_factor_of_two_conjugate_models() -> None:
    models = {"vague": NormalMean(5.0), "narrow": NormalMean(0.5, site="observed")}
    frame = compare(models, Y, num_particles=4000, seed=0).to_frame()
    exact = {name: model.exact(Y) for name, model in models.items()}
    log10 = (exact["vague"] - exact["narrow"]) / math.log(10)
    row = frame.loc["vague"]
    assert list(frame.index) == ["narrow", "vague"]
    assert row["log10_bayes_factor_low"] < row["log10_bayes_factor_high"]
    error = row["difference_error"] / math.log(10)
    assert abs(row["log10_bayes_factor"] - log10) < 4 * error
    assert error < 0.05
    p = 1 / (1 + 10**log10)
    assert abs(frame["probability"]["narrow"] - p) < 4 * frame["probability_error"]["narrow"]
    for name, value in exact.items():
        assert abs(frame["log_evidence"][name] - value) < 4 * frame["log_evidence_error"][name]


def test_exact_evidences_have_no_error() -> None:
    models = {str(sd): RowNormal(sd=sd) for sd in (0.5, 1.0, 2.0)}
    found = compare(models, Y, method="exact")
    exact = {name: float(model.exact(Y).sum()) for name, model in models.items()}
    frame = found.to_frame()
    for name, value in exact.items():
        assert frame["log_evidence"][name] == pytest.approx(value, abs=1e-4)
    assert (frame["log_evidence_error"] == 0).all()
    assert (frame["probability_error"] == 0).all()
    odds = np.exp(np.array(list(exact.values())) - max(exact.values()))
    p = dict(zip(exact, odds / odds.sum(), strict=True))
    assert frame["probability"].to_dict() == pytest.approx(p, abs=1e-5)
    assert "±: the Monte-Carlo error" not in str(found)


def test_savage_dickey_of_nested_models() -> None:
    """p(y | mu = 0) / p(y | mu ~ N) is the posterior's density at 0 over the prior's."""
    effect = NormalMean(1.0)
    found = compare(
        {"null": (Null, Y), "effect": (effect, Y)}, joint=True, reference="null", num_particles=4000
    )
    precision = 1 + len(Y)
    posterior = stats.norm.logpdf(0, float(Y.sum()) / precision, precision**-0.5)
    expected = -(posterior - stats.norm.logpdf(0, 0, 1)) / math.log(10)
    row = found.to_frame().loc["effect"]
    assert abs(row["log10_bayes_factor"] - expected) < 4 * row["difference_error"] / math.log(10)
    assert row["difference_error"] < 0.05


def test_regressions_under_the_g_prior() -> None:
    """With known variance, log BF against the null is R g / (2 (1 + g)) - d/2 log(1 + g), R = |P y|^2."""
    g, x = 20.0, torch.as_tensor(RNG.normal(size=(20, 3)), dtype=torch.float32)
    y = x[:, 0] + torch.as_tensor(RNG.normal(size=20), dtype=torch.float32)

    def program(columns: list[int]) -> tuple:
        part = x[:, columns]
        gram = part.T @ part

        def model(y: Tensor) -> None:
            b = pyro.sample(
                "b", dist.MultivariateNormal(torch.zeros(len(columns)), g * gram.inverse())
            )
            with pyro.plate("rows", len(y)):
                pyro.sample("y", dist.Normal((part * b.unsqueeze(-2)).sum(-1), 1.0), obs=y)

        def guide(y: Tensor) -> None:
            shrink = g / (1 + g)
            mean = shrink * gram.inverse() @ part.T @ y
            pyro.sample("b", dist.MultivariateNormal(mean, 1.2 * shrink * gram.inverse()))

        return model, guide

    chosen = {"x0": [0], "x0 + x1": [0, 1], "all": [0, 1, 2], "x2": [2]}
    models = {name: program(columns) for name, columns in chosen.items()}
    found = compare(models | {"null": Null}, y, joint=True, reference="null", seed=0).to_frame()
    for name, columns in chosen.items():
        part = x[:, columns].double()
        fit = part @ torch.linalg.lstsq(part, y.double().unsqueeze(-1)).solution
        expected = float(fit.square().sum()) * g / (2 * (1 + g)) - len(columns) / 2 * math.log(
            1 + g
        )
        row = found.loc[name]
        assert abs(row["difference"] - expected) < 4 * row["difference_error"], name
        assert row["difference_error"] < 0.1


# --- errors ---------------------------------------------------------------------------------------


def test_the_paired_error_is_that_of_the_rows_differences() -> None:
    one, other = RowNormal(0.3), RowNormal(-0.2, 2.0)
    row = compare({"a": one, "b": other}, Y, method="exact", reference="a").to_frame().loc["b"]
    differences = other.exact(Y) - one.exact(Y)
    assert row["difference_sampling_error"] == pytest.approx(
        math.sqrt(len(Y)) * float(differences.std()), rel=1e-4
    )
    assert row["difference_error"] == 0


def test_the_paired_error_is_the_spread_over_samples() -> None:
    """Over repeated data: the sd of the sum of differences, to the accuracy of 400 samples' sd."""
    one, other = RowNormal(0.3), RowNormal(-0.2)
    y = torch.as_tensor(RNG.normal(size=(400, 50)))
    differences = other.exact(y) - one.exact(y)
    spread = float(differences.sum(1).std())
    found = compare({"a": one, "b": other}, y[0].float(), method="exact", reference="a")
    said = found.to_frame()["difference_sampling_error"]["b"]
    errors = [math.sqrt(50) * float(row.std()) for row in differences]
    assert said == pytest.approx(errors[0], rel=1e-3)
    assert abs(np.mean(errors) - spread) < 4 * spread / math.sqrt(2 * 399)


def test_joint_figures_have_no_error_over_rows() -> None:
    found = compare({"a": NormalMean(1.0), "b": NormalMean(2.0)}, Y, num_particles=200, seed=0)
    assert "difference_sampling_error" not in found.to_frame()
    assert "over rows" not in str(found)


def test_errors_of_probabilities_are_those_of_the_delta_method() -> None:
    totals, errors = (
        torch.tensor([-10.0, -10.5, -12.0]).double(),
        torch.tensor([0.05, 0.1, 0.02]).double(),
    )
    prior = torch.tensor([0.2, 0.5, 0.3]).double()
    p, said = probabilities(totals, errors, prior)
    noise = torch.as_tensor(RNG.normal(size=(20_000, 3)))
    drawn = (totals + errors * noise + prior.log()).softmax(-1)
    assert p.sum() == pytest.approx(1)
    for i in range(3):  # the sd of 20,000 draws is known to 0.5 %; the second order is e^2 / 2
        assert float(said[i]) == pytest.approx(float(drawn[:, i].std()), rel=0.03)


def test_weights_of_the_prior() -> None:
    given = {"a": made(-10.0), "b": made(-11.0), "c": made(-12.0)}
    frame = compare(given, prior_weights={"a": 1, "b": 4, "c": 5}).to_frame()
    odds = np.array([1, 4, 5]) * np.exp([0, -1, -2])
    assert frame["probability"].tolist() == pytest.approx(odds / odds.sum())
    assert frame["prior"].tolist() == pytest.approx([0.1, 0.4, 0.5])
    assert "prior" not in compare(given).to_frame()


def test_a_model_without_an_error_leaves_none_to_the_probabilities() -> None:
    bad = replace(made(-11.0), standard_error=torch.tensor([0.1, math.nan, 0.1, 0.1]))
    found = compare({"a": made(-10.0), "b": bad})
    assert "a few weights decide the evidence of 'b'" in " ".join(str(found).split())
    assert "± unknown" in str(found)
    assert found.to_frame()["probability_error"].isna().all()
    assert math.isnan(found.to_frame()["log10_bayes_factor_low"]["b"])


@pytest.mark.slow
def test_intervals_of_the_bayes_factor_hold() -> None:
    models = {"vague": NormalMean(5.0, 2.0), "narrow": NormalMean(0.5, 2.0)}
    exact = models["vague"].exact(Y) - models["narrow"].exact(Y)
    held = 0
    for seed in range(200):
        frame = compare(models, Y, num_particles=500, reference="narrow", seed=seed).to_frame()
        row = frame.loc["vague"] * math.log(10)
        held += row["log10_bayes_factor_low"] <= exact <= row["log10_bayes_factor_high"]
    low, high = stats.binom.ppf([0.001, 0.9999], 200, 0.95)
    assert low <= held <= high


def test_models_of_one_call_with_arguments() -> None:
    def model(y: Tensor, sd: float) -> None:
        NormalMean(sd).model(y)

    def guide(y: Tensor, sd: float) -> None:
        NormalMean(sd).guide(y)

    models = {"a": (model, guide), "b": (model, guide)}
    columns = [*COLUMNS, LOO(num_draws=200)]
    found = compare(
        models, args=(Y,), kwargs={"sd": 1.0}, columns=columns, num_particles=2000, seed=0
    )
    frame = found.to_frame()
    for name in models:
        off = frame["log_evidence"][name] - NormalMean(1.0).exact(Y)
        assert abs(off) < 4 * frame["log_evidence_error"][name]


def test_seeds_are_each_models_own() -> None:
    models = {"a": NormalMean(1.0), "b": NormalMean(1.0)}
    frame = compare(models, Y, num_particles=100, seed=0).to_frame()
    assert frame["log_evidence"]["a"] != frame["log_evidence"]["b"]
    more = compare({"c": NormalMean(2.0), **models}, Y, num_particles=100, seed=0).to_frame()
    assert more["log_evidence"]["a"] == frame["log_evidence"]["a"]
    state = torch.get_rng_state()
    compare(models, Y, num_particles=100)
    assert torch.equal(state, torch.get_rng_state())


# --- what cannot be compared ----------------------------------------------------------------------


def poisson(y: Tensor) -> None:
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Poisson(2.0 * torch.ones(len(y))), obs=y)


def normal(y: Tensor, x: Tensor | None = None) -> None:
    with pyro.plate("rows", len(y)):
        pyro.sample("response", dist.Normal(2.0 * torch.ones(len(y)), 1.0), obs=y)


def in_two_sites(y: Tensor) -> None:
    with pyro.plate("rows", len(y)):
        for i in range(2):
            pyro.sample(f"y_{i}", dist.Normal(torch.zeros(len(y)), 1.0), obs=y[:, i])


def in_one_site(y: Tensor) -> None:
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(torch.zeros(len(y), 2), 1.0).to_event(1), obs=y)


def table(kinds: str) -> tuple:
    """A program of two columns, each "p" for Poisson or "n" for Normal, with missing values."""

    def model(y: Tensor) -> None:
        ones = torch.ones(len(y), 1)
        of = {"p": dist.Poisson(ones), "n": dist.Normal(ones, 1.0)}
        columns = Columns([of[kind] for kind in kinds], torch.arange(2))
        with pyro.plate("rows", len(y)):
            pyro.sample("y", PartiallyObserved(columns).to_event(1), obs=y)

    return model, no_guide


def masked(y: Tensor) -> None:
    with pyro.plate("rows", len(y)), pyro.poutine.mask(mask=y > 0):
        pyro.sample("y", dist.Normal(torch.zeros(len(y)), 1.0), obs=y)


def test_joint_against_rows_is_refused_unless_asked_for() -> None:
    models = {"joint": NormalMean(1.0), "rows": RowNormal()}
    with refused("rows", remedy="joint=True"):
        compare(models, Y, num_particles=100)
    frame = compare(models, Y, joint=True, num_particles=4000, seed=0).to_frame()
    exact = models["joint"].exact(Y) - float(models["rows"].exact(Y).sum())
    row = frame["log_evidence"]
    error = math.hypot(*frame["log_evidence_error"])
    assert abs(row["joint"] - row["rows"] - exact) < 4 * error
    assert "difference_sampling_error" not in frame


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ((RowNormal(), Y), (RowNormal(), Y + 0.01), "differ"),
        ((RowNormal(), Y), (RowNormal(), (Y - Y.mean()) / Y.std()), "mean"),
        ((RowNormal(), Y), (RowNormal(), Y[:-1]), "30 observed values and 'b' of 29"),
        ((NormalMean(1.0), Y), (NormalMean(1.0), Y[:-1]), "30 observed values and 'b' of 29"),
        ((NormalMean(1.0), Y), (NormalMean(2.0), Y + 1), "differ"),
        ((RowNormal(), Y), (RowNormal(), Y.flip(0)), "another order"),
        ((RowNormal(), Y), ((masked, no_guide), Y), "observed values"),
        (((poisson, no_guide), Y.abs().round()), ((normal, no_guide), Y.abs().round()), "probabilities"),
        ((table("pp"), CELLS), (table("pn"), CELLS), "'a' gives probabilities of discrete values and 'b'"),
        ((table("np"), CELLS[:2]), (table("pn"), CELLS[:2]), "score different values"),
    ],
    ids=["moved", "standardised", "fewer", "joint fewer", "joint moved", "order", "mask", "discrete",
         "columns", "other columns"],
)  # fmt: skip
def test_other_data_are_refused(one, other, words) -> None:
    with refused("b") as error:
        compare({"a": one, "b": other}, num_particles=10)
    assert words in str(error.value)
    assert str(error.value).count("\n") == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((RowNormal(), Y), ((normal, no_guide), (Y, torch.randn(30)))),  # site, covariate
        ((RowNormal(), Y), (RowNormal(), Y.double())),
        ((table("pn"), CELLS), (table("pn"), CELLS)),
        (((in_one_site, no_guide), Y.reshape(15, 2)), ((in_two_sites, no_guide), Y.reshape(15, 2))),
    ],
    ids=["covariate", "precision", "columns", "sites"],
)
def test_the_same_data_in_another_form_are_compared(one, other) -> None:
    found = compare({"a": one, "b": other}, num_particles=10, seed=0)
    assert len(found.to_frame()) == 2
    assert not any("not checked" in note for note in found.notes)


def test_what_was_observed_is_known_for_any_tiles(small_blocks) -> None:
    y = torch.as_tensor(RNG.normal(size=300), dtype=torch.float32)
    evidence = log_evidence(RowNormal(), y, num_particles=10)
    whole = log_evidence(NormalMean(1.0), y, num_particles=10)
    rows = evidence.observed
    assert torch.equal(rows["sum"], y.double())
    for name, value in whole.observed.items():
        assert value[0] == pytest.approx(rows[name].sum().item())
    part = evidence.select(torch.tensor([3, 5]))
    assert torch.equal(part.observed["sum"], y[[3, 5]].double())


def test_an_evidence_that_does_not_say_what_it_observed_is_noted() -> None:
    found = compare({"by hand": made(-40.0, rows=30), "rows": (RowNormal(), Y)}, num_particles=100)
    assert any("not checked that 'by hand' is of the same data" in note for note in found.notes)


def test_factors_are_noted() -> None:
    def model(y: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        pyro.factor("penalty", -mu.abs())
        with pyro.plate("rows", len(y)):
            pyro.sample("y", dist.Normal(mu, 1.0), obs=y)

    guide = NormalMean(1.0).guide
    found = compare({"a": NormalMean(1.0), "b": (model, guide)}, Y, num_particles=100)
    assert any("'b' has `pyro.factor` statements" in note for note in found.notes)


def test_simulated_data_and_nan_are_refused() -> None:
    with refused("a"):
        compare({"a": made(-1.0, simulated=(Y,)), "b": made(-1.0)})
    with refused("b"):
        compare({"a": made(-1.0), "b": made(math.nan)})


@pytest.mark.parametrize(
    ("models", "options", "subject"),
    [
        ({"a": RowNormal()}, {"data": Y}, "models"),
        ([RowNormal(), RowNormal()], {"data": Y}, "models"),
        ({"a": RowNormal(), "b": RowNormal()}, {}, "models"),
        ({"a": (normal, no_guide), "b": (normal, no_guide)}, {}, "models"),
        ({"a": 3, "b": RowNormal()}, {"data": Y}, "program"),
        ({1: made(-1.0), 2: made(-1.0)}, {}, "models"),
        ({"a": made(-1.0), "b": made(-2.0)}, {"reference": "c"}, "reference"),
        ({"a": made(-1.0), "b": made(-2.0)}, {"prior_weights": {"a": 1}}, "prior_weights"),
        ({"a": made(-1.0), "b": made(-2.0)}, {"prior_weights": {"a": 1, "c": 1}}, "prior_weights"),
        ({"a": made(-1.0), "b": made(-2.0)}, {"columns": []}, "columns"),
        ({"a": made(-1.0), "b": made(-2.0)}, {"columns": [LOO]}, "columns"),
        ({"a": made(-1.0), "b": made(-2.0)}, {"joint": 1}, "joint"),
        ({"a": made(-1.0, unit=None, rows=1), "b": made(-2.0, unit=None, rows=1)},
         {"columns": [LOO()]}, "a"),
    ],
)  # fmt: skip
def test_wrong_arguments(models, options, subject) -> None:
    with refused(subject):
        compare(models, **options)


def test_negative_weights_of_the_prior_are_refused() -> None:
    with refused("the prior weight of 'b'"):
        compare({"a": made(-1.0), "b": made(-2.0)}, prior_weights={"a": 1, "b": -1})


# --- further columns ------------------------------------------------------------------------------


def test_a_column_from_outside() -> None:
    @dataclass(frozen=True)
    class Rows(Column):
        def figures(self, lineup: Lineup) -> Iterator[Figures]:
            counts = tuple(float(c.evidence.num_units) for c in lineup.candidates)
            yield Figures("rows", tuple(map(str, counts)), {"rows": counts}, ("a note of mine",))

    found = compare(
        {"a": RowNormal(), "b": RowNormal(1.0)}, Y, columns=[*COLUMNS, Seconds(), Rows()]
    )
    assert found.to_frame()["rows"].tolist() == [30.0, 30.0]
    assert (found.to_frame()["seconds"] > 0).all()
    assert "a note of mine" in found.notes


def test_leave_one_out_of_a_conjugate_model() -> None:
    """y_n given the others is Normal, with the mean and variance of the posterior without it."""
    models = {"vague": NormalMean(5.0, 1.0), "narrow": NormalMean(0.3, 1.0)}
    found = compare(models, Y, columns=[*COLUMNS, LOO(num_draws=4000)], num_particles=1000, seed=0)
    frame = found.to_frame()
    y = Y.double()
    for name, model in models.items():
        precision = model.sd**-2 + len(y) - 1
        loc = (y.sum() - y) / precision
        rows = dist.Normal(loc, (1 + 1 / precision) ** 0.5).log_prob(y)
        assert frame["elpd_loo"][name] == pytest.approx(float(rows.sum()), abs=0.1)
        assert frame["elpd_loo_se"][name] == pytest.approx(
            math.sqrt(len(y)) * float(rows.std()), rel=0.05
        )
    assert (frame["loo_pareto_k"] < 0.7).all()
    assert "elpd_loo" in str(found)


def test_leave_one_out_where_rows_share_nothing_is_their_evidence() -> None:
    models = {"a": RowNormal(), "b": RowNormal(2.0)}
    frame = compare(models, Y, columns=[*COLUMNS, LOO()], method="exact").to_frame()
    assert frame["elpd_loo"].tolist() == pytest.approx(frame["log_evidence"].tolist())
    assert frame["elpd_dse"].tolist() == pytest.approx(frame["difference_sampling_error"].tolist())
    assert "loo_pareto_k" not in frame


# --- the table ------------------------------------------------------------------------------------


@pytest.fixture
def found() -> Comparison:
    names = {"null": -30.0, "<b>t</b>": -28.0, "far off": -1000.0, "near": -28.5}
    return compare({name: made(total) for name, total in names.items()}, reference="null")


def test_the_table_is_sorted_and_reads(found) -> None:
    lines = str(found).splitlines()
    heads = [line.split()[0] for line in lines if line.startswith(("<b>", "null", "far", "near"))]
    assert heads == ["<b>t</b>", "near", "null", "far"]
    assert "against 'null'" in " ".join(lines)
    text = str(found)
    assert "7.39 [5.60, 9.75]" in text  # e^2, e^(2 - 1.96 sqrt(0.02)), ...
    assert "10^-421.3 [10^-421.4, 10^-421.1]" in text
    assert max(map(len, lines)) < 140


def test_the_order_of_the_models_can_stay() -> None:
    given = {str(i): made(-float(i % 3)) for i in range(6)}
    assert compare(given, sort=False).lineup.names == tuple(given)
    assert compare(given).lineup.names[:2] == ("0", "3")


def test_round_trips(found) -> None:
    frame = found.to_frame()
    text = io.StringIO(frame.to_csv())  # to pandas a model "null" would be a missing name
    again = pd.read_csv(text, index_col="model", keep_default_na=False, na_values=[""])
    pd.testing.assert_frame_equal(again, frame)
    as_json = json.loads(json.dumps(found.to_dict()))
    assert as_json["reference"] == "null"
    assert pd.DataFrame(as_json["models"]).T["difference"].to_dict() == pytest.approx(
        frame["difference"].to_dict()
    )
    assert as_json["models"]["far off"]["bayes_factor"] == 0.0
    text = found.to_frame(text=True)
    assert text["Bayes factor"]["null"] == "1"
    assert "\\begin{tabular}" in text.to_latex(escape=True)


def test_html_escapes_names(found) -> None:
    page = found._repr_html_()
    assert "&lt;b&gt;t&lt;/b&gt;" in page
    assert "<b>" not in page


def test_pictures(found, tmp_path) -> None:
    unknown = replace(made(-29.0), standard_error=torch.full((4,), math.nan))
    many = compare(
        {f"prior {i}": made(-30.0 - 0.1 * i) for i in range(20)} | {"x": unknown}, sort=False
    )
    for number, each in enumerate((found, many)):
        figure = plot_comparison(each)
        figure.draw_without_rendering()
        plots.save(figure, tmp_path / f"{number}.png")
        left, right = figure.axes
        assert [t.get_text() for t in left.get_yticklabels()] == list(each.lineup.names)
        widths = [bar.get_width() for bar in right.patches]
        assert widths == pytest.approx(each.to_frame()["probability"].tolist())
