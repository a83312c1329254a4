"""Reconstructions of data, and samples from a model."""

import math
from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae.data.columns.column import Column
from pyro_vae.errors import InputError
from pyro_vae.plots.images import image_grid, is_image_batch, show_image, value_range
from pyro_vae.plots.style import styled
from pyro_vae.plots.tables import as_table, reconstructed_columns, sampled_columns

IMAGES_PER_ROW = 10
IMAGE_WIDTH, MARGIN, SPACE = 0.55, 1.0, 0.15  # inches: of an image; for the words; between rows


@styled
def reconstructions(
    originals: Tensor, means: Tensor, columns: Sequence[Column | str] | None = None
) -> Figure:
    """Plot data and their reconstructions E[x' | z], with z from the guide.

    Images (N | C, H, W): each original above its reconstruction, ten in a row. Tables: a panel for each of
    the first columns, reconstruction against original.

    Args:
        originals: the data.
        means: their reconstructions, of the same shape.
        columns: the table's columns, or their names.

    Raises:
        InputError: the shapes differ.

    >>> len(reconstructions(torch.randn(50, 3), torch.randn(50, 3)).axes)
    3
    """
    if originals.shape != means.shape:
        shapes = f"{tuple(means.shape)}, and the originals {tuple(originals.shape)}"
        raise InputError(f"the means have shape {shapes}", subject="means", expected="equal shapes")
    if not is_image_batch(originals):
        return reconstructed_columns(as_table(originals), as_table(means), columns)
    low, high = value_range(originals)
    split = zip(originals.split(IMAGES_PER_ROW), means.split(IMAGES_PER_ROW), strict=True)
    pairs = [image_grid(torch.cat(pair), len(pair[0]), low, high) for pair in split]
    scale = IMAGE_WIDTH / originals.shape[-1]  # inches per pixel
    pitch = pairs[0].shape[0] * scale + SPACE
    width, height = MARGIN + pairs[0].shape[1] * scale, len(pairs) * pitch - SPACE
    figure = Figure((width, height))
    for i, pair in enumerate(pairs):
        tall, wide = (scale * pixels for pixels in pair.shape[:2])
        bottom = height - i * pitch - tall
        place = (MARGIN / width, bottom / height, wide / width, tall / height)  # left, bottom, size
        axes = figure.add_axes(place)
        show_image(axes, pair)
        _label(axes, 0.75, "data")
        _label(axes, 0.25, "reconstruction")
    return figure


def _label(axes: Axes, height: float, text: str) -> None:
    """Write a text left of the axes, at a fraction of their height."""
    units = "axes fraction", "offset points"
    axes.annotate(text, (0, height), (-5, 0), *units, ha="right", va="center")


@styled
def samples(
    values: Tensor,
    data: Tensor | None = None,
    columns: Sequence[Column | str] | None = None,
    caption: str | None = None,
) -> Figure:
    """Plot samples from a model: images (N | C, H, W) on a grid, a table column by column.

    Args:
        values: draws from the model, or the means of p(x | z) for z from the prior.
        data: data to compare a table's columns with; for images they give the range of grey.
        columns: the table's columns, or their names.
        caption: what the values are.
    """
    caption = f"{len(values):,} samples from the model" if caption is None else caption
    if not is_image_batch(values):
        rows = None if data is None else as_table(data)
        return sampled_columns(as_table(values), rows, columns, caption)
    per_row = math.ceil(math.sqrt(len(values)))
    grid = image_grid(values, per_row, *value_range(values if data is None else data))
    width = min(4.5, 1.5 * per_row)
    height = width * grid.shape[0] / grid.shape[1]
    figure = Figure((width, height + 0.3), layout="constrained")
    show_image(figure.subplots(), grid)
    figure.supxlabel(caption, fontsize=9)
    return figure
