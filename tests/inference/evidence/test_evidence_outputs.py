"""What an evidence is turned into: pictures, and groups for ArviZ."""

import importlib.metadata
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from refused import refused
from stories import GlobalMean
from torch import Tensor

from pyro_vae import load, log_evidence, plots
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.auto import Auto
from pyro_vae.inference.evidence.bidirectional import Bidirectional, Sandwich
from pyro_vae.inference.evidence.plot_data import EXTREMES
from pyro_vae.inference.evidence.plots import plot_evidence
from pyro_vae.inference.evidence.psis import bad_k
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.models import FactorAnalysis
from pyro_vae.plots.style import RED

MINUS = "\N{MINUS SIGN}"
X = torch.randn(40, 3, generator=torch.Generator().manual_seed(1)) * 2
IMAGES = torch.arange(40.0).reshape(40, 1, 1, 1).expand(40, 1, 4, 3)


FEW = Annealed(num_temperatures=8, num_leapfrog=2)  # what is printed and drawn is the same of many
BY_NAME = {
    "ais": FEW,
    "sandwich": Sandwich(FEW),
    "bidirectional": Bidirectional(FEW),
    "auto": Auto(annealed=FEW),
}


def of_factor_analysis(method: Any = "importance", **options: Any) -> Evidence:
    torch.manual_seed(0)
    how = BY_NAME.get(method, method)
    return log_evidence(FactorAnalysis((3,), 1), X, method=how, seed=0, **options)


def made(log_evidence: Tensor, pareto_k: Tensor | None = None, **fields: Any) -> Evidence:
    ones = torch.ones_like(log_evidence)
    k = 0.1 * ones if pareto_k is None else pareto_k
    kept = {"num_particles": 10_000, "unit": "data", "method": "importance", "is_unbiased": True}
    given = fields.pop("error", None)
    error = torch.where(k > 0.7, math.nan, 0.1 * ones) if given is None else given * ones
    return Evidence(log_evidence, error, 50 * ones, k, **(kept | fields))


def panels(figure: Figure) -> dict[str, Axes]:
    """By the label of what they show along; the ends by their titles."""
    figure.draw_without_rendering()  # where layout fails, it warns
    return {
        axes.get_xlabel() or axes.get_title(loc="left").split()[0]: axes for axes in figure.axes
    }


def caption(figure: Figure) -> str:
    return figure.get_suptitle().replace("\n", " ")


