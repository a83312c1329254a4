"""A picture of a comparison: a row for each model, with its Bayes factor and its probability."""

import math
import textwrap
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from pyro_vae.inference.comparison.evidences import Z95, probabilities, probability_cells
from pyro_vae.inference.comparison.lineup import Lineup
from pyro_vae.inference.comparison.result import Comparison
from pyro_vae.plots.style import BLUE, GREY, RED, styled

ROW, LINE, EDGES = 0.25, 0.14, 1.05  # inches: of a model; of each further line; above and below
LONGEST = 28  # characters of a name in a line
SMALL_FONT = 7.5  # points


@styled
def plot_comparison(comparison: Comparison) -> Figure:
    """Draw log p(data) of each model against that of the reference, and the posterior probabilities.

    The dot is the log Bayes factor (log10 on the upper axis), the blue line its Monte-Carlo interval of
    95 %. The grey bar is 1.96 times the sampling error over rows, where rows are paired. A red dot has no
    Monte-Carlo error that can be trusted. The models are in the order of the table.

    Args:
        comparison: of :func:`pyro_vae.compare`.

    >>> from pyro_vae import compare
    >>> from pyro_vae.models import FactorAnalysis
    >>> x, models = torch.randn(20, 3), {f"FA {n}": FactorAnalysis((3,), n) for n in (1, 2)}
    >>> len(plot_comparison(compare(models, x, method="exact")).axes)
    2
    """
    lineup = comparison.lineup
    count, longest = len(lineup.candidates), max(map(len, lineup.names))
    width = 5.2 + 0.07 * min(longest, LONGEST)
    names = ["\n".join(textwrap.wrap(name, LONGEST)) or "''" for name in lineup.names]
    row = ROW + LINE * max(name.count("\n") for name in names)
    figure = Figure((width, EDGES + row * max(count, 3)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2.6, 1), sharey=True)
    _draw_differences(left, lineup)
    _draw_probabilities(right, lineup)
    left.set_yticks(range(count), names)
    left.set_ylim(count - 0.4, -0.6)
    return figure


def _draw_differences(axes: Axes, lineup: Lineup) -> None:
    """Draw the log Bayes factors, their intervals, and the sampling errors."""
    values, errors, rows = (
        lineup.differences,
        lineup.difference_errors,
        torch.arange(len(lineup.candidates)),
    )
    is_known, is_finite = ~errors.isnan(), values.isfinite()
    sampling = lineup.row_errors.nan_to_num()
    if bool((sampling > 0).any()):
        low, high = values - Z95 * sampling, values + Z95 * sampling
        axes.hlines(
            rows[is_finite], low[is_finite], high[is_finite], color=GREY, alpha=0.35, lw=6,
            label="sampling error over rows, 95 %",
        )  # fmt: skip
    drawn = is_finite & is_known
    low, high = values - Z95 * errors, values + Z95 * errors
    axes.hlines(
        rows[drawn], low[drawn], high[drawn], color=BLUE, lw=1.8, label="Monte-Carlo error, 95 %"
    )
    axes.plot(values[drawn], rows[drawn], "o", ms=4, color=BLUE, ls="none")
    unknown = is_finite & ~is_known
    if bool(unknown.any()):
        axes.plot(
            values[unknown], rows[unknown], "o", ms=4, color=RED, ls="none",
            label="Monte-Carlo error unknown",
        )  # fmt: skip
    axes.axvline(0, color=GREY, lw=0.7, ls=(0, (4, 3)), zorder=0)
    _pad_when_flat(axes, values[is_finite])
    axes.set_xlabel(f"log p(data) less that of {_short(lineup.reference.name)}, nats")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    nats = math.log(10)  # of a factor of ten
    functions: Any = (lambda x: x / nats, lambda x: x * nats)
    upper = axes.secondary_xaxis("top", functions=functions)
    upper.set_xlabel(r"$\log_{10}$ Bayes factor")
    upper.xaxis.set_major_locator(MaxNLocator(6))
    axes.tick_params(axis="y", length=0)
    axes.spines[["right", "left"]].set_visible(False)
    axes.grid(axis="y", lw=0.4, color=GREY, alpha=0.4)
    axes.figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower left", frameon=False, ncols=3,
        fontsize=SMALL_FONT, handlelength=1.4,
    )  # fmt: skip


def _pad_when_flat(axes: Axes, values: Tensor) -> None:
    """Widen the axis where all models are equal, so that rounding is not blown up."""
    low, high = axes.get_xlim()
    if high - low < 0.1:
        middle = float(values.mean()) if len(values) else 0.0
        axes.set_xlim(middle - 0.1, middle + 0.1)


def _draw_probabilities(axes: Axes, lineup: Lineup) -> None:
    prior = torch.tensor([c.prior for c in lineup.candidates], dtype=torch.float64)
    p, errors = probabilities(lineup.totals, lineup.total_errors, prior)
    rows = range(len(p))
    axes.barh(rows, p.tolist(), height=0.6, color=BLUE, alpha=0.8)
    has_priors = len(set(prior.tolist())) > 1
    if has_priors:
        axes.plot(prior.tolist(), rows, "|", color="black", ms=8, ls="none")
    ends = torch.maximum(p, prior) if has_priors else p
    largest = float(ends.max())
    for row, end, cell in zip(rows, ends.tolist(), probability_cells(p, errors), strict=True):
        number = cell.partition(" ")[0]
        axes.text(end + 0.03 * largest, row, number, va="center", fontsize=SMALL_FONT)
    axes.set_xlim(0, 1.4 * largest)  # with room for the numbers
    axes.set_xticks([0, 0.5, 1] if largest > 0.7 else [0, float(f"{largest:.1g}")])
    axes.set_xlabel("posterior probability" + ("\n(mark: prior)" if has_priors else ""))
    axes.tick_params(axis="y", length=0, labelleft=False)
    axes.spines[["right", "top", "left"]].set_visible(False)


def _short(name: str) -> str:
    return textwrap.shorten(repr(name), LONGEST, placeholder="…'")
