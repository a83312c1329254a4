"""Images side by side."""

import math
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

MISSING = (0.8, 0.87, 0.94)  # red, green, blue


def is_image_batch(x: Tensor) -> bool:
    return x.dim() == 4


def value_range(x: Tensor) -> tuple[float, float]:
    """Least and largest of the values that are known."""
    known = x[~x.isnan()]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def image_grid(x: Tensor, per_row: int, low: float, high: float) -> np.ndarray[Any, Any]:
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


def show_image(axes: Axes, mosaic: np.ndarray[Any, Any]) -> None:
    axes.imshow(mosaic, interpolation="nearest", vmin=0, vmax=1)
    axes.set_axis_off()
