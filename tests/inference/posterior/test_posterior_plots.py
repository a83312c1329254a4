"""Pictures of a posterior: what is drawn is what the posterior holds."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from posteriors import KNOWN, normal_normal
from refused import refused
from torch import Tensor

from pyro_vae import posterior
from pyro_vae.inference import Guide, Posterior, plot_intervals, plot_pairs, plot_predictive

GROUPS = KNOWN[2]


def of_groups() -> Posterior:
    program = GROUPS.model, GROUPS.wide
    return posterior(program, **GROUPS.data, num_draws=400, seed=0)


def test_intervals_and_means_are_those_of_the_summary() -> None:
    found = of_groups()
    table = found.summary(["effect"])
    _, axes = plot_intervals(found).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(table.rows)
    means = axes.collections[2].get_offsets()[:, 0].tolist()
    assert means == pytest.approx(table.columns["mean"])
    drawn = np.array([s[:, 0] for s in axes.collections[0].get_segments()])
    assert drawn[:, 0].tolist() == pytest.approx(table.columns["hdi_3%"])
    assert drawn[:, 1].tolist() == pytest.approx(table.columns["hdi_97%"])
    inner = np.array([s[:, 0] for s in axes.collections[1].get_segments()])
    assert (inner[:, 0] > drawn[:, 0]).all()


def test_a_long_site_says_what_is_left_out() -> None:
    known = normal_normal()
    found = posterior((known.model, known.exact), known.args, num_draws=50, seed=0)
    (axes,) = plot_intervals(found).axes
    assert len(axes.get_yticks()) == 40
    assert axes.get_title(loc="left") == "z: the first 40 of 70"


def test_pairs_are_the_draws() -> None:
    found = of_groups()
    figure = plot_pairs(found, ["mean", "effect"])
    assert len(figure.axes) == 36
    below = figure.axes[6]  # effect[0] against mean
    assert below.get_ylabel() == "effect[0]"
    points = below.lines[0].get_xydata()
    expected = torch.stack([found.draws["mean"], found.draws["effect"][:, 0]], -1)
    np.testing.assert_allclose(points, expected.numpy())
    written = float(figure.axes[1].texts[0].get_text())
    assert written == pytest.approx(np.corrcoef(points.T)[0, 1], abs=0.006)
    with refused("sites"):
        plot_pairs(found, ["mean"])


def columns() -> Posterior:
    def model(x: Tensor, y: Tensor | None = None, n: Tensor | None = None, g: Tensor | None = None):
        a = pyro.sample("a", dist.Normal(0.0, 0.1))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(a + x, 1.0), obs=y)
            pyro.sample("n", dist.Poisson((a + x).exp()), obs=n)
            pyro.sample("g", dist.Bernoulli(logits=a + x), obs=g)

    x = torch.linspace(-2, 2, 200)
    y, n = dist.Normal(x, 1.0).sample(), dist.Poisson(x.exp()).sample()
    g = dist.Bernoulli(logits=x).sample()
    guide = lambda *_: pyro.sample("a", dist.Normal(0.0, 0.1))  # noqa: E731
    return posterior((model, guide), (x, y, n, g), method=Guide(), num_draws=200, seed=0)


def test_replications_surround_the_data_of_the_model() -> None:
    numbers, counts, ones = plot_predictive(columns(), num=100).axes
    steps = numbers.patches[-1].get_data()
    assert steps.values.sum() == 200
    bars = np.array([bar.get_height() for bar in counts.patches])
    outer = np.array([s[:, 1] for s in counts.collections[0].get_segments()])
    inside = (outer[:, 0] <= bars) & (bars <= outer[:, 1])
    assert inside.mean() > 0.7
    assert bars.sum() == 200
    points = ones.lines[-1].get_xydata()  # share of ones by predicted probability
    assert len(points) == 10
    assert np.abs(points[:, 1] - points[:, 0]).max() < 0.35
    assert (np.diff(points[:, 0]) > 0).all()


def test_data_that_the_model_does_not_predict_lie_outside() -> None:
    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(0.0, 0.01))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    x = 3 * torch.randn(300)
    guide = lambda x: pyro.sample("z", dist.Normal(0.0, 0.01))  # noqa: E731
    found = posterior((model, guide), x, method=Guide(), num_draws=100, seed=0)
    (axes,) = plot_predictive(found, num=100).axes
    steps = axes.patches[-1].get_data()
    bands = axes.collections[0].get_paths()[0].vertices  # of 94 %
    middle = (steps.edges[:-1] + steps.edges[1:]) / 2
    central = np.abs(middle) < 0.5
    assert steps.values[central].max() < bands[:, 1].max() / 2


def test_single_values_are_drawn_in_their_order() -> None:
    """A time series has a site for each time: one panel, with a band at each."""

    def model(x: Tensor) -> None:
        level = pyro.sample("level", dist.Normal(0.0, 1.0))
        for t in range(len(x)):
            pyro.sample(f"x_{t}", dist.Normal(level + t, 0.1), obs=x[t])

    x = torch.arange(8.0)
    guide = lambda x: pyro.sample("level", dist.Normal(0.0, 0.1))  # noqa: E731
    (axes,) = plot_predictive(posterior((model, guide), args=(x,), num_draws=50, seed=0)).axes
    assert axes.get_title(loc="left") == "x_0, ..., x_7"
    assert axes.lines[0].get_ydata().tolist() == x.tolist()
    (outer, _) = axes.collections
    for t, ((_, low), (_, high)) in enumerate(outer.get_segments()):
        assert t - 1 < low < t < high < t + 1