def legend(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def captions_of(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


BOUNDS, TAILS, UNITS = "number of particles K", "Pareto k", "units, from lowest to highest"
ENDS = {"lowest", "highest"}


@pytest.mark.parametrize(
    ("method", "options", "shown"),
    [
        ("importance", {}, {BOUNDS, TAILS, UNITS}),
        ("importance", {"num_particles": 1}, {BOUNDS, UNITS}),
        ("ais", {}, {BOUNDS, UNITS}),
        ("sandwich", {}, {BOUNDS, UNITS}),
        ("bidirectional", {}, {BOUNDS, UNITS}),
        ("auto", {}, {BOUNDS, TAILS, UNITS}),
        ("exact", {}, {UNITS}),
    ],
)
def test_every_method_has_its_panels(method, options, shown, tmp_path) -> None:
    evidence = of_factor_analysis(method, **options)
    figure = plot_evidence(evidence)
    assert set(panels(figure)) == shown | ENDS
    assert evidence.method in caption(figure)
    assert f"{evidence.mean:.3f}".replace("-", MINUS)[:-1] in caption(figure)
    plots.save(figure, tmp_path / "evidence.png")


def test_the_band_is_twice_the_error_of_the_mean_over_units() -> None:
    evidence = of_factor_analysis(num_particles=1500)
    evidence.bounds_error[1500].nan_to_num_(
        0.4
    )  # a unit that has no error would leave none to the mean
    axes = panels(plot_evidence(evidence))[BOUNDS]
    curve, *others = axes.get_lines()
    (hollow,) = (line for line in others if line.get_markerfacecolor() == "white")
    counts = [1, 10, 100, 1000, 1500]
    means = [float(evidence.bounds[k].mean()) for k in counts]
    np.testing.assert_allclose(curve.get_xydata(), np.array([counts, means]).T)
    errors = [float(evidence.bounds_error[k].square().sum()) ** 0.5 / 40 for k in counts]
    assert math.isnan(errors[3])  # a single block of 1,000
    (bars,) = (c for c in axes.containers if c.has_yerr)
    segments = [s for s in bars.lines[2][0].get_segments() if len(s) and np.isfinite(s).all()]
    expected = {k: (m - 2 * e, m + 2 * e) for k, m, e in zip(counts, means, errors, strict=True)}
    assert [k for ((k, _), _) in segments] == [1, 10, 100, 1500]
    for (k, low), (_, high) in segments:
        np.testing.assert_allclose((low, high), expected[int(k)])
    (band,) = (c for c in axes.collections if isinstance(c, PolyCollection))
    corners = np.concatenate([path.vertices for path in band.get_paths()])
    for k in (1, 10, 100):
        ys = corners[corners[:, 0] == k, 1]
        np.testing.assert_allclose((ys.min(), ys.max()), expected[k])
    assert not ((corners[:, 0] > 100) & (corners[:, 0] < 1500)).any()
    np.testing.assert_allclose(hollow.get_xydata(), [[1000, means[3]]])
    assert legend(axes)[0] == "bound at K, ± 2 standard errors (hollow: unknown)"


@pytest.mark.slow
def test_the_legend_has_the_figures() -> None:
    evidence = of_factor_analysis("sandwich")
    says = legend(panels(plot_evidence(evidence))[BOUNDS])
    assert evidence.upper is not None
    assert evidence.jackknife is not None
    for words, value in (
        ("upper estimate, no bound: ", float(evidence.upper.mean())),
        ("jackknife: ", float(evidence.jackknife.mean())),
        ("certified at 95%: at least ", evidence.certificate()),
    ):
        assert any(line.startswith(f"{words}{value:.3f}".replace("-", MINUS)) for line in says)
    simulated = of_factor_analysis("bidirectional")
    says = legend(panels(plot_evidence(simulated))[BOUNDS])
    low, high = simulated.interval()
    assert any(f"{low:.3f} to {high:.3f}".replace("-", MINUS) in line for line in says)
    assert any(line.startswith("upper bound, in expectation") for line in says)


def test_an_estimate_that_is_not_the_bound_is_marked() -> None:
    values = torch.linspace(-3, -2, 20)
    bounds = {1: values - 1, 100: values}
    errors = dict.fromkeys(bounds, torch.full((20,), 0.1))
    evidence = made(values, bounds=bounds, bounds_error=errors, is_unbiased=False)
    assert len(legend(panels(plot_evidence(evidence))[BOUNDS])) == 1
    better = replace(evidence, log_evidence=values + 0.5)
    assert legend(panels(plot_evidence(better))[BOUNDS])[1] == f"estimate: {MINUS}2.000"


def test_a_certificate_that_is_far_off_leaves_the_scale_alone() -> None:
    figure = plot_evidence(log_evidence(GlobalMean, X[:10, 0], num_particles=2000, seed=0))
    (axes,) = panels(figure).values()
    assert legend(axes)[-1].endswith("(off the scale)")
    low, high = axes.get_ylim()
    assert high - low < 0.5
    assert caption(figure).startswith("log p(x) of all data together")
    assert axes.get_ylabel() == "log p(x) of all data, nats"


def test_k_is_counted_at_its_threshold() -> None:
    k = torch.cat([torch.linspace(-1, 0.69, 70), torch.linspace(0.71, 3, 20)])
    k = torch.cat([k, torch.tensor([-math.inf, math.nan, math.nan])])
    axes = panels(plot_evidence(made(torch.linspace(-9, -1, 93), k)))[TAILS]
    counts = {True: 0.0, False: 0.0}
    for bar in axes.patches:
        left, right = bar.get_x(), bar.get_x() + bar.get_width()
        assert right <= 0.7 + 1e-9 or left >= 0.7 - 1e-9
        assert (bar.get_facecolor()[0] > 0.5) is bool(left > 0.7 - 1e-9)
        counts[left > 0.7 - 1e-9] += bar.get_height()
    assert counts == {False: 70, True: 20}
    title = axes.get_title(loc="left")
    assert "21.5% of 93 units above 0.7" in title
    assert f"1 with a flat tail ({MINUS}∞), 2 unknown" in title


@pytest.mark.parametrize(
    ("k", "words"),
    [
        (torch.full((20,), math.nan), "Pareto k: unknown, from too few weights"),
        (torch.full((20,), -math.inf), f"20 with a flat tail ({MINUS}∞)"),
    ],
)
def test_without_a_histogram_k_is_in_the_caption(k, words) -> None:
    figure = plot_evidence(made(torch.linspace(-2, -1, 20), k))
    assert TAILS not in panels(figure)
    assert words in caption(figure)


def test_the_extremes_are_named_and_shown() -> None:
    values = torch.randperm(40, generator=torch.Generator().manual_seed(2)).double()
    k = torch.where(values == 39, 0.9, 0.1)
    found = panels(plot_evidence(made(values, k), IMAGES))
    order = values.argsort().tolist()
    for name, units in (("lowest", order[:8]), ("highest", order[:-9:-1])):
        axes = found[name]
        expected = [f"{unit}\n{values[unit]:.2f}" for unit in units]
        assert captions_of(axes) == expected
        shown = IMAGES[order[:8] + order[-8:]]
        grey = (IMAGES[units, 0, 0, 0] - shown.min()) / (shown.max() - shown.min())
        assert [image.get_array()[0, 0, 0] for image in axes.images] == pytest.approx(grey.tolist())
    colours = [text.get_color() for text in found["highest"].texts]
    assert colours == [RED] + ["black"] * 7
    assert found["highest"].get_title(loc="left").endswith("(red: without an error)")


def test_tables_and_numbers() -> None:
    evidence = made(torch.arange(5.0))
    numbers = torch.tensor([7, 3, 9, 1, 4])
    found = panels(plot_evidence(evidence, (torch.zeros(5, 2), torch.zeros(5)), numbers))
    assert captions_of(found["lowest"]) == ["7\n0.00", "3\n1.00"]
    assert captions_of(found["highest"]) == ["4\n4.00", "1\n3.00"]
    assert not found["lowest"].images


def test_a_split_is_read_and_nothing_is_left_behind() -> None:
    split = load("digits", binarize="stochastic").train
    state = torch.get_rng_state()
    found = panels(plot_evidence(made(torch.randn(len(split), generator=torch.Generator())), split))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(found["lowest"].images) == EXTREMES


def test_simulated_data_are_shown_where_there_are_no_others() -> None:
    values = torch.linspace(-9, -1, 40)
    found = panels(plot_evidence(made(values, upper=values + 0.1, simulated=(IMAGES,))))
    assert len(found["lowest"].images) == EXTREMES
    joint = made(values[:1], unit=None, upper=values[:1] + 0.1, simulated=(X,))
    assert UNITS in panels(plot_evidence(joint))


def test_units_without_a_finite_figure_are_counted() -> None:
    values = torch.linspace(-9, -1, 40)
    values[3], values[7], values[11] = math.nan, -math.inf, math.nan
    bounds = {1: values - 1, 100: values}
    bounds[1][20] = -math.inf
    errors = dict.fromkeys(bounds, torch.full((40,), 0.1))
    figure = plot_evidence(made(values, bounds=bounds, bounds_error=errors), IMAGES)
    mean = float(values[values.isfinite()].mean())
    assert f"of 37 of 40 units: {mean:.3f}".replace("-", MINUS) in caption(figure)
    assert "not drawn: 3 units without a finite figure (the first is 3)" in caption(figure)
    found = panels(figure)
    assert legend(found[BOUNDS]) == [f"bound at K, ± 2 standard errors ({MINUS}∞ at K = 1)"]
    assert len(found[UNITS].get_lines()[0].get_xdata()) == 37
    assert not {text.split("\n")[0] for text in captions_of(found["lowest"])} & {"3", "7", "11"}
    with refused("evidence"):
        plot_evidence(made(torch.full((3,), math.nan)))


@pytest.mark.parametrize("units", [1, 2, 3, 16, 10_000])
def test_any_number_of_units(units) -> None:
    values = torch.randn(units, generator=torch.Generator().manual_seed(0)).double()
    found = panels(plot_evidence(made(values)))
    assert len(found.get("lowest", Figure().subplots()).texts) == min(8, units // 2)
    assert found[UNITS].get_lines()[0].get_ydata() == pytest.approx(values.sort().values.numpy())


@pytest.mark.parametrize(
    ("draw", "subject", "expected", "remedy"),
    [
        (lambda e: plot_evidence(e, X[:39]), "data", "40 units", ""),
        (lambda e: plot_evidence(replace(e, unit=None), X[:3]), "data", "", "leave the data out"),
        (lambda e: plot_evidence(e, numbers=torch.arange(3)), "numbers", "40 units", ""),
    ],
)
def test_data_that_do_not_match_the_units(
    draw: Callable[[Evidence], Figure], subject, expected, remedy
) -> None:
    with refused(subject, expected=expected, remedy=remedy):
        draw(made(torch.zeros(40)))


def test_columns_of_different_lengths_are_refused() -> None:
    with refused("data"):
        plot_evidence(made(torch.zeros(40)), (X, X[:3]))


# --- ArviZ --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["importance", "sandwich", "exact"])
def test_arviz_gets_every_figure(method) -> None:
    evidence = of_factor_analysis(method)
    exported = evidence.to_arviz()
    kind = "DataTree" if importlib.metadata.version("arviz") >= "1" else "InferenceData"
    assert type(exported).__name__ == kind
    groups = {"sample_stats": ["log_evidence", "standard_error", "ess", "pareto_k"]}
    assert "log_likelihood" not in exported  # it would be taken for that of posterior draws
    for name in ("smoothed", "jackknife", "upper", "upper_error"):
        if getattr(evidence, name) is not None:
            groups["sample_stats"].append(name)
    for group, names in groups.items():
        assert set(exported[group].data_vars) == set(names)
        for name in names:
            values = exported[group][name]
            assert values.dims == ("chain", "draw", "unit")
            np.testing.assert_array_equal(values.values, getattr(evidence, name)[None, None])
        np.testing.assert_array_equal(exported[group]["unit"].values, np.arange(40))
    attrs = {"num_particles": evidence.num_particles, "unit": "data", "method": evidence.method}
    attrs |= {"is_unbiased": 1, "is_exact": int(method == "exact")}
    assert exported.attrs.items() >= attrs.items()


def test_a_joint_evidence_is_one_unit() -> None:
    exported = replace(made(torch.zeros(1)), unit=None, is_unbiased=False).to_arviz()
    assert exported["sample_stats"]["log_evidence"].shape == (1, 1, 1)
    assert exported.attrs["unit"] == ""
    assert exported.attrs["is_unbiased"] == 0


# --- what the summary says of errors ---------------------------------------------------------------


def test_units_without_an_error_are_counted_and_left_out() -> None:
    k = torch.cat([torch.full((37,), 0.6), torch.full((3,), 0.8)])
    evidence = made(torch.linspace(-3, -1, 40).double(), k.double())
    assert evidence.bad_units == 3
    assert math.isnan(evidence.mean_standard_error)
    says = " ".join(evidence.summary().split())
    assert "3 of 40 units have a Pareto k above 0.7: a few weights decide" in says
    assert "(the first is unit 37), so the mean has none" in says
    assert "± unknown" in says
    rest = evidence.log_evidence[:37].mean()
    assert f"it is {rest:.3f} ± 0.017." in says  # hypot(0.1 / sqrt(37), 0.1^2 / 2)
    assert "certificate still holds" in says
    assert evidence.to_dict()["standard_error"] is None
    assert evidence.to_dict()["units_without_error"] == 3


def test_a_large_k_of_weights_that_hardly_vary_is_no_alarm() -> None:
    """Log-weights within 0.002 of each other, but for one in 250, of up to some 0.3."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2000, 20, generator=generator).double()
    rare = torch.rand(2000, 20, generator=generator).double() < 0.004
    sums = WeightSums(2000, 20)
    sums.add(0.002 * noise + rare * noise.abs() * 0.3)
    estimates = sums.unit_estimates().by_field()
    evidence = Evidence(**estimates, num_particles=2000, unit="data", method="", is_unbiased=True)
    assert (evidence.ess > 0.99 * 2000).all()
    assert (evidence.pareto_k > bad_k(2000)).double().mean() > 0.8
    assert evidence.bad_units == 0
    assert evidence.mean_standard_error < 0.002
    assert "Pareto k above" not in evidence.summary()


@pytest.mark.parametrize("spread", [30.0, 1000.0])
def test_few_effective_chains_are_flagged(spread) -> None:
    generator = torch.Generator().manual_seed(0)
    sums = WeightSums(16, 50)
    sums.add(spread * torch.randn(16, 50, generator=generator))
    method = {"num_particles": 16, "unit": "data", "method": "annealing", "is_unbiased": True}
    evidence = Evidence(**sums.unit_estimates().by_field(), **method)
    assert evidence.bad_units == 50
    says = " ".join(evidence.summary().split())
    assert "50 of 50 units have too few effective weights, 1.0 in the median" in says
    assert "too small to tell" not in says
    assert "certified" in says


@pytest.mark.parametrize(
    ("upper", "words"),
    [
        (-2.001, "by no more than their errors"),
        (-9.0, "7 nats below the lower one"),
    ],
)
def test_bounds_that_cross_are_said(upper, words) -> None:
    ones = torch.ones(1, dtype=torch.float64)
    crossed = made(-2 * ones, upper=upper * ones, upper_error=0.1 * ones)
    assert words in " ".join(crossed.summary().split())
    assert "lower one" not in made(-2 * ones, upper=-ones, upper_error=ones).summary()


def test_a_densitys_bits_per_dimension_are_said_to_be_that() -> None:
    evidence = made(torch.tensor([3.0, 4.0]), values_per_unit=4)
    said = " ".join(evidence.summary().split())
    assert "bits per dimension below 0 are those of a density" in said
    assert "below 0" not in made(torch.tensor([-3.0, -4.0]), values_per_unit=4).summary()


# --- in print ---------------------------------------------------------------------------------------


def rows_of(evidence: Evidence) -> dict[str, str]:
    """The lines of the print, by their names, in order."""
    lines = str(evidence).splitlines()
    pairs = (re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in lines)
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def test_print_shows_the_total_first_then_a_unit() -> None:
    evidence = of_factor_analysis(
        Annealed(40, num_leapfrog=3), num_particles=32
    )  # whose error is known
    assert str(evidence) == evidence.summary()
    (first, total), (second, mean), *_ = rows_of(evidence).items()
    assert first == "log p(data), all 40 units"
    assert second == "mean of a unit (plate 'data')"
    error = 40 * evidence.mean_standard_error
    assert float(total.split()[0]) == pytest.approx(evidence.total, abs=error)
    assert float(total.split()[2]) == pytest.approx(error, rel=0.06)
    assert float(mean.split()[0]) == pytest.approx(evidence.mean, abs=error / 40)
    figures = evidence.to_dict()
    assert figures["total_standard_error"] == pytest.approx(error)
    assert figures["largest_pareto_k"] == pytest.approx(float(evidence.pareto_k.max()))
    joint = log_evidence(GlobalMean, X[:10, 0], num_particles=2000, seed=0)
    assert next(iter(rows_of(joint))) == "log p(data), all data together"


@pytest.mark.parametrize(
    ("evidence", "k", "to_report"),
    [
        (made(-torch.ones(3)), "median 0.10, largest 0.10; 0 of 3", "log p(data) with its error"),
        (made(-torch.ones(3), torch.tensor([0.1, 0.9, 0.2])), "1 of 3 units above 0.7", "certified"),
        (made(-torch.ones(3), torch.tensor([0.1, 0.9, 0.2]), is_unbiased=False), "1 of 3", "none yet"),
        (made(-torch.ones(1), unit=None), "0.10; good up to 0.7", "log p(data) with its error"),
        (made(-torch.ones(3), math.nan * torch.ones(3)), "unknown", "log p(data) with its error"),
        (made(-torch.ones(3), math.inf * torch.ones(3), error=0.0), "hardly vary", "log"),
        (made(-torch.ones(3), smoothed=torch.zeros(3), jackknife=-torch.ones(3)), "median",
         "But the Pareto-smoothed figure differs"),
        (made(-torch.ones(3), smoothed=-torch.ones(3), jackknife=-torch.ones(3)), "median",
         "The jackknife and the Pareto-smoothed figure agree"),
    ],
)  # fmt: skip
def test_print_always_says_k_and_what_to_report(evidence, k, to_report) -> None:
    said = " ".join(str(evidence).split())
    assert k in said.partition("Pareto k")[2]
    assert to_report in said.partition("to report")[2]
