"""Columns of a table, a panel each."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae.pictures.style import BLUE, GREY

MAX_COLUMNS = 6  # of a table, in one picture


def as_table(x: Tensor) -> np.ndarray[Any, Any]:
    """(N | event) as rows and columns."""
    return x.detach().cpu().double().reshape(len(x), -1).numpy()


def _panels(
    table: np.ndarray[Any, Any], columns: Sequence[str] | None
) -> tuple[Figure, list[Axes]]:
    """A panel for each of the first columns, named."""
    total = table.shape[1]
    count = min(total, MAX_COLUMNS)
    across = min(count, 3)
    down = math.ceil(count / across)
    figure = Figure((0.4 + 2.2 * across, 0.3 + 2.1 * down), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for panel in panels[count:]:
        panel.set_axis_off()
    for i, panel in enumerate(panels[:count]):
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_title(str(columns[i]) if columns else f"column {i + 1}")
        panel.locator_params(nbins=4)
    return figure, panels[:count]


def _which(table: np.ndarray[Any, Any]) -> str:
    total = table.shape[1]
    return f"; the first {MAX_COLUMNS} of {total} columns" if total > MAX_COLUMNS else ""


def reconstructed_columns(
    originals: np.ndarray[Any, Any], means: np.ndarray[Any, Any], columns: Sequence[str] | None
) -> Figure:
    figure, panels = _panels(originals, columns)
    for i, panel in enumerate(panels):
        seen = ~np.isnan(originals[:, i])
        x, y = originals[seen, i], means[seen, i]
        if not len(x):
            continue
        ends = [min(x.min(), y.min()), max(x.max(), y.max())]
        panel.plot(ends, ends, color=GREY, lw=0.8, zorder=1)
        panel.scatter(x, y, float(np.clip(2000 / len(x), 2, 12)), BLUE, lw=0, alpha=0.7, zorder=2)
        residual, spread = ((y - x) ** 2).sum(), ((x - x.mean()) ** 2).sum()
        if spread > 0:
            panel.text(
                0.04, 0.96, f"$R^2$ = {1 - residual / spread:.2f}", va="top", fontsize=8,
                transform=panel.transAxes,
            )  # fmt: skip
    figure.supxlabel(f"data ({len(originals):,} rows{_which(originals)})", fontsize=9)
    figure.supylabel("reconstruction", fontsize=9)
    return figure


def sampled_columns(
    values: np.ndarray[Any, Any],
    data: np.ndarray[Any, Any] | None,
    columns: Sequence[str] | None,
    caption: str,
) -> Figure:
    figure, panels = _panels(values, columns)
    for i, panel in enumerate(panels):
        seen = np.zeros(0) if data is None else data[~np.isnan(data[:, i]), i]
        drawn = [values[:, i], seen] if len(seen) else [values[:, i]]
        number = int(np.clip(math.sqrt(min(map(len, drawn))), 8, 30))
        bins = np.histogram_bin_edges(np.concatenate(drawn), number).tolist()
        if len(seen):
            panel.hist(seen, bins, density=True, color="#D0D0D0", label="data")
        panel.hist(
            values[:, i], bins, density=True, histtype="step", color=BLUE, lw=1.4, label="model"
        )
        panel.set_yticks([])
        panel.spines["left"].set_visible(False)
    if data is not None:
        panels[0].legend(frameon=False, fontsize=8)
    figure.supxlabel(caption + _which(values), fontsize=9)
    return figure
