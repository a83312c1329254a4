"""The latent space: where the data lie."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch import Tensor

from pyro_vae.plots.style import BLUE, MUTED, new_figure, styled
from pyro_vae.plots.tables import as_table

Values = np.ndarray[Any, Any]


@styled
def latent_space(
    latents: Tensor, labels: Tensor | None = None, class_names: Sequence[str] | None = None
) -> Figure:
    """Plot the posterior mean of z for each datum, coloured by class.

    One latent dimension is drawn as a histogram, two as they are, and more by their first two principal
    components, with the share of the variance of the means that each explains.

    Args:
        latents: the means, (N | Z).
        labels: the classes, (N,); by default all the same.
        class_names: names of the classes.
    """
    points = as_table(latents)
    figure, axes = new_figure(5.0, 4.0)
    axes.set_title(f"n = {len(points):,}", loc="right", fontsize=8)
    labels = torch.zeros(len(points), dtype=torch.long) if labels is None else labels.cpu()
    classes = [int(k) for k in labels.unique()]
    names = [str(class_names[k]) if class_names else str(k) for k in classes]
    if points.shape[1] == 1:
        by_class = {n: points[labels == k, 0] for n, k in zip(names, classes, strict=True)}
        _draw_histogram(axes, by_class, points)
    else:
        points, titles = _first_components(points)
        by_class = {n: points[labels == k] for n, k in zip(names, classes, strict=True)}
        _draw_points(axes, by_class, float(np.clip(12000 / len(points), 2, 16)))
        axes.set(xlabel=titles[0], ylabel=titles[1])
        axes.set_aspect("equal", adjustable="datalim")
    if 1 < len(classes) <= len(MUTED):
        axes.legend(
            frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=1.6,
            handletextpad=0.2, labelspacing=0.6,
        )  # fmt: skip
    return figure


def _colours(count: int) -> list[str]:
    return [MUTED[i % len(MUTED)] if count > 1 else BLUE for i in range(count)]


def _draw_histogram(axes: Axes, by_class: Mapping[str, Values], points: Values) -> None:
    bins = np.histogram_bin_edges(points, "auto").tolist()
    for (name, values), colour in zip(by_class.items(), _colours(len(by_class)), strict=True):
        axes.hist(values, bins, histtype="step", color=colour, label=name)
    axes.set(xlabel="posterior mean of $z$", ylabel="number of data")


def _draw_points(axes: Axes, by_class: Mapping[str, Values], size: float) -> None:
    for (name, points), colour in zip(by_class.items(), _colours(len(by_class)), strict=True):
        x, y = points.T
        axes.scatter(x, y, size, colour, lw=0, alpha=0.85, label=name)
    if len(by_class) > len(MUTED):  # too many for a legend: the names stand at the medians
        for name, points in by_class.items():
            x, y = np.median(points, axis=0)
            halo = [withStroke(linewidth=2, foreground="white")]
            axes.text(x, y, name, fontsize=7, ha="center", va="center", path_effects=halo)


def _first_components(points: Values) -> tuple[Values, list[str]]:
    """Return the first two principal components, (N, 2), and their titles."""
    if points.shape[1] == 2:
        return points, [rf"posterior mean of $z_{i}$" for i in (1, 2)]
    centred = points - points.mean(0)
    u, singular, _ = np.linalg.svd(centred, full_matrices=False)
    share = singular**2 / max((singular**2).sum(), np.finfo(float).tiny)
    titles = [
        rf"principal component {i + 1} of $E[z\,|\,x]$ ({share[i]:.0%} of the variance)"
        for i in (0, 1)
    ]
    return u[:, :2] * singular[:2], titles
