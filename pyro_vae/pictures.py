"""Pictures of a fit: its course, its reconstructions, its samples, its latent space.

Each function returns a matplotlib ``Figure`` and touches no global state; :func:`save` writes it.
Data of shape (channels, height, width) are drawn as images, all others as columns of a table; what is
missing from them (NaN) is left out, or is a pixel of a colour of its own. The other colours are Paul
Tol's, which the colour-blind can tell apart (https://sronpersonalpages.nl/~pault/).
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.files import replacing

BLUE, RED, GREY = "#4477AA", "#EE6677", "#8A8A8A"
MUTED = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933",
    "#DDCC77", "#CC6677", "#882255", "#AA4499", "#BBBBBB",
)  # fmt: skip
ENDINGS = (".png", ".pdf", ".svg")
MISSING = (0.8, 0.87, 0.94)  # red, green, blue
MAX_COLUMNS = 6  # of a table, in one picture
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.linewidth": 0.8,
    "pdf.fonttype": 42,
}

P = ParamSpec("P")


def _styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


def save(figure: Figure, path: Path | str) -> None:
    """Writes a figure in the format that the path's ending names, in one step.

    :raises InputError: another ending than .png, .pdf or .svg, or it cannot be written.

    >>> save(samples(torch.zeros(4, 1, 2, 2)), "a.bmp")
    Traceback (most recent call last):
    pyro_vae.errors.InputError: a picture cannot be written as 'a.bmp': end it in .png, .pdf or .svg
    """
    path = Path(path)
    check_ending(path)
    kind = path.suffix.lower()[1:]
    undated = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
    style = matplotlib.rc_context({**STYLE, "svg.hashsalt": "pyro_vae"})
    with replacing(path) as unfinished, style:
        figure.savefig(unfinished, format=kind, dpi=200, metadata=undated)


def check_ending(path: Path | str) -> None:
    """:raises InputError: :func:`save` cannot write a file of that name."""
    if Path(path).suffix.lower() not in ENDINGS:
        raise InputError(
            f"a picture cannot be written as {Path(path).name!r}: end it in .png, .pdf or .svg"
        )


@_styled
def learning_curve(metrics: Sequence[Mapping[str, Any]], unit: str = "datum") -> Figure:
    """What was maximised, per unit, over epochs: in training and, where there are such data, in validation.

    Args:
        metrics: a record an epoch, with ``epoch``, ``train_elbo`` and perhaps ``validation_elbo``
            (nats per unit; for other objectives ``train_bound`` or ``train_objective``, and so on) and
            ``beta`` (the weight of the KL term in training).
        unit: what one datum is called.
    """
    if not metrics:
        raise InputError("there is no learning curve before the first epoch is done")
    figure, axes = _figure(4.8, 3.0)
    epochs = [m["epoch"] for m in metrics]
    trained, validated = (_figure_name(metrics[0], part) for part in ("train", "validation"))
    train = np.array([m[f"train_{trained}"] for m in metrics])
    weighted = any(m.get("beta", 1) != 1 for m in metrics)
    marker = "o" if len(epochs) == 1 else None
    label = "training, KL weighted" if weighted else "training"
    if validated not in (None, trained):
        label = f"training ({trained})"
    axes.plot(epochs, train, color=GREY, lw=1.2, marker=marker, ms=3, label=label)
    shown = train
    key = f"validation_{validated}"
    held_out = [(m["epoch"], m[key]) for m in metrics if key in m]
    if held_out:
        when, validation = (np.array(column) for column in zip(*held_out, strict=True))
        axes.plot(when, validation, color=BLUE, lw=1.5, marker=marker, ms=3, label="validation")
        best = int(validation.argmax())
        label = f"best: {validation[best]:.2f} at epoch {when[best]}".replace("-", "\N{MINUS SIGN}")
        axes.plot(
            when[best],
            validation[best],
            "o",
            color=BLUE,
            ms=6,
            mec="white",
            label=label,
            clip_on=False,
        )
        shown = np.concatenate([train, validation])
    # the first steps climb further than all that follows; they may leave the picture
    late = np.concatenate([train[len(train) // 20 :], shown[len(train) + len(held_out) // 20 :]])
    low, high = np.nanmin(late), np.nanmax(shown)
    pad = 0.05 * (high - low) or 1.0
    axes.set_ylim(low - pad, high + pad)
    axes.set_xlim(1, max(epochs[-1], 2))
    axes.set_xlabel("epoch")
    shown_name = (validated or trained or "").replace("elbo", "ELBO")
    axes.set_ylabel(f"{shown_name} (nats per {unit})")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color="#E6E6E6", lw=0.8)
    axes.legend(
        frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0, fontsize=8,
        handlelength=1.4, columnspacing=1.4,
    )  # fmt: skip
    return figure


def _figure_name(metrics: Mapping[str, Any], part: str) -> str | None:
    """Of ``train_elbo`` "elbo"."""
    found = (key.removeprefix(f"{part}_") for key in metrics if key.startswith(f"{part}_"))
    return next(found, None)


@_styled
def reconstructions(
    originals: Tensor, means: Tensor, columns: Sequence[str] | None = None
) -> Figure:
    """Data beside what the model makes of them, E[x' | z] with z from the guide.

    Images: the originals (N | C, H, W) above their reconstructions, in as many double rows as N
    needs. Tables: a panel for each of the first columns, reconstruction against original.

    >>> len(reconstructions(torch.randn(50, 3), torch.randn(50, 3)).axes)
    3
    """
    if originals.shape != means.shape:
        raise InputError(
            f"originals of shape {tuple(originals.shape)} and reconstructions of shape "
            f"{tuple(means.shape)} do not pair"
        )
    if not _are_images(originals):
        return _reconstructed_columns(_table(originals), _table(means), columns)
    low, high = value_range(originals)
    pairs = [
        _mosaic(torch.cat(pair), len(pair[0]), low, high)
        for pair in zip(originals.split(10), means.split(10), strict=True)
    ]
    scale = 0.55 / originals.shape[-1]  # inches a pixel
    margin, space = 1.0, 0.15
    pitch = pairs[0].shape[0] * scale + space
    width, height = margin + pairs[0].shape[1] * scale, len(pairs) * pitch - space
    figure = Figure((width, height))
    for i, pair in enumerate(pairs):
        tall, wide = (scale * pixels for pixels in pair.shape[:2])
        bottom = height - i * pitch - tall
        axes = figure.add_axes(
            (margin / width, bottom / height, wide / width, tall / height)  # left, bottom, size
        )
        _show(axes, pair)
        for fraction, text in ((0.75, "data"), (0.25, "reconstruction")):
            axes.annotate(
                text,
                (0, fraction),
                (-5, 0),
                "axes fraction",
                "offset points",
                ha="right",
                va="center",
            )
    return figure


@_styled
def samples(
    values: Tensor,
    data: Tensor | None = None,
    columns: Sequence[str] | None = None,
    caption: str | None = None,
) -> Figure:
    """What the model makes up. Images (N | C, H, W): a grid. Tables: each column's distribution.

    Args:
        values: draws from the model, or the means of p(x | z) for z from the prior.
        data: data beside which a table's columns are drawn, and which give images' range of grey.
        columns: the table's column names.
        caption: what the values are.
    """
    caption = f"{len(values):,} samples from the model" if caption is None else caption
    if not _are_images(values):
        rows = None if data is None else _table(data)
        return _sampled_columns(_table(values), rows, columns, caption)
    range_of = values if data is None else data
    per_row = math.ceil(math.sqrt(len(values)))
    mosaic = _mosaic(values, per_row, *value_range(range_of))
    width = min(4.5, 1.5 * per_row)
    height = width * mosaic.shape[0] / mosaic.shape[1]
    figure = Figure((width, height + 0.3), layout="constrained")
    axes = figure.subplots()
    _show(axes, mosaic)
    figure.supxlabel(caption, fontsize=9)
    return figure


@_styled
def latent_space(
    latents: Tensor, labels: Tensor | None = None, class_names: Sequence[str] | None = None
) -> Figure:
    """Where the guide puts the data: the mean of q(z | x) for each, (N, Z), coloured by class.

    Two latent dimensions are drawn as they are, one as a histogram, and more by their first two
    principal components, with the share of the means' variance that each explains.
    """
    points = _table(latents)
    figure, axes = _figure(5.0, 4.0)
    axes.set_title(f"n = {len(points):,}", loc="right", fontsize=8)
    labels = torch.zeros(len(points), dtype=torch.long) if labels is None else labels.cpu()
    kinds = [int(k) for k in labels.unique()]
    names = {k: str(class_names[k]) if class_names else str(k) for k in kinds}
    colours = {k: MUTED[i % len(MUTED)] if len(kinds) > 1 else BLUE for i, k in enumerate(kinds)}
    if points.shape[1] == 1:
        bins = np.histogram_bin_edges(points, "auto").tolist()
        for k in kinds:
            axes.hist(
                points[labels == k, 0], bins, histtype="step", color=colours[k], label=names[k]
            )
        axes.set(xlabel="$z$, mean of $q(z\\,|\\,x)$", ylabel="number of data")
    else:
        points, titles = _plane(points)
        size = float(np.clip(12000 / len(points), 2, 16))
        for k in kinds:
            x, y = points[labels == k].T
            axes.scatter(x, y, size, colours[k], lw=0, alpha=0.85, label=names[k])
        axes.set(xlabel=titles[0], ylabel=titles[1])
        axes.set_aspect("equal", adjustable="datalim")
    if 1 < len(kinds) <= len(MUTED):
        axes.legend(
            frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=1.6,
            handletextpad=0.2, labelspacing=0.6,
        )  # fmt: skip
    elif points.shape[1] > 1 and len(kinds) > 1:  # too many for a legend: each class names itself
        for k in kinds:
            x, y = np.median(points[labels == k], axis=0)
            halo = [withStroke(linewidth=2, foreground="white")]
            axes.text(x, y, names[k], fontsize=7, ha="center", va="center", path_effects=halo)
    return figure


# --- axes, tables, mosaics ----------------------------------------------------------------


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure((width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _are_images(x: Tensor) -> bool:
    return x.dim() == 4


def _table(x: Tensor) -> np.ndarray[Any, Any]:
    """(N | event) as rows and columns."""
    return x.detach().cpu().double().reshape(len(x), -1).numpy()


def _plane(points: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], list[str]]:
    if points.shape[1] == 2:
        return points, [rf"$z_{i}$, mean of $q(z\,|\,x)$" for i in (1, 2)]
    centred = points - points.mean(0)
    u, singular, _ = np.linalg.svd(centred, full_matrices=False)
    share = singular**2 / max((singular**2).sum(), np.finfo(float).tiny)
    titles = [
        rf"principal component {i + 1} of $E_q[z\,|\,x]$ ({share[i]:.0%} of the variance)"
        for i in (0, 1)
    ]
    return u[:, :2] * singular[:2], titles


def value_range(x: Tensor) -> tuple[float, float]:
    """Least and largest of the values that are known."""
    known = x[~x.isnan()]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def _mosaic(x: Tensor, per_row: int, low: float, high: float) -> np.ndarray[Any, Any]:
    """Images (N | C, H, W) on a white grid: (height, width, 3), values in [0, 1].

    Other channel counts than 1 and 3 are stacked, first channel on top.
    """
    x = ((x.detach().cpu().double() - low) / max(high - low, 1e-12)).clamp(0, 1)
    n, channels, height, width = x.shape
    if channels not in (1, 3):
        x, height = x.reshape(n, 1, channels * height, width), channels * height
    gap = max(1, round(0.06 * width))
    rows = math.ceil(n / per_row)
    canvas = torch.ones(3, rows * (height + gap) - gap, per_row * (width + gap) - gap).double()
    for i, image in enumerate(x):
        top, left = (i // per_row) * (height + gap), (i % per_row) * (width + gap)
        gaps = image.isnan().any(0)
        image = torch.where(gaps, torch.tensor(MISSING).double()[:, None, None], image)
        canvas[:, top : top + height, left : left + width] = image
    return canvas.permute(1, 2, 0).numpy()


def _show(axes: Axes, mosaic: np.ndarray[Any, Any]) -> None:
    axes.imshow(mosaic, interpolation="nearest", vmin=0, vmax=1)
    axes.set_axis_off()


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


def _reconstructed_columns(
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


def _sampled_columns(
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
