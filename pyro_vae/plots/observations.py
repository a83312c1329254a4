"""What a model makes: of data, and by itself."""

import math
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae.data.columns.column import Column
from pyro_vae.errors import InputError
from pyro_vae.plots.images import image_grid, is_image_batch, show_image, value_range
from pyro_vae.plots.style import styled
from pyro_vae.plots.tables import as_table, reconstructed_columns, sampled_columns


@styled
def reconstructions(
    originals: Tensor, means: Tensor, columns: Sequence[Column | str] | None = None
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
    if not is_image_batch(originals):
        return reconstructed_columns(as_table(originals), as_table(means), columns)
    low, high = value_range(originals)
    pairs = [
        image_grid(torch.cat(pair), len(pair[0]), low, high)
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
        show_image(axes, pair)
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


@styled
def samples(
    values: Tensor,
    data: Tensor | None = None,
    columns: Sequence[Column | str] | None = None,
    caption: str | None = None,
) -> Figure:
    """What the model makes up. Images (N | C, H, W): a grid. Tables: each column's distribution.

    Args:
        values: draws from the model, or the means of p(x | z) for z from the prior.
        data: data beside which a table's columns are drawn, and which give images' range of grey.
        columns: the table's columns, or their names.
        caption: what the values are.
    """
    caption = f"{len(values):,} samples from the model" if caption is None else caption
    if not is_image_batch(values):
        rows = None if data is None else as_table(data)
        return sampled_columns(as_table(values), rows, columns, caption)
    range_of = values if data is None else data
    per_row = math.ceil(math.sqrt(len(values)))
    mosaic = image_grid(values, per_row, *value_range(range_of))
    width = min(4.5, 1.5 * per_row)
    height = width * mosaic.shape[0] / mosaic.shape[1]
    figure = Figure((width, height + 0.3), layout="constrained")
    axes = figure.subplots()
    show_image(axes, mosaic)
    figure.supxlabel(caption, fontsize=9)
    return figure
