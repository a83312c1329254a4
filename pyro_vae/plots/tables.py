"""Columns of a table, a panel each: numbers by where they lie, words by how often they occur."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae.data.columns.column import Column, Kind
from pyro_vae.plots.style import BLUE, GREY

Table = npt.NDArray[Any]

MAX_COLUMNS = 6  # of a table, in one picture
MOST_WORDS, LETTERS, LETTERS_ABREAST = (
    8,
    9,
    22,
)  # of a column; of a word; of words that fit in a line
MOST_BARS = 40  # of whole numbers, one for each


def as_table(x: Tensor) -> Table:
    """(N | event) as rows and columns."""
    return x.detach().cpu().double().reshape(len(x), -1).numpy()


def _panels(
    table: Table, columns: Sequence[Column | str] | None
) -> tuple[Figure, list[tuple[Axes, Column]]]:
    """A panel for each of the first columns, with its column."""
    count = min(table.shape[1], MAX_COLUMNS)
    across = min(count, 3)
    down = math.ceil(count / across)
    figure = Figure((0.4 + 2.2 * across, 0.3 + 2.1 * down), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for panel in panels[count:]:
        panel.set_axis_off()
    named = columns or [f"column {i}" for i in range(count)]  # as a .csv has them
    shown = [c if isinstance(c, Column) else Column(str(c)) for c in named[:count]]
    for panel, column in zip(panels, shown, strict=False):
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_title(column.name)
    return figure, list(zip(panels, shown, strict=False))


def _which(table: Table) -> str:
    total = table.shape[1]
    return f"; the first {MAX_COLUMNS} of {total} columns" if total > MAX_COLUMNS else ""


def _scale(
    panel: Axes, column: Column, in_logs: bool, axes: Sequence[Literal["x", "y"]] = ("x",)
) -> None:
    """Few ticks; dates as such, and positive values in logs."""
    for name in axes:
        axis = panel.xaxis if name == "x" else panel.yaxis
        if column.kind in (Kind.DATE, Kind.TIME):
            locator = AutoDateLocator(minticks=2, maxticks=5)
            axis.set_major_locator(locator)
            axis.set_major_formatter(ConciseDateFormatter(locator))
        elif in_logs:
            panel.set(**{f"{name}scale": "log"})
        else:
            panel.locator_params(name, nbins=4, integer=column.kind in (Kind.COUNT, Kind.GRADE))


def _is_in_logs(column: Column, values: Table) -> bool:
    return column.kind is Kind.POSITIVE and bool((values > 0).all())


def _short(words: Sequence[str]) -> list[str]:
    return [word if len(word) <= LETTERS else f"{word[: LETTERS - 1]}…" for word in words]


# --- beside what the model makes of them --------------------------------------------------------


def reconstructed_columns(
    originals: Table, means: Table, columns: Sequence[Column | str] | None
) -> Figure:
    figure, panels = _panels(originals, columns)
    for i, (panel, column) in enumerate(panels):
        seen = ~np.isnan(originals[:, i])
        if not seen.any():
            continue
        draw = _words_again if column.categories else _numbers_again
        draw(panel, column, originals[seen, i], means[seen, i])
    figure.supxlabel(f"data ({len(originals):,} rows{_which(originals)})", fontsize=9)
    figure.supylabel("reconstruction", fontsize=9)
    return figure


def _numbers_again(panel: Axes, column: Column, x: Table, y: Table) -> None:
    in_logs = _is_in_logs(column, np.concatenate([x, y]))
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    panel.plot(ends, ends, color=GREY, lw=0.8, zorder=1)
    panel.scatter(x, y, float(np.clip(2000 / len(x), 2, 12)), BLUE, lw=0, alpha=0.7, zorder=2)
    _scale(panel, column, in_logs, ("x", "y"))
    x, y = (np.log(x), np.log(y)) if in_logs else (x, y)
    residual, spread = ((y - x) ** 2).sum(), ((x - x.mean()) ** 2).sum()
    if spread > 0:
        of = " of logs" if in_logs else ""
        _note(panel, f"$R^2${of} = {1 - residual / spread:.2f}")


def _words_again(panel: Axes, column: Column, x: Table, y: Table) -> None:
    """Of each word in the data, which share was taken for which."""
    words = column.categories or ()
    x, y = x.astype(int), y.round().astype(int)  # a mean is the probability of the second of two
    order = np.argsort(-np.bincount(x, minlength=len(words)), kind="stable")[:MOST_WORDS]
    shares = np.array(
        [[np.mean(y[x == k] == j) if (x == k).any() else 0 for k in order] for j in order]
    )
    at, names = np.arange(len(order)), _short([words[k] for k in order])
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1, origin="lower", aspect="auto")
    panel.set_xticks(at, names, fontsize=7, rotation=40 * (sum(map(len, names)) > LETTERS_ABREAST))
    panel.set_yticks(at, names, fontsize=7)
    panel.set_title(f"{column.name}: {np.mean(x == y):.0%} right")


def _note(panel: Axes, text: str) -> None:
    panel.text(0.04, 0.96, text, va="top", fontsize=8, transform=panel.transAxes)


# --- beside what the model makes up -------------------------------------------------------------


def sampled_columns(
    values: Table, data: Table | None, columns: Sequence[Column | str] | None, caption: str
) -> Figure:
    figure, panels = _panels(values, columns)
    for i, (panel, column) in enumerate(panels):
        seen = np.zeros(0) if data is None else data[~np.isnan(data[:, i]), i]
        draw = _shares_of_words if column.categories else _shares_of_numbers
        draw(panel, column, values[:, i], seen)
        panel.set_yticks([])
        panel.spines["left"].set_visible(False)
    if data is not None:
        panels[0][0].legend(frameon=False, fontsize=8)
    figure.supxlabel(caption + _which(values), fontsize=9)
    return figure


def _shares_of_words(panel: Axes, column: Column, drawn: Table, seen: Table) -> None:
    """How often each word occurs; the most frequent ones, where there are many."""
    words = column.categories or ()
    of_model, of_data = (
        np.bincount(x.astype(int), minlength=len(words)) / max(1, len(x)) for x in (drawn, seen)
    )
    order = np.argsort(-(of_data if len(seen) else of_model), kind="stable")[:MOST_WORDS]
    at, names = np.arange(len(order)), _short([words[k] for k in order])
    if len(seen):
        panel.bar(at, of_data[order], 0.8, color="#D0D0D0", label="data")
    panel.bar(at, of_model[order], 0.8, fill=False, edgecolor=BLUE, lw=1.4, label="model")
    panel.set_xticks(at, names, fontsize=7, rotation=40 * (sum(map(len, names)) > LETTERS_ABREAST))


def _shares_of_numbers(panel: Axes, column: Column, drawn: Table, seen: Table) -> None:
    together = np.concatenate([drawn, seen])
    in_logs = _is_in_logs(column, together)
    bins = _bins(together, min(len(x) for x in (drawn, seen) if len(x)), in_logs)
    if len(seen):
        panel.hist(seen, bins, weights=_shares(seen), color="#D0D0D0", label="data")
    panel.hist(
        drawn, bins, weights=_shares(drawn), histtype="step", color=BLUE, lw=1.4, label="model"
    )
    _scale(panel, column, in_logs)


def _shares(x: Table) -> Table:
    return np.full(len(x), 1 / max(1, len(x)))


def _bins(x: Table, rows: int, in_logs: bool) -> list[float]:
    """The bins' edges: one bin for each whole number, where these are few; else as many as rows allow."""
    if bool((x == x.round()).all()) and np.ptp(x) <= MOST_BARS:
        return (np.arange(x.min(), x.max() + 2) - 0.5).tolist()
    number = int(np.clip(math.sqrt(rows), 8, 30))
    if in_logs:
        return np.exp(np.histogram_bin_edges(np.log(x), number)).tolist()
    return np.histogram_bin_edges(x, number).tolist()
