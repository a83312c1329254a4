"""Columns of a table, a panel each: numbers by their values, categories by their shares."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from torch import Tensor

from pyro_vae.data.columns.column import Column, Kind
from pyro_vae.plots.style import BLUE, GREY

Table = npt.NDArray[Any]

MAX_COLUMNS = 6  # in one figure
MAX_CATEGORIES = 8  # of a column
MAX_LETTERS, MAX_LETTERS_LEVEL = 9, 22  # of a name; of all names, to be written without rotation
MAX_BARS = 40  # one for each whole number
LIGHT = "#D0D0D0"


def as_table(x: Tensor) -> Table:
    """Return (N | event) as rows and columns."""
    return x.detach().cpu().double().reshape(len(x), -1).numpy()


def panels_of(
    table: Table, columns: Sequence[Column | str] | None, extra: int = 0
) -> tuple[Figure, list[tuple[Axes, Column]]]:
    """Return a figure with a panel for each of the first columns, and the panels with their columns.

    Args:
        table: rows and columns.
        columns: the columns, or their names.
        extra: how many panels more, for other figures.
    """
    count = min(table.shape[1], MAX_COLUMNS)
    named = list(columns or [f"column {i}" for i in range(count)])[:count] + [""] * extra
    count += extra
    across = min(count, 3)
    down = math.ceil(count / across)
    figure = Figure((0.4 + 2.2 * across, 0.3 + 2.1 * down), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for panel in panels[count:]:
        panel.set_axis_off()
    shown = [c if isinstance(c, Column) else Column(str(c)) for c in named]
    for panel, column in zip(panels, shown, strict=False):
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_title(column.name)
    return figure, list(zip(panels, shown, strict=False))


def _remark(table: Table) -> str:
    total = table.shape[1]
    return f"; the first {MAX_COLUMNS} of {total} columns" if total > MAX_COLUMNS else ""


def _set_scale(
    panel: Axes, column: Column, is_log: bool, axes: Sequence[Literal["x", "y"]] = ("x",)
) -> None:
    """Set few ticks; write dates as dates, and positive values on a log scale."""
    for name in axes:
        axis = panel.xaxis if name == "x" else panel.yaxis
        if column.kind in (Kind.DATE, Kind.TIME):
            locator = AutoDateLocator(minticks=2, maxticks=5)
            axis.set_major_locator(locator)
            axis.set_major_formatter(ConciseDateFormatter(locator))
        elif is_log:
            panel.set(**{f"{name}scale": "log"})
            low, high = sorted(axis.get_data_interval())
            several = low > 0 and high / low > 100  # powers of ten are ticks enough, and have room
            axis.set_major_locator(LogLocator(subs=(1,) if several else (1, 2, 5), numticks=4))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        else:
            panel.locator_params(name, nbins=4, integer=column.kind in (Kind.COUNT, Kind.GRADE))


def _has_log_scale(column: Column, values: Table) -> bool:
    return column.kind is Kind.POSITIVE and bool((values > 0).all())


def _name_ticks(panel: Axes, names: Sequence[str], both: bool = False) -> None:
    """Write short names of categories at the ticks of the x axis, or of both axes."""
    short = [n if len(n) <= MAX_LETTERS else f"{n[: MAX_LETTERS - 1]}…" for n in names]
    rotation = 40 * (sum(map(len, short)) > MAX_LETTERS_LEVEL)
    panel.set_xticks(range(len(short)), short, fontsize=7, rotation=rotation)
    if both:
        panel.set_yticks(range(len(short)), short, fontsize=7)


def draw_categories(panel: Axes, column: Column, values: Table) -> Table:
    """Return the places of values on the y axis: of categories those that occur, with short names there."""
    names = column.categories or ()
    if not names:
        return values
    known = values[~np.isnan(values)]
    if len(names) == 2 and bool((known != known.round()).any()):
        occurring = np.arange(2)  # a mean is the probability of the second
    else:
        occurring = np.unique(known.astype(int))
    short = [names[k] for k in occurring]
    short = [n if len(n) <= MAX_LETTERS else f"{n[: MAX_LETTERS - 1]}…" for n in short]
    panel.set_yticks(range(len(short)), short, fontsize=7)
    panel.set_ylim(-0.5, len(short) - 0.5)
    return np.interp(values, occurring, np.arange(len(occurring)))


def _most_frequent(shares: Table) -> Table:
    return np.argsort(-shares, kind="stable")[:MAX_CATEGORIES]


# --- reconstructions ----------------------------------------------------------------------------


def reconstructed_columns(
    originals: Table, means: Table, columns: Sequence[Column | str] | None
) -> Figure:
    """Plot reconstructions against originals."""
    figure, panels = panels_of(originals, columns)
    for i, (panel, column) in enumerate(panels):
        observed = ~np.isnan(originals[:, i])
        if not observed.any():
            continue
        draw = _draw_confusion if column.categories else _draw_scatter
        draw(panel, column, originals[observed, i], means[observed, i])
    figure.supxlabel(f"data ({len(originals):,} rows{_remark(originals)})", fontsize=9)
    figure.supylabel("reconstruction", fontsize=9)
    return figure


def _draw_scatter(panel: Axes, column: Column, x: Table, y: Table) -> None:
    is_log = _has_log_scale(column, np.concatenate([x, y]))
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    panel.plot(ends, ends, color=GREY, lw=0.8, zorder=1)
    panel.scatter(x, y, float(np.clip(2000 / len(x), 2, 12)), BLUE, lw=0, alpha=0.7, zorder=2)
    _set_scale(panel, column, is_log, ("x", "y"))
    x, y = (np.log(x), np.log(y)) if is_log else (x, y)
    residual, spread = ((y - x) ** 2).sum(), ((x - x.mean()) ** 2).sum()
    if spread > 0:
        of = " of logs" if is_log else ""
        text = f"$R^2${of} = {1 - residual / spread:.2f}"
        panel.text(0.04, 0.96, text, va="top", fontsize=8, transform=panel.transAxes)


def _draw_confusion(panel: Axes, column: Column, x: Table, y: Table) -> None:
    """Draw for each category in the data the shares of the reconstructed ones."""
    names = column.categories or ()
    x, y = x.astype(int), y.round().astype(int)  # a binary mean is the probability of the second
    order = _most_frequent(np.bincount(x, minlength=len(names)))
    shares = np.array(
        [[np.mean(y[x == k] == j) if (x == k).any() else 0 for k in order] for j in order]
    )
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1, origin="lower", aspect="auto")
    _name_ticks(panel, [names[k] for k in order], both=True)
    panel.set_title(f"{column.name}: {np.mean(x == y):.0%} right")


# --- samples ------------------------------------------------------------------------------------


def sampled_columns(
    values: Table, data: Table | None, columns: Sequence[Column | str] | None, caption: str
) -> Figure:
    """Plot the distribution of each column, of the model and of the data."""
    figure, panels = panels_of(values, columns)
    for i, (panel, column) in enumerate(panels):
        observed = np.zeros(0) if data is None else data[~np.isnan(data[:, i]), i]
        draw_column(panel, column, values[:, i], observed)
    if data is not None:
        panels[0][0].legend(frameon=False, fontsize=8)
    figure.supxlabel(caption + _remark(values), fontsize=9)
    return figure


def draw_column(panel: Axes, column: Column, drawn: Table, observed: Table) -> None:
    """Draw the distribution of one column, of the model and, where ``observed`` has rows, of the data."""
    draw = _draw_bars if column.categories else _draw_histograms
    draw(panel, column, drawn, observed)
    panel.set_yticks([])
    panel.spines[["left", "top", "right"]].set_visible(False)


def _draw_bars(panel: Axes, column: Column, drawn: Table, observed: Table) -> None:
    """Draw the share of each category, or of the most frequent ones."""
    names = column.categories or ()
    of_model, of_data = (
        np.bincount(x.astype(int), minlength=len(names)) / max(1, len(x)) for x in (drawn, observed)
    )
    order = _most_frequent(of_data if len(observed) else of_model)
    places = np.arange(len(order))
    if len(observed):
        panel.bar(places, of_data[order], 0.8, color=LIGHT, label="data")
    panel.bar(places, of_model[order], 0.8, fill=False, edgecolor=BLUE, lw=1.4, label="model")
    _name_ticks(panel, [names[k] for k in order])


def _draw_histograms(panel: Axes, column: Column, drawn: Table, observed: Table) -> None:
    both = np.concatenate([drawn, observed])
    is_log = _has_log_scale(column, both)
    bins = _bins(both, min(len(x) for x in (drawn, observed) if len(x)), is_log)
    if len(observed):
        panel.hist(observed, bins, weights=_shares(observed), color=LIGHT, label="data")
    panel.hist(
        drawn, bins, weights=_shares(drawn), histtype="step", color=BLUE, lw=1.4, label="model"
    )
    _set_scale(panel, column, is_log)


def _shares(x: Table) -> Table:
    return np.full(len(x), 1 / max(1, len(x)))


def _bins(x: Table, rows: int, is_log: bool) -> list[float]:
    """Return the edges of the bins: one for each whole number if these are few, otherwise by the rows."""
    if bool((x == x.round()).all()) and np.ptp(x) <= MAX_BARS:
        return (np.arange(x.min(), x.max() + 2) - 0.5).tolist()
    number = int(np.clip(math.sqrt(rows), 8, 30))
    if is_log:
        return np.exp(np.histogram_bin_edges(np.log(x), number)).tolist()
    return np.histogram_bin_edges(x, number).tolist()
