"""Several models of the same images on one page."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae.plots.images import image_grid, show_image
from pyro_vae.plots.style import GREY, styled

WIDTH, SAMPLES_HEIGHT, PAIRS_HEIGHT = 1.75, 1.72, 0.58  # inches: of a model; of its two panels
WORDS_WIDTH, TITLE_HEIGHT = 1.0, 0.4
PER_ROW = 6


@dataclass(frozen=True)
class Family:
    """Hold what a page shows of a model.

    Attributes:
        name: of the model.
        samples: images that it draws, N | C, H, W; None where it draws none.
        pairs: images and their reconstructions; None where it has none.
    """

    name: str
    samples: Tensor | None
    pairs: tuple[Tensor, Tensor] | None = None


@styled
def families(data: Tensor, shown: Sequence[Family], low: float = 0.0, high: float = 1.0) -> Figure:
    """Plot images beside samples and reconstructions of several models.

    Args:
        data: images.
        shown: the models.
        low: the value that is black.
        high: the value that is white.

    >>> len(families(torch.rand(36, 1, 8, 8), [Family("GAN", torch.rand(36, 1, 8, 8))]).axes)
    4
    """
    pairs = next((torch.cat(f.pairs) for f in shown if f.pairs is not None), data[:12])
    size = (WIDTH * (len(shown) + 1) + WORDS_WIDTH, SAMPLES_HEIGHT + PAIRS_HEIGHT + TITLE_HEIGHT)
    figure = Figure(size, layout="constrained")
    heights = (SAMPLES_HEIGHT, PAIRS_HEIGHT)
    panels = figure.subplots(2, len(shown) + 1, height_ratios=heights, squeeze=False)
    columns = [Family("data", data), *shown]
    for (above, below), family in zip(panels.T, columns, strict=True):
        above.set_title(family.name)
        _draw(above, family.samples, data, "draws none", low, high)
        both = None if family.pairs is None else torch.cat(family.pairs)
        nothing = "" if family is columns[0] else "reconstructs none"
        _draw(below, both, pairs, nothing, low, high)
    for axes, text in zip(panels[:, 0], ("samples", "data,\nreconstructions"), strict=True):
        axes.text(
            -0.06, 0.5, text, ha="right", va="center", transform=axes.transAxes, fontsize=8,
            linespacing=1.8,
        )  # fmt: skip
    return figure


def _draw(
    axes: Axes, images: Tensor | None, like: Tensor, nothing: str, low: float, high: float
) -> None:
    """Draw images, or words on a blank of the size of some others, six in a row."""
    shown = torch.full_like(like, high) if images is None else images
    show_image(axes, image_grid(shown, PER_ROW, low, high))
    if images is None:
        where = axes.transAxes
        axes.text(0.5, 0.5, nothing, ha="center", va="center", color=GREY, transform=where)
