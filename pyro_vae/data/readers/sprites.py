"""Sprites: small binary images drawn from known factors, to measure whether codes separate these."""

from itertools import product

import numpy as np
import numpy.typing as npt
import torch

from pyro_vae.data.columns.column import Column, Kind
from pyro_vae.data.readers.source import Source, SourceRows, shuffled_source

PIXELS, NUM_TEST = 32, 768
SHAPES = ("square", "ellipse", "heart")
SIZES = (5.0, 6.0, 7.0, 8.0)  # half of the width, in pixels
ANGLES = tuple(15.0 * k for k in range(6))  # degrees; a square looks the same again after 90
CENTRES = tuple(10 + 12 * k / 7 for k in range(8))  # of the sprite, in pixels

COLUMNS = (
    Column("shape", Kind.CATEGORY, SHAPES),
    *(Column(name) for name in ("size", "angle", "x", "y")),
)

Array = npt.NDArray[np.float64]


def factor_table() -> Array:
    """Return shape, size, angle, x and y of all 4,608 sprites, (N, 5): every combination once."""
    shapes = range(len(SHAPES))
    return np.array(list(product(shapes, SIZES, ANGLES, CENTRES, CENTRES)), dtype=np.float64)


def draw_sprites(factors: Array) -> npt.NDArray[np.uint8]:
    """Return images (N, 1, 32, 32), 1 inside the shape and 0 outside.

    Args:
        factors: shape (0, 1, 2), size, angle in degrees, x and y (from the left and the top), (N, 5).

    >>> image = draw_sprites(np.array([[1, 6.0, 0.0, 16.0, 16.0]]))
    >>> image.shape, int(image.sum()), int(image[0, 0, 16, 16])
    ((1, 1, 32, 32), 60, 1)
    """
    return np.concatenate(
        [_drawn(part) for part in np.array_split(factors, -(-len(factors) // 512))]
    )


def _drawn(factors: Array) -> npt.NDArray[np.uint8]:
    shape, size, angle, x, y = (column[:, None, None] for column in factors.T)
    centres = np.arange(PIXELS) + 0.5
    right, down = centres[None, None, :] - x, centres[None, :, None] - y
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    u, v = (cosine * right + sine * down) / size, (sine * right - cosine * down) / size
    square = np.maximum(np.abs(u), np.abs(v)) <= 0.85
    ellipse = u**2 + (v / 0.55) ** 2 <= 1
    a, b = 1.2 * u, 1.2 * v
    heart = (a**2 + b**2 - 1) ** 3 <= a**2 * b**3
    inside = np.select([shape == 0, shape == 1], [square, ellipse], heart)
    return inside[:, None].astype(np.uint8)


def sprites() -> Source:
    """Return the sprites in an order that is the same for every seed, with their factors."""
    factors = factor_table()
    rows = SourceRows(
        torch.from_numpy(draw_sprites(factors)),
        torch.from_numpy(factors[:, 0].astype(np.int64)),
        factors=torch.from_numpy(factors),
    )
    return shuffled_source(rows, 0, num_test=NUM_TEST, class_names=SHAPES, factor_columns=COLUMNS)
