"""A picture of an evidence: the bound over K, the tails of the weights, and the units one by one."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, NullFormatter
from torch import Tensor

from pyro_vae.data import batches
from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.plots.mosaics import are_images, as_mosaic, value_range
from pyro_vae.plots.style import BLUE, GREY, RED, STYLE

EXTREMES = 8  # units shown at either end
MAX_MARKERS = 100  # units in one panel that the eye can separate
SMALL_FONT = 7.2  # points


def picture(evidence: Evidence, data: Any = None, numbers: Tensor | None = None) -> Figure:
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
    >>> [axes.get_ylabel() for axes in picture(log_evidence(model, x)).axes][:3]
    ['mean log p(x), nats per unit', 'units', 'log p(x), nats']
    """
    numbers = torch.arange(evidence.units) if numbers is None else numbers.cpu()
    if len(numbers) != evidence.units:
        raise InputError(
            f"numbers has {len(numbers):,} entries",
            subject="numbers",
            expected=f"one for each of {evidence.units:,} units",
        )
    if data is None and all(x.shape[:1] == (evidence.units,) for x in evidence.simulated):
        data = evidence.simulated or None
    plotted = PlotData.of(evidence, numbers, data)
    with matplotlib.rc_context(STYLE):
        return _draw(plotted)


@dataclass(frozen=True)
class PlotData:
    """Hold the units with a finite evidence, and those at either end.

    Attributes:
        whole: the evidence of all units.
        finite: that of the units with a finite figure.
        numbers: of these units.
        omitted: the numbers of the others.
        ends: the places in ``finite`` of the lowest and the highest.
        images: of these, by place, (C, H, W).
    """

    whole: Evidence
    finite: Evidence
    numbers: Tensor
    omitted: Tensor
    ends: Mapping[str, Sequence[int]]
    images: Mapping[int, Tensor]

    @classmethod
    def of(cls, evidence: Evidence, numbers: Tensor, data: Any) -> "PlotData":
        """Take the units apart; see :func:`picture`."""
        rows = None if data is None else batches(data)
        if rows is not None and rows.num_units != evidence.units:
            is_joint = evidence.unit is None
            raise InputError(
                f"the data have {rows.num_units:,} rows",
                subject="data",
                expected=f"a row for each of {evidence.units:,} units",
                remedy="leave the data out of one joint figure" if is_joint else None,
            )
        is_finite = evidence.log_evidence.cpu().isfinite()
        units = is_finite.nonzero().squeeze(-1)
        if not len(units):
            raise InputError("no unit has a finite evidence to draw", subject="evidence")
        finite = evidence.on_host().select(units)
        order = finite.log_evidence.argsort(stable=True).tolist()
        count = min(EXTREMES, len(order) // 2)
        ends = {"lowest": order[:count], "highest": order[::-1][:count]} if count else {}
        places = [place for end in ends.values() for place in end]
        images: Mapping[int, Tensor] = {}
        if rows is not None and places:
            with torch.random.fork_rng():  # reading a split may draw its values
                ((x, *_),) = rows.take(units[places], len(places))
            images = dict(zip(places, x, strict=True)) if are_images(x) else {}
        return cls(evidence, finite, numbers[units], numbers[~is_finite], ends, images)

    @property
    def digits(self) -> int:
        """The digits of a mean: as many as its error has, but three at least."""
        error = 0.0 if self.finite.is_exact else self.finite.mean_standard_error
        return max(3, -math.floor(math.log10(error))) if error > 0 else 3


def _draw(data: PlotData) -> Figure:
    evidence = data.finite
    left = [_bounds] if evidence.bounds else []
    right = [
        *([_tails] if evidence.units > 1 and evidence.pareto_k.isfinite().any() else []),
        *([_units] if evidence.units > 1 or not left else []),
    ]
    columns = [column for column in (left, right) if column]
    shape = next((image.shape for image in data.images.values()), None)
    image = 0.78 * shape[-2] / shape[-1] if shape else 0.01  # inches
    width, strips = (7.2 if data.ends else 4.8), len(data.ends) * (image + 0.65)
    caption = _caption(data, with_k=_tails not in right, width=int(15 * width))
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
            _end(axes, data, end)
    return figure


def _caption(data: PlotData, with_k: bool, width: int) -> list[str]:
    """Return the mean, the units that are not drawn, and the method, in lines."""
    evidence, num_omitted = data.finite, len(data.omitted)
    error = evidence.mean_standard_error
    what = "log p(x) of all data together"
    if evidence.unit is not None:
        drawn = " drawn from the model" if evidence.simulated else ""
        of = f"{evidence.units:,} of " if num_omitted else ""
        what = f"mean log p(x) of {of}{_count(data.whole.units, 'unit')}{drawn}"
    words = f"{what}: {_signed(evidence.mean, data.digits)}"
    if not evidence.is_exact:
        known = "unknown" if math.isnan(error) else f"{error:.{data.digits}f}"
        words += f" ± {known} (Monte Carlo)"
    if evidence.units > 1:
        words += f" ± {evidence.sampling_error:.3f} (data)"
    lines = [f"{words} nats"]
    if num_omitted:
        lines.append(
            f"not drawn: {_count(num_omitted, 'unit')} without a finite figure (the first is "
            f"{int(data.omitted[0])})"
        )
    if evidence.is_exact:
        return [*lines, evidence.method]
    lines.append(f"{evidence.method}; K = {evidence.num_particles:,}")
    if with_k:
        lines += _about_k(evidence.pareto_k, evidence.bad_k)
    return [part for line in lines for part in textwrap.wrap(line, width)]


def _about_k(k: Tensor, threshold: float) -> list[str]:
    bad, flat, undefined = (
        int((k > threshold).sum()),
        int((k == -math.inf).sum()),
        int(k.isnan().sum()),
    )
    if undefined == len(k):
        return ["Pareto k: unknown, from too few weights"]
    if len(k) == 1:
        return [f"Pareto k: {_signed(float(k), 2)}{f', above {threshold:.2g}' if bad else ''}"]
    others = [
        *([f"{flat:,} with a flat tail (\N{MINUS SIGN}∞)"] if flat else []),
        *([f"{undefined:,} unknown, from too few weights"] if undefined else []),
    ]
    share = f"Pareto k: {bad / len(k):.1%} of {_count(len(k), 'unit')} above {threshold:.2g}"
    return [share, *([f"not drawn: {', '.join(others)}"] if others else [])]


# --- panels -----------------------------------------------------------------------------------


def _bounds(axes: Axes, data: PlotData) -> None:
    """Draw the mean bound over K, and the other estimates of the mean."""
    evidence = data.finite
    counts = sorted(evidence.bounds)
    _curve(axes, counts, evidence)
    if not torch.allclose(evidence.bounds[counts[-1]], evidence.log_evidence):
        error = 2 * evidence.mean_standard_error
        axes.errorbar(counts[-1], evidence.mean, error, color=BLUE, elinewidth=1.0, capsize=2)
        _mark(axes, data, "s", "estimate", evidence.log_evidence)
    if evidence.upper is not None:
        upper = float(evidence.upper.mean())
        words = "upper bound, in expectation" if evidence.simulated else "upper estimate, no bound"
        axes.axhline(upper, color=RED, lw=1.4, label=f"{words}: {_signed(upper, data.digits)}")
        if evidence.upper_error is not None:
            error = 2 * float(_mean_error(evidence.upper_error))
            axes.axhspan(upper - error, upper + error, color=RED, alpha=0.2, lw=0)
    for marker, name, values in (
        ("^", "jackknife", evidence.jackknife),
        ("D", "Pareto-smoothed", evidence.smoothed),
    ):
        if values is not None and values.isfinite().all():
            _mark(axes, data, marker, name, values)
    low, high = axes.get_ylim()
    for level, words in _certified(data.whole, data.digits):
        is_near = 2 * low - high < level < 2 * high - low
        label = words if is_near else f"{words} (off the scale)"
        axes.axhline(level, color="black", lw=0.7, ls=(0, (4, 3)), label=label)
        low, high = (min(low, level), max(high, level)) if is_near else (low, high)
    pad = 0.03 * (high - low)
    axes.set_ylim(low - pad, high + pad)
    axes.set_xscale("log")
    axes.set_xlim(counts[0] / 1.5, counts[-1] * 1.5)
    whole = evidence.unit is None
    axes.set_ylabel("log p(x) of all data, nats" if whole else "mean log p(x), nats per unit")
    axes.set_xlabel("number of particles K")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    axes.legend(
        frameon=False, fontsize=SMALL_FONT, loc="lower left", bbox_to_anchor=(-0.1, 1), borderpad=0.2,
        handlelength=1.6, labelspacing=0.3,
    )  # fmt: skip


def _curve(axes: Axes, counts: Sequence[int], evidence: Evidence) -> None:
    means = torch.stack([evidence.bounds[k].mean() for k in counts])
    errors = torch.stack([_mean_error(evidence.bounds_error[k]) for k in counts])
    infinite = [k for k, mean in zip(counts, means, strict=True) if not mean.isfinite()]
    means, unknown = means.where(means.isfinite(), math.nan), errors.isnan() & means.isfinite()
    details = [
        *(["hollow: unknown"] if unknown.any() else []),
        *([f"\N{MINUS SIGN}∞ at K = {', '.join(f'{k:,}' for k in infinite)}"] if infinite else []),
    ]
    label = "bound at K, ± 2 standard errors" + (f" ({'; '.join(details)})" if details else "")
    low, high = means - 2 * errors, means + 2 * errors
    axes.fill_between(counts, low, high, color=BLUE, alpha=0.25, lw=0)
    axes.plot(counts, means, "-o", color=BLUE, lw=1.4, ms=4, label=label)
    axes.errorbar(counts, means, 2 * errors, fmt="none", ecolor=BLUE, elinewidth=1.0, capsize=2)
    axes.plot(torch.tensor(counts)[unknown], means[unknown], "o", color=BLUE, mfc="white", ms=4)


def _mark(axes: Axes, data: PlotData, marker: str, name: str, values: Tensor) -> None:
    mean = float(values.mean())
    axes.plot(
        max(data.finite.bounds), mean, marker, color="black", mfc="none", mew=0.8, ms=6.5, ls="none",
        zorder=3, label=f"{name}: {_signed(mean, data.digits)}",
    )  # fmt: skip


def _certified(evidence: Evidence, digits: int) -> list[tuple[float, str]]:
    if evidence.simulated:
        low, high = evidence.interval()
        words = f"certified at 95%: {_signed(low, digits)} to {_signed(high, digits)}"
        levels = [(low, words), (high, "_the same")]
    else:
        low = evidence.certificate()
        levels = [(low, f"certified at 95%: at least {_signed(low, digits)}")]
    return [] if evidence.is_exact or not math.isfinite(low) else levels


def _tails(axes: Axes, data: PlotData) -> None:
    """Draw a histogram of the finite Pareto k; the threshold for K weights is an edge of its bins."""
    k, threshold = data.finite.pareto_k, data.finite.bad_k
    shown = k[k.isfinite()]
    low, high = min(float(shown.min()), threshold), max(float(shown.max()), threshold)
    width = max((high - low) / min(40, max(10, math.sqrt(len(shown)))), 1e-3)
    below, above = math.ceil((threshold - low) / width), math.ceil((high - threshold) / width)
    edges = [threshold + width * step for step in range(-below, above + 1)]
    counts = torch.histogram(shown.clamp(edges[0], edges[-1]), torch.tensor(edges).to(shown)).hist
    colours = [BLUE] * below + [RED] * above
    axes.bar(edges[:-1], counts.tolist(), width, align="edge", color=colours, lw=0)
    axes.axvline(threshold, color="black", lw=0.7, ls=(0, (4, 3)))
    axes.set_title("\n".join(_about_k(k, threshold)), loc="left", fontsize=SMALL_FONT)
    axes.set(xlabel="Pareto k", ylabel="units")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def _units(axes: Axes, data: PlotData) -> None:
    """Draw every unit's evidence, in ascending order."""
    evidence = data.finite
    order = evidence.log_evidence.argsort(stable=True)
    values, errors = evidence.log_evidence[order], 2 * evidence.standard_error[order]
    bad, ranks = evidence.without_error[order], torch.arange(1, len(order) + 1)
    if len(order) <= MAX_MARKERS:
        axes.errorbar(ranks, values, errors, fmt="o", color=BLUE, ms=3, elinewidth=0.8)
    else:
        axes.fill_between(ranks, values - errors, values + errors, color=BLUE, alpha=0.25, lw=0)
        axes.plot(ranks, values, color=BLUE, lw=1.4)
    axes.plot(
        ranks[bad], values[bad], "o", color=RED, ms=3 if len(order) <= MAX_MARKERS else 2, zorder=3
    )
    pad = max(0.5, 0.03 * len(order))
    axes.set_xlim(1 - pad, len(order) + pad)
    if len(order) > 1:
        axes.axhline(evidence.mean, color=GREY, lw=0.8, zorder=0)
        axes.annotate(
            "mean", (0.01, evidence.mean), (0, 1), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", fontsize=SMALL_FONT, color=GREY,
        )  # fmt: skip
    axes.set(xlabel="units, from lowest to highest", ylabel="log p(x), nats")
    axes.ticklabel_format(useOffset=False, style="plain")
    axes.xaxis.set_major_locator(
        MaxNLocator(5, integer=True, min_n_ticks=1, steps=[1, 2, 2.5, 5, 10])
    )


def _end(axes: Axes, data: PlotData, name: str) -> None:
    """Draw the units at one end, each in a cell of width 1: image, number, nats."""
    images = [image.flatten() for image in data.images.values()]
    low, high = value_range(torch.cat(images)) if images else (0.0, 1.0)
    for cell, place in enumerate(data.ends[name]):
        if place in data.images:
            mosaic = as_mosaic(data.images[place].unsqueeze(0), 1, low, high)
            tall = 0.9 * mosaic.shape[0] / mosaic.shape[1]
            axes.imshow(mosaic, interpolation="nearest", extent=(cell + 0.05, cell + 0.95, 0, tall))
        number, nats = int(data.numbers[place]), float(data.finite.log_evidence[place])
        axes.annotate(
            f"{number}\n{_signed(nats, 2)}", (cell + 0.5, 0), (0, -2), textcoords="offset points",
            ha="center", va="top", fontsize=SMALL_FONT,
            color=RED if data.finite.without_error[place] else "black",
        )  # fmt: skip
    axes.set_xlim(0, EXTREMES)
    axes.set_anchor("W")
    axes.set_axis_off()
    red = " (red: without an error)" if data.finite.without_error[data.ends[name]].any() else ""
    axes.set_title(f"{name} log p(x): unit, nats{red}", loc="left", fontsize=SMALL_FONT, pad=3)


# --- words and figures ------------------------------------------------------------------------


def _mean_error(errors: Tensor) -> Tensor:
    """Return that of a mean over independent units."""
    return errors.square().sum().sqrt() / len(errors)


def _signed(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}").replace("inf", "∞")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
