"""The panels of an evidence's picture."""

import math
from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter
from torch import Tensor

from pyro_vae.inference.evidence.plot_data import EXTREMES, PlotData, describe_k, signed
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.plots.images import image_grid, value_range
from pyro_vae.plots.style import BLUE, GREY, RED

MAX_MARKERS = 100  # units in one panel that the eye can separate
SMALL_FONT = 7.2  # points


def draw_bounds(axes: Axes, data: PlotData) -> None:
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
        axes.axhline(upper, color=RED, lw=1.4, label=f"{words}: {signed(upper, data.digits)}")
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
        zorder=3, label=f"{name}: {signed(mean, data.digits)}",
    )  # fmt: skip


def _certified(evidence: Evidence, digits: int) -> list[tuple[float, str]]:
    if evidence.simulated:
        low, high = evidence.interval()
        words = f"certified at 95%: {signed(low, digits)} to {signed(high, digits)}"
        levels = [(low, words), (high, "_the same")]
    else:
        low = evidence.certificate()
        levels = [(low, f"certified at 95%: at least {signed(low, digits)}")]
    return [] if evidence.is_exact or not math.isfinite(low) else levels


def draw_pareto_k(axes: Axes, data: PlotData) -> None:
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
    axes.set_title("\n".join(describe_k(k, threshold)), loc="left", fontsize=SMALL_FONT)
    axes.set(xlabel="Pareto k", ylabel="units")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def draw_units(axes: Axes, data: PlotData) -> None:
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


def draw_end(axes: Axes, data: PlotData, name: str) -> None:
    """Draw the units at one end, each in a cell of width 1: image, number, nats."""
    images = [image.flatten() for image in data.images.values()]
    low, high = value_range(torch.cat(images)) if images else (0.0, 1.0)
    for cell, place in enumerate(data.ends[name]):
        if place in data.images:
            mosaic = image_grid(data.images[place].unsqueeze(0), 1, low, high)
            tall = 0.9 * mosaic.shape[0] / mosaic.shape[1]
            axes.imshow(mosaic, interpolation="nearest", extent=(cell + 0.05, cell + 0.95, 0, tall))
        number, nats = int(data.numbers[place]), float(data.finite.log_evidence[place])
        axes.annotate(
            f"{number}\n{signed(nats, 2)}", (cell + 0.5, 0), (0, -2), textcoords="offset points",
            ha="center", va="top", fontsize=SMALL_FONT,
            color=RED if data.finite.without_error[place] else "black",
        )  # fmt: skip
    axes.set_xlim(0, EXTREMES)
    axes.set_anchor("W")
    axes.set_axis_off()
    red = " (red: without an error)" if data.finite.without_error[data.ends[name]].any() else ""
    axes.set_title(f"{name} log p(x): unit, nats{red}", loc="left", fontsize=SMALL_FONT, pad=3)


def _mean_error(errors: Tensor) -> Tensor:
    """Return that of a mean over independent units."""
    return errors.square().sum().sqrt() / len(errors)
