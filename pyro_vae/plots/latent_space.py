"""Where a guide puts the data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch import Tensor

from pyro_vae.plots.style import BLUE, MUTED, new_figure, styled
from pyro_vae.plots.tables import as_table


@styled
def latent_space(
    latents: Tensor, labels: Tensor | None = None, class_names: Sequence[str] | None = None
) -> Figure:
    """Where the guide puts the data: the mean of q(z | x) for each, (N, Z), coloured by class.

    Two latent dimensions are drawn as they are, one as a histogram, and more by their first two
    principal components, with the share of the means' variance that each explains.
    """
    points = as_table(latents)
    figure, axes = new_figure(5.0, 4.0)
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
