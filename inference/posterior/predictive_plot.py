"""A picture of the data against what the posterior predicts."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pyro_vae import argument_checks as checks
from pyro_vae.errors import at_least_1
from pyro_vae.inference.posterior.result import Posterior
from pyro_vae.plots.style import BLUE, GREY, RED, styled

Values = NDArray[Any]
Columns = list[tuple[str, Values, Values]]  # title, data (N,) and replications (num, N)
CHECKS: dict[str, checks.Check] = {"num": at_least_1, "seed": checks.optional(checks.seed)}
MOST_PANELS = 6
MOST_VALUES = 25  # different whole numbers that have a bar each
BINS = 24
GROUPS = 10  # of predicted probabilities
OUTER, INNER = (3, 97), (25, 75)  # percentiles of the bands


@styled
def plot_predictive(posterior: Posterior, *, num: int = 200, seed: int | None = 0) -> Figure:
    """Plot the observed values against replications of the data from the posterior predictive.

    A panel for each observed column, up to six. Counts and categories: a bar for the number of data with
    each value. Numbers: a histogram. The bands hold 50 % and 94 % of the replications, for each bar.
    Values of 0 and 1: the share of ones against the predicted probability, in ten groups, with bands for
    that share. Sites of a single value each, as of a time series: the values in their order.

    Args:
        posterior: of :func:`pyro_vae.posterior`.
        num: how many replications.
        seed: of their noise.

    >>> from pyro_vae import posterior
    >>> from pyro_vae.models import FactorAnalysis
    >>> found = posterior(FactorAnalysis((3,), 2), torch.randn(50, 3), num_draws=50)
    >>> len(plot_predictive(found, num=20).axes)
    3
    """
    from pyro_vae.inference.posterior.arviz import data_of

    checks.check_arguments(CHECKS, locals())
    num = min(num, posterior.num_draws)
    observed, drawn = data_of(posterior)[0], posterior.predictive(num=num, seed=seed)
    columns = [
        (title, data, replications)
        for name in posterior.observed
        for title, data, replications in _columns(
            name, posterior.layouts[name].event_dim, observed[name].numpy(), drawn[name].numpy()
        )
    ]
    series = {title: (data, drawn) for title, data, drawn in _as_series(columns)}
    longer = [column for column in columns if len(column[1]) > 1]
    columns = [*((title, *values) for title, values in series.items()), *longer][:MOST_PANELS]
    across = min(3, len(columns))
    down = math.ceil(len(columns) / across)
    figure = Figure((0.5 + 2.5 * across, 0.5 + 2.2 * down), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in panels[len(columns) :]:
        axes.set_axis_off()
    for axes, (title, data, replications) in zip(panels, columns, strict=False):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(title, loc="left")
        draw = _draw_series if title in series else _draw
        draw(axes, data, replications)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _columns(name: str, event_dim: int, data: Values, drawn: Values) -> Columns:
    """Return the columns of a site."""
    if not event_dim:
        return [(name, data.reshape(-1), drawn.reshape(len(drawn), -1))]
    width = int(np.prod(data.shape[data.ndim - event_dim :]))
    rows, replications = data.reshape(-1, width), drawn.reshape(len(drawn), -1, width)
    return [(f"{name}[{i}]", rows[:, i], replications[..., i]) for i in range(width)]


def _as_series(columns: Columns) -> Columns:
    """Return the sites of a single value each, as of a time series, as one column, if there are any."""
    single = [column for column in columns if len(column[1]) == 1]
    if not single:
        return []
    titles, data, replications = zip(*single, strict=True)
    title = titles[0] if len(titles) == 1 else f"{titles[0]}, ..., {titles[-1]}"
    return [(title, np.concatenate(data), np.concatenate(replications, -1))]


def _draw_series(axes: Axes, data: Values, replications: Values) -> None:
    """Draw values in their order, each with its bands."""
    places = np.arange(len(data))
    (low, high), (inner_low, inner_high) = _bands(replications)
    axes.vlines(places, low, high, color=BLUE, lw=1.0, label="94 % of replications")
    axes.vlines(places, inner_low, inner_high, color=BLUE, lw=2.4, label="50 %")
    axes.plot(places, data, "o", ms=3.5, mfc="white", mec=RED, mew=1.1, label="data")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="site", ylabel="value")


def _draw(axes: Axes, data: Values, replications: Values) -> None:
    """Draw one column, by the kind of its values; missing ones are left out."""
    known = np.isfinite(data)
    data, replications = data[known].astype(float), replications[:, known].astype(float)
    values = np.unique(data)
    whole = bool((values == np.round(values)).all()) and bool(
        (replications == np.round(replications)).all()
    )
    if whole and set(values.tolist()) <= {0.0, 1.0} and len(data) >= 2 * GROUPS:
        _draw_calibration(axes, data, replications)
    elif (
        whole and np.ptp(np.append(values, np.percentile(replications, [0.5, 99.5]))) < MOST_VALUES
    ):
        low, high = int(min(values.min(), replications.min())), int(values.max())
        high = max(high, int(np.percentile(replications, 99.5)))
        places = np.arange(low, high + 1)
        _draw_bars(axes, data, replications, places)
    else:
        _draw_histogram(axes, data, replications)


def _bands(counts: Values) -> list[tuple[Values, Values]]:
    """Return lower and upper ends of both bands, of counts (num, places)."""
    return [tuple(np.percentile(counts, ends, axis=0)) for ends in (OUTER, INNER)]


def _draw_bars(axes: Axes, data: Values, replications: Values, places: Values) -> None:
    edges = np.append(places - 0.5, places[-1] + 0.5)
    counts = np.stack([np.histogram(row, edges)[0] for row in replications])
    observed = np.histogram(data, edges)[0]
    axes.bar(places, observed, 0.82, fc="#F6DADD", ec=RED, lw=0.8, label="data")
    (low, high), (inner_low, inner_high) = _bands(counts)
    axes.vlines(places, low, high, color=BLUE, lw=1.0, label="94 % of replications")
    axes.vlines(places, inner_low, inner_high, color=BLUE, lw=3.0, label="50 %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="value", ylabel="number of data")


def _draw_histogram(axes: Axes, data: Values, replications: Values) -> None:
    low, high = np.percentile(np.append(replications, data), [0.1, 99.9])
    low, high = min(low, data.min()), max(high, data.max())
    edges = np.linspace(low, high, BINS + 1)
    counts = np.stack([np.histogram(row, edges)[0] for row in replications])
    for (lower, upper), alpha, label in zip(
        _bands(counts), (0.22, 0.38), ("94 % of replications", "50 %"), strict=True
    ):
        axes.fill_between(
            edges, np.append(lower, lower[-1]), np.append(upper, upper[-1]),
            step="post", color=BLUE, alpha=alpha, lw=0, label=label,
        )  # fmt: skip
    axes.stairs(np.histogram(data, edges)[0], edges, color=RED, lw=1.3, label="data")
    axes.set_ylim(bottom=0)
    axes.set(xlabel="value", ylabel="number of data")


def _draw_calibration(axes: Axes, data: Values, replications: Values) -> None:
    """Draw the share of ones among data of like predicted probability."""
    order = np.argsort(replications.mean(0), kind="stable")
    groups = np.array_split(order, GROUPS)
    predicted = np.array([replications[:, group].mean() for group in groups])
    shares = np.stack([replications[:, group].mean(1) for group in groups], -1)
    (low, high), (inner_low, inner_high) = _bands(shares)
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.6, ls=(0, (4, 3)), zorder=0)
    axes.vlines(predicted, low, high, color=BLUE, lw=1.0, label="94 % of replications")
    axes.vlines(predicted, inner_low, inner_high, color=BLUE, lw=3.0, label="50 %")
    observed = [data[group].mean() for group in groups]
    axes.plot(predicted, observed, "o", ms=4, mfc="white", mec=RED, mew=1.2, label="data")
    ends = (-0.03, 1.03)
    axes.set(xlabel="predicted probability", ylabel="share of ones", xlim=ends, ylim=ends)
