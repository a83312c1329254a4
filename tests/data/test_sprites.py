"""Sprites: every combination of the factors once, and images that show them."""

import numpy as np
import torch

from pyro_vae import load
from pyro_vae.data.readers.sprites import SHAPES, draw_sprites, factor_table

CENTRES = np.arange(32) + 0.5


def moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean place (N, 2) and covariance (N, 2, 2) of the pixels inside, in pixels: x, then y downwards."""
    flat = images[:, 0].reshape(len(images), -1).astype(float)
    places = np.stack(np.meshgrid(CENTRES, CENTRES), -1).reshape(-1, 2)
    weights = flat / flat.sum(1, keepdims=True)
    mean = weights @ places
    off = places[None] - mean[:, None]
    return mean, np.einsum("np,npi,npj->nij", weights, off, off)


def test_each_combination_is_there_once_and_no_two_images_are_the_same() -> None:
    table = factor_table()
    assert len(np.unique(table, axis=0)) == len(table) == 4608
    images = draw_sprites(table)
    assert len(np.unique(images.reshape(len(table), -1), axis=0)) == len(table)


def test_splits_hold_factors_beside_the_images() -> None:
    data = load("sprites", seed=3)
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 3072,
        "validation": 768,
        "test": 768,
    }
    assert data.train.class_names == SHAPES
    assert [column.name for column in data.train.factor_columns] == [
        *("shape", "size", "angle", "x", "y"),
    ]
    some = data.test.subset(torch.tensor([5, 700, 31]))
    drawn = draw_sprites(some.factors.numpy())
    assert np.array_equal(some.x.numpy(), drawn)
    assert some.labels.tolist() == some.factors[:, 0].tolist()
    assert np.array_equal(factor_table()[some.places], some.factors.numpy())
    assert load("digits").test.factors is None
    kept = load("sprites", validation=0.5).validation
    assert np.array_equal(draw_sprites(kept.factors[:9].numpy()), kept.x[:9].numpy())


def test_the_images_show_their_factors() -> None:
    """Centre, area and angle of squares and ellipses, from the moments of their pixels."""
    table = factor_table()
    images = draw_sprites(table)
    mean, covariance = moments(images)
    shape, size, angle = table.T[:3]
    symmetric = shape < 2
    assert np.abs(mean[symmetric] - table[symmetric, 3:]).max() < 0.5  # whole pixels
    area = images.sum((1, 2, 3))
    expected = np.where(shape == 0, (1.7 * size) ** 2, np.pi * 0.55 * size**2)
    relative = (area / expected - 1)[symmetric]
    assert abs(relative.mean()) < 0.01
    assert np.abs(relative).max() < 0.2
    ellipse = shape == 1
    values, vectors = np.linalg.eigh(covariance[ellipse])
    long = vectors[:, :, 1]
    found = np.rad2deg(np.arctan2(long[:, 1], long[:, 0])) % 180
    off = (found - angle[ellipse] + 90) % 180 - 90
    assert np.abs(off).max() < 8
    ratio = np.sqrt(values[:, 0] / values[:, 1])
    assert abs(ratio.mean() - 0.55) < 0.03
