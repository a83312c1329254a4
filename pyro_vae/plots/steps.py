"""Data that change step by step: along a path, and one latent at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae.data.columns.column import Column
from pyro_vae.plots.images import image_grid, is_image_batch, show_image, to_the_right, value_range
from pyro_vae.plots.style import BLUE, MUTED, RED, styled
from pyro_vae.plots.tables import MAX_COLUMNS, Table, as_table, draw_categories, panels_of

IMAGE, LABEL, EDGE = 0.62, 0.9, 0.08  # inches: of an image; for the names on its left; beside it


@dataclass(frozen=True)
class Curve:
    """Hold a figure of each step, with its standard error, and its level at both ends, if known."""

    name: str
    values: Tensor
    error: Tensor | None = None
    ends: tuple[float, float] | None = None


def as_images(x: Tensor) -> Tensor | None:
    """Return data as images (N | C, H, W), series (N | time, values) with time to the right; or None."""
    if is_image_batch(x):
        return to_the_right(x)
    return to_the_right(x.transpose(1, 2).unsqueeze(1)) if x.dim() == 3 else None


@styled
def path(
    means: Tensor, curves: Sequence[Curve] = (), columns: Sequence[Column | str] | None = None
) -> Figure:
    """Plot the steps of a path: images above their figures; of a table a panel for each column and figure.

    Args:
        means: the data at each step, ``steps | event``.
        curves: figures of each step.
        columns: the table's columns, or their names.

    >>> import torch
    >>> len(path(torch.rand(5, 1, 8, 8), [Curve("log p", torch.randn(5))]).axes)
    2
    """
    images = as_images(means)
    if images is None:
        return _path_of_columns(as_table(means), curves, columns)
    steps = len(images)
    grid = image_grid(images, steps, *value_range(images))
    tall = IMAGE * steps * grid.shape[0] / grid.shape[1]
    width = LABEL + IMAGE * steps + EDGE
    height = EDGE + tall + 0.15 + 1.0 * len(curves) + (0.4 if curves else EDGE)
    figure = Figure((width, height))
    bottom = height - EDGE - tall
    show_image(
        figure.add_axes((LABEL / width, bottom / height, IMAGE * steps / width, tall / height)),
        grid,
    )
    for k, curve in enumerate(curves):
        top = bottom - 0.15 - 1.0 * k
        box = (LABEL / width, (top - 0.85) / height, IMAGE * steps / width, 0.85 / height)
        panel = figure.add_axes(box)
        _draw_curve(panel, curve)
        panel.set_xlim(-0.5, steps - 0.5)
        panel.set_xticks(range(steps))
        panel.tick_params(labelbottom=curve is curves[-1])
    if curves:
        panel.set_xlabel("step")
    return figure


def _draw_curve(panel: Axes, curve: Curve) -> None:
    values = curve.values.double().numpy()
    places = np.arange(len(values))
    error = None if curve.error is None else 2 * curve.error.double().numpy()
    panel.errorbar(places, values, error, color=BLUE, marker="o", ms=3, lw=1.2, capsize=2)
    if curve.ends is not None:
        ends = (places[0], places[-1])
        panel.plot(ends, curve.ends, "x", color=RED, ms=6, mew=1.4, label="the rows")
        panel.legend(frameon=False, fontsize=7, loc="best", handletextpad=0.1)
    panel.set_ylabel(curve.name, fontsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.locator_params("y", nbins=4)
    panel.margins(y=0.15)


def _path_of_columns(
    table: Table, curves: Sequence[Curve], columns: Sequence[Column | str] | None
) -> Figure:
    table, columns = _changing_first(table, columns)
    figure, panels = panels_of(table, columns, len(curves))
    for k, (panel, column) in enumerate(panels[: len(panels) - len(curves)]):
        places = draw_categories(panel, column, table[:, k])
        panel.plot(np.arange(len(table)), places, color=BLUE, marker="o", ms=3, lw=1.2)
    for panel, _ in panels:
        panel.locator_params("x", integer=True, nbins=5)
    for (panel, _), curve in zip(panels[len(panels) - len(curves) :], curves, strict=True):
        panel.set_title("")
        _draw_curve(panel, curve)
    figure.supxlabel(f"step{_remark(table)}", fontsize=9)
    return figure


def _remark(table: Table) -> str:
    total = table.shape[1]
    return f"; {MAX_COLUMNS} of {total} columns" if total > MAX_COLUMNS else ""


def _changing_first(
    table: Table, columns: Sequence[Column | str] | None
) -> tuple[Table, Sequence[Column | str]]:
    """Return a table with the columns that change before those that do not, and the columns."""
    named = list(columns or [f"column {k}" for k in range(table.shape[1])])
    order = np.argsort((table == table[0]).all(0), kind="stable")
    return table[:, order], [named[k] for k in order]


@styled
def moves(
    means: Tensor,
    names: Sequence[str],
    levels: Sequence[str],
    columns: Sequence[Column | str] | None = None,
    caption: str = "",
) -> Figure:
    """Plot moves, one in a row: images; of a table a panel for each column with a curve for each move.

    Args:
        means: ``moves, steps | event``.
        names: of the moves.
        levels: of the steps, in words.
        columns: the table's columns, or their names.
        caption: what is shown.

    >>> import torch
    >>> len(moves(torch.rand(2, 3, 1, 8, 8), ["z[0]", "z[1]"], ["5 %", "50 %", "95 %"]).axes)
    1
    """
    images = as_images(means.flatten(0, 1))
    count, steps = means.shape[:2]
    if images is None:
        return _moves_of_columns(means, names, levels, columns, caption)
    grid = image_grid(images, steps, *value_range(images))
    width = LABEL + IMAGE * steps + EDGE
    tall = IMAGE * steps * grid.shape[0] / grid.shape[1]
    height = tall + 0.65
    figure = Figure((width, height))
    box = (LABEL / width, 0.35 / height, IMAGE * steps / width, tall / height)
    axes = figure.add_axes(box)
    show_image(axes, grid)
    units = "axes fraction", "offset points"
    for k, name in enumerate(names):
        place = (0.0, 1 - (k + 0.5) / count)
        axes.annotate(name, place, (-5, 0), *units, ha="right", va="center", fontsize=8)
    for k, level in enumerate(levels):
        place = ((k + 0.5) / steps, 1.0)
        axes.annotate(level, place, (0, 4), *units, ha="center", va="bottom", fontsize=7)
    figure.text(0.5, 0.02, caption, ha="center", va="bottom", fontsize=8)
    return figure


def _moves_of_columns(
    means: Tensor,
    names: Sequence[str],
    levels: Sequence[str],
    columns: Sequence[Column | str] | None,
    caption: str,
) -> Figure:
    count, steps = means.shape[:2]
    table, columns = _changing_first(as_table(means.flatten(0, 1)), columns)
    figure, panels = panels_of(table, columns)
    for k, (panel, column) in enumerate(panels):
        curves = draw_categories(panel, column, table[:, k]).reshape(count, steps)
        for place, (name, curve) in enumerate(zip(names, curves, strict=True)):
            colour, above = MUTED[place % len(MUTED)], 3 - place / count
            panel.plot(np.arange(steps), curve, color=colour, lw=1.3, label=name, zorder=above)
        shown = range(0, steps, max(1, (steps - 1) // 2))
        panel.set_xticks(list(shown), [levels[s] for s in shown], fontsize=7)
    handles, texts = panels[0][0].get_legend_handles_labels()
    figure.legend(
        handles, texts, frameon=False, fontsize=7, loc="outside right center", handlelength=1.2
    )
    figure.supxlabel(caption + _remark(table), fontsize=8)
    return figure
