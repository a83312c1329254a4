"""The report on made-up rows as a figure."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyro_vae.data import Column
from pyro_vae.inference.synthesis.features import Values
from pyro_vae.plots.style import BLUE, GREY, styled
from pyro_vae.plots.tables import draw_column

if TYPE_CHECKING:
    from pyro_vae.inference.synthesis.report import SynthesisReport

ACROSS, MOST_PANELS = 4, 24
MOST_NAMES = 20  # beside the associations


@styled
def draw_report(report: "SynthesisReport") -> Figure:
    """Draw a panel for each column, the two tables of associations, and the utility."""
    shown = list(enumerate(report.columns))[:MOST_PANELS]
    down = math.ceil(len(shown) / ACROSS)
    figure = Figure((10.0, 1.75 * down + 3.6), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[1.75 * down, 3.6])
    top, bottom = parts
    panels = list(top.subplots(down, ACROSS, squeeze=False).flat)
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    for panel, (j, column) in zip(panels, shown, strict=False):
        _draw_one(panel, column, report, j)
    handles, labels = panels[0].get_legend_handles_labels()
    top.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    left = len(report.columns) - len(shown)
    if left:
        top.supxlabel(f"... and {left} more columns", fontsize=8)
    real, made, utility = bottom.subplots(1, 3, width_ratios=[1, 1, 0.9])
    _draw_associations(real, report, report.association_real, "associations in the data")
    image = _draw_associations(made, report, report.association_made, "in the made-up rows")
    made.set_yticks([])
    bottom.colorbar(image, ax=[real, made], shrink=0.7, label="Cramér's V")
    _draw_utility(utility, report)
    return figure


def _draw_one(panel: Axes, column: Column, report: "SynthesisReport", j: int) -> None:
    real, made = (rows[~np.isnan(rows[:, j]), j] for rows in (report.real, report.made))
    draw_column(panel, column, made, real)
    found = report.distances[j]
    panel.set_title(f"{column.name[:24]}\n{found.measure} {found.distance:.3f}", fontsize=7.5)
    panel.tick_params(labelsize=7)


def _draw_associations(panel: Axes, report: "SynthesisReport", table: Values, title: str) -> Any:
    image = panel.imshow(table, cmap="Blues", vmin=0, vmax=1)
    names = [column.name[:14] for column in report.columns[: len(report.association_real)]]
    if len(names) <= MOST_NAMES:
        panel.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        panel.set_yticks(range(len(names)), names, fontsize=6)
    panel.set_title(title)
    return image


def _draw_utility(panel: Axes, report: "SynthesisReport") -> None:
    panel.spines[["top", "right"]].set_visible(False)
    if not report.utilities:
        panel.set_axis_off()
        return
    places = np.arange(len(report.utilities))
    for shift, color, label, values in (
        (-0.2, GREY, "real rows", [u.real for u in report.utilities]),
        (0.2, BLUE, "made-up rows", [u.made for u in report.utilities]),
    ):
        bars = panel.bar(places + shift, values, 0.36, color=color, label=f"trained on {label}")
        panel.bar_label(bars, fmt="%.3f", fontsize=7)
    panel.set_xticks(
        places, [u.classifier.replace(" ", "\n") for u in report.utilities], fontsize=7
    )
    panel.set_ylim(0, 1.25)
    panel.set_yticks([0, 0.5, 1])
    panel.set_title(f"F1 of {report.target}, held-out rows")
    panel.legend(frameon=False, fontsize=7, loc="upper center")
