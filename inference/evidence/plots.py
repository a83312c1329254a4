"""A picture of an evidence: the bound over K, the tails of the weights, and the units one by one."""

import math
import textwrap
from typing import Any

import matplotlib
import torch
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.panels import (
    draw_bounds,
    draw_end,
    draw_pareto_k,
    draw_units,
)
from pyro_vae.inference.evidence.plot_data import PlotData, count, describe_k, signed
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.plots.style import STYLE


def plot_evidence(evidence: Evidence, data: Any = None, numbers: Tensor | None = None) -> Figure:
    """Draw an evidence, in nats.

    - The bound, averaged over units, against K, with a band of twice its Monte-Carlo standard error
      sqrt(sum_n e_n^2) / N (none where it comes from a single block of draws, or from weights that give no
      error); the upper figure; the certificate; the jackknife and the Pareto-smoothed estimate.
    - The histogram of Pareto k, and its threshold for K weights.
    - The units in the order of their evidence, with twice their standard errors, those without an error in
      red; and the 8 lowest and 8 highest, by number, as pictures where the data are images.

    The caption counts the units whose evidence is not finite; no panel shows them.

    Args:
        evidence: of any method.
        data: the data of the evidence, as :func:`pyro_vae.log_evidence` takes it; images are
            (N | channels, height, width). By default those that the model has simulated, if it has.
        numbers: the units' names, (N,), by default 0, ..., N - 1.

    Raises:
        InputError: the rows of ``data`` or ``numbers`` are not as many as the units.

    >>> from pyro_vae.inference.evidence.estimate import log_evidence
    >>> from pyro_vae.models import FactorAnalysis
    >>> x, model = torch.randn(20, 3), FactorAnalysis((3,), 1)
    >>> [axes.get_ylabel() for axes in plot_evidence(log_evidence(model, x)).axes][:3]
    ['mean log p(x), nats per unit', 'units', 'log p(x), nats']
    """
    numbers = torch.arange(evidence.num_units) if numbers is None else numbers.cpu()
    if len(numbers) != evidence.num_units:
        raise InputError(
            f"numbers has {len(numbers):,} entries",
            subject="numbers",
            expected=f"one for each of {evidence.num_units:,} units",
        )
    if data is None and all(x.shape[:1] == (evidence.num_units,) for x in evidence.simulated):
        data = evidence.simulated or None
    plotted = PlotData.of(evidence, numbers, data)
    with matplotlib.rc_context(STYLE):
        return _draw(plotted)


def _draw(data: PlotData) -> Figure:
    """Lay out the panels that the evidence has figures for, and draw them."""
    evidence = data.finite
    left = [draw_bounds] if evidence.bounds else []
    right = [
        *([draw_pareto_k] if evidence.num_units > 1 and evidence.pareto_k.isfinite().any() else []),
        *([draw_units] if evidence.num_units > 1 or not left else []),
    ]
    columns = [column for column in (left, right) if column]
    shape = next((image.shape for image in data.images.values()), None)
    image = 0.78 * shape[-2] / shape[-1] if shape else 0.01  # inches
    width, strips = (7.2 if data.ends else 4.8), len(data.ends) * (image + 0.65)
    caption = _caption(data, with_k=draw_pareto_k not in right, width=int(15 * width))
    heights = [0.15 * len(caption) + (3.7 if left else 2.5), strips][: 2 if data.ends else 1]
    figure = Figure((width, sum(heights)), layout=ConstrainedLayoutEngine(h_pad=0.06))
    figure.suptitle("\n".join(caption), x=0.01, ha="left", fontsize=9)
    rows = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    widths = [1.1, 1.0][: len(columns)]
    parts = rows[0].subfigures(1, len(columns), squeeze=False, width_ratios=widths)[0]
    for part, column in zip(parts, columns, strict=True):
        for axes, draw in zip(
            part.subplots(len(column), 1, squeeze=False)[:, 0], column, strict=True
        ):
            axes.spines[["top", "right"]].set_visible(False)
            draw(axes, data)
    for row in rows[1:]:
        for axes, end in zip(row.subplots(len(data.ends), 1), data.ends, strict=True):
            draw_end(axes, data, end)
    return figure


def _caption(data: PlotData, with_k: bool, width: int) -> list[str]:
    """Return the mean, the units that are not drawn, and the method, in lines."""
    evidence, num_omitted = data.finite, len(data.omitted)
    error = evidence.mean_standard_error
    name = "log p(x) of all data together"
    if evidence.unit is not None:
        origin = " drawn from the model" if evidence.simulated else ""
        of = f"{evidence.num_units:,} of " if num_omitted else ""
        name = f"mean log p(x) of {of}{count(data.whole.num_units, 'unit')}{origin}"
    text = f"{name}: {signed(evidence.mean, data.digits)}"
    if not evidence.is_exact:
        known = "unknown" if math.isnan(error) else f"{error:.{data.digits}f}"
        text += f" ± {known} (Monte Carlo)"
    if evidence.num_units > 1:
        text += f" ± {evidence.sampling_error:.3f} (data)"
    lines = [f"{text} nats"]
    if num_omitted:
        lines.append(
            f"not drawn: {count(num_omitted, 'unit')} without a finite figure (the first is "
            f"{int(data.omitted[0])})"
        )
    if evidence.is_exact:
        return [*lines, evidence.method]
    lines.append(f"{evidence.method}; K = {evidence.num_particles:,}")
    if with_k:
        lines += describe_k(evidence.pareto_k, evidence.bad_k)
    return [part for line in lines for part in textwrap.wrap(line, width)]
