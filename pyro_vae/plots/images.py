"""Images on a grid."""

import math
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

LONGEST = 4  # times the other side, of a picture
MISSING = (0.8, 0.87, 0.94)  # red, green, blue


def is_image_batch(x: Tensor) -> bool:
    """Return whether data are images, (N | channels, height, width)."""
    return x.dim() == 4


def to_the_right(x: Tensor) -> Tensor:
    """Return images (N | C, H, W) that are series, far longer than wide, with time to the right.

    Each value is then so many pixels high that the pictures are no threads. Other images stay.
    """
    if x.shape[2] > LONGEST * x.shape[3]:
        x = x.transpose(2, 3)
    return x.repeat_interleave(math.ceil(x.shape[3] / (LONGEST * x.shape[2])), 2)


def value_range(x: Tensor) -> tuple[float, float]:
    """Return the minimum and maximum of the values that are not missing."""
    known = x[~x.isnan()]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def image_grid(x: Tensor, per_row: int, low: float, high: float) -> np.ndarray[Any, Any]:
    """Return images (N | C, H, W) on a white grid: (height, width, 3), values in [0, 1].

    The channels are stacked, the first on top, unless there are 1 or 3.
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
        missing = image.isnan().any(0)
        image = torch.where(missing, torch.tensor(MISSING).double()[:, None, None], image)
        canvas[:, top : top + height, left : left + width] = image
    return canvas.permute(1, 2, 0).numpy()


def show_image(axes: Axes, image: np.ndarray[Any, Any]) -> None:
    """Draw an image, pixel by pixel, without axes."""
    axes.imshow(image, interpolation="nearest", vmin=0, vmax=1)
    axes.set_axis_off()
