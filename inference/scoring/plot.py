"""Pictures of scores: how rows compare with normal rows, and the strangest rows with their reasons."""

import math
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae.errors import at_least_1
from pyro_vae.inference.scoring.result import Scores
from pyro_vae.plots.images import image_grid, is_image_batch, show_image, to_the_right, value_range
from pyro_vae.plots.style import BLUE, GREY, RED, new_figure, styled

FEWEST_BINS, MOST_BINS = 12, 60
IMAGES_PER_ROW = 8
LONGEST = 22  # characters of a name


@styled
def plot_scores(scores: Scores) -> Figure:
    """Draw the distribution of the scores, that of the normal rows behind it, and the threshold.

    Args:
        scores: of :func:`pyro_vae.score`.

    >>> from pyro_vae import score
    >>> from pyro_vae.models import FactorAnalysis
    >>> len(plot_scores(score(FactorAnalysis((3,), 1), torch.randn(50, 3))).axes)
    1
    """
    figure, axes = new_figure(5.2, 2.6)
    known = scores.scores[scores.scores.isfinite()]
    normal = scores.reference_scores
    whole = known if normal is None else torch.cat([known, normal[normal.isfinite()]])
    bins: Any = _bins(whole)
    if normal is not None:
        _steps(axes, normal, bins, GREY, f"{len(normal):,} normal rows", filled=True)
    _steps(axes, known, bins, BLUE, f"{len(scores):,} scored rows")
    if math.isfinite(scores.threshold):
        axes.axvline(scores.threshold, color=RED, lw=1.2)
        axes.annotate(
            f"{100 * scores.false_alarms:.3g} % false alarms",
            (scores.threshold, 1),
            (3, -1),
            ("data", "axes fraction"),
            "offset points",
            color=RED,
            va="top",
        )
    axes.set_xlabel(scores.by)
    axes.set_ylabel("share of rows")
    figure.legend(loc="outside upper left", frameon=False, ncols=2)
    return figure


def _bins(values: Tensor) -> list[float]:
    """Return the edges of bins: of equal width, or of equal width in asinh where a few values are far."""
    if not len(values):
        return [0.0, 1.0]
    low, middle, high = (float(values.double().quantile(q)) for q in (0.0, 0.5, 1.0))
    count = min(MOST_BINS, max(FEWEST_BINS, int(2 * len(values) ** 0.5)))
    spread = float(values.double().quantile(0.9)) - middle or 1.0
    if high - middle < 20 * spread:
        high = high if high > low else low + 1.0
        return list(np.linspace(low, high, count + 1))
    first, last = (math.asinh((x - middle) / spread) for x in (low, high))
    inner = [middle + spread * math.sinh(x) for x in np.linspace(first, last, count + 1)[1:-1]]
    return [low, *inner, high]  # exactly, so that no score falls outside


def _steps(
    axes: Axes, values: Tensor, bins: list[float], colour: str, label: str, filled: bool = False
) -> None:
    inside = values[values.isfinite()].double().numpy()
    weights = np.full(len(inside), 1 / max(1, len(values)))
    style: Any = (
        {"histtype": "stepfilled", "alpha": 0.45} if filled else {"histtype": "step", "lw": 1.4}
    )
    axes.hist(inside, bins, weights=weights, color=colour, label=label, **style)
    widths = np.diff(bins)
    if widths.max() > 1.5 * widths.min():
        middle = float(np.median(inside)) if len(inside) else 0.0
        scale = float(widths.min()) * len(widths) / 10
        functions: Any = (
            lambda x: np.arcsinh((x - middle) / scale),
            lambda y: middle + scale * np.sinh(y),
        )
        if not filled and axes.get_xscale() == "linear":
            axes.set_xscale("function", functions=functions)
            places = [float(f"{edge:.2g}") for edge in bins[:: max(1, len(bins) // 6)]]
            axes.set_xticks(places, [f"{place:g}" for place in places])


@styled
def plot_strangest(scores: Scores, data: Tensor, count: int = 16) -> Figure:
    """Draw the strangest rows: images beside their shares by pixel, or the shares of a table's columns.

    Args:
        scores: of :func:`pyro_vae.score`.
        data: the rows that were scored, ``N | event``.
        count: how many rows.

    Raises:
        InputError: ``count`` is below 1.
    """
    rows = scores.strangest(at_least_1("count", count))
    if is_image_batch(data):
        fitting = [name for name, s in scores.shares.items() if s.shape == data.shape]
        shares = scores.shares[fitting[0]] - scores.usual[fitting[0]] if fitting else None
        return _images(
            scores, to_the_right(data), rows, None if shares is None else to_the_right(shares)
        )
    return _columns(scores, rows)


def _images(scores: Scores, data: Tensor, rows: Tensor, shares: Tensor | None) -> Figure:
    """Draw images with their scores, and below each where its score comes from."""
    wide = min(IMAGES_PER_ROW, len(rows))
    tall = -(-len(rows) // wide)
    each = 1 if shares is None else 2
    figure = Figure((0.75 * wide + 0.2, tall * (0.7 * each + 0.25) + 0.3), layout="constrained")
    grid = figure.subplots(tall * each, wide, squeeze=False)
    low, high = value_range(data)
    excess = None if shares is None else shares[rows].double().sum(1)
    limit = 1.0 if excess is None else float(excess.abs().max()) or 1.0
    for axes in grid.flat:
        axes.set_axis_off()
    for i, row in enumerate(rows.tolist()):
        axes = grid[i // wide * each][i % wide]
        show_image(axes, image_grid(data[row : row + 1], 1, low, high))
        axes.set_title(f"{row}: {scores.scores[row]:.0f}", fontsize=7, pad=2)
        if excess is not None:
            below = grid[i // wide * each + 1][i % wide]
            below.imshow(excess[i].numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
    words = "row: score"
    if excess is not None:
        words += "; below: its parts above (red) and below (blue) the usual ones"
    figure.supxlabel(words, fontsize=8)
    return figure


def _columns(scores: Scores, rows: Tensor) -> Figure:
    """Draw, for each row, how far the part of each column is above the median row's."""
    excess = {n: part[rows].double() for n, part in scores.parts(above_usual=True).items()}
    names = sorted(excess, key=lambda n: -float(excess[n].nan_to_num().abs().max()))[:14]
    figure = Figure((1.8 + 0.34 * max(len(names), 6), 1.3 + 0.19 * len(rows)), layout="constrained")
    axes = figure.subplots()
    if not names:
        axes.text(0.5, 0.5, "this score has no parts", ha="center", va="center")
        axes.set_axis_off()
        return figure
    cells = torch.stack([excess[name] for name in names], 1).numpy()
    limit = float(np.nanquantile(np.abs(cells), 0.98)) or 1.0
    picture = axes.imshow(cells, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    short = [n if len(n) <= LONGEST else n[: LONGEST - 1] + "…" for n in names]
    axes.set_xticks(range(len(names)), short, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(
        range(len(rows)), [f"{row:,}: {scores.scores[row]:.1f}" for row in rows.tolist()]
    )
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_ylabel("row: score")
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(picture, ax=axes, extend="both")
    bar.set_label("part above the usual one, nats")
    return figure
