"""Metrics of reconstructions: by hand, by another route, bad input."""

import math

import numpy as np
import pytest
import torch
from refused import refused

from pyro_vae.metrics import mse, psnr, ssim


@pytest.fixture
def rng(request):
    return np.random.default_rng(torch.initial_seed() % 2**32)


def test_squared_errors(rng) -> None:
    x, noise = rng.uniform(size=(500, 2, 3)), rng.normal(size=(500, 2, 3))
    found = mse(x, torch.from_numpy(x + 0.1 * noise))
    rows = 0.01 * (noise**2).mean((1, 2))
    assert np.allclose(found.parts["by_row"], rows)
    assert found.value == pytest.approx(rows.mean())
    assert found.standard_error == pytest.approx(rows.std(ddof=1) / math.sqrt(500))
    assert abs(found.value - 0.01) < 4 * found.standard_error
    assert "no bias" in str(found)


def test_psnr(rng) -> None:
    x = np.zeros((3, 4))
    made = np.array([[0.1] * 4, [1.0] * 4, [0.0, 0.0, 0.0, 2.0]])
    found = psnr(x, made, data_range=2.0)
    expected = 10 * np.log10(4 / np.array([0.01, 1.0, 1.0]))
    assert np.allclose(found.parts["by_row"], expected)
    exact = psnr(x, made * [[1], [1], [0]])
    assert exact.value == math.inf
    assert "row 2" in str(exact)


@pytest.mark.parametrize("side", [7, 11, 16])
def test_ssim_by_hand(rng, side) -> None:
    """With the window moved by loops."""
    x = rng.uniform(size=(2, 1, side, side))
    y = np.clip(x + 0.2 * rng.normal(size=x.shape), 0, 1)
    r = min(5, (side - 1) // 2)
    i = np.arange(-r, r + 1)
    window = np.exp(-(i[:, None] ** 2 + i**2) / (2 * 1.5**2))
    window /= window.sum()
    places = range(r, side - r)
    expected = []
    for a, b in zip(x[:, 0], y[:, 0], strict=True):
        found = []
        for u in places:
            for v in places:
                p, q = (c[u - r : u + r + 1, v - r : v + r + 1] for c in (a, b))
                mp, mq = (window * p).sum(), (window * q).sum()
                sp, sq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
                both = (window * (p - mp) * (q - mq)).sum()
                top = (2 * mp * mq + 1e-4) * (2 * both + 9e-4)
                found.append(top / ((mp**2 + mq**2 + 1e-4) * (sp + sq + 9e-4)))
        expected.append(np.mean(found))
    assert np.allclose(ssim(x, y).parts["by_row"], expected, rtol=1e-10)
    assert ssim(255 * x, 255 * y, data_range=255).value == pytest.approx(np.mean(expected))
    assert np.allclose(ssim(x[:, 0], y[:, 0]).parts["by_row"], expected)


def test_scikit_image_agrees(rng) -> None:
    skimage = pytest.importorskip("skimage.metrics")
    x = rng.uniform(size=(16, 20))
    y = np.clip(x + 0.2 * rng.normal(size=x.shape), 0, 1)
    options = {"gaussian_weights": True, "use_sample_covariance": False, "full": True}
    theirs = skimage.structural_similarity(x, y, data_range=1.0, **options)[1][5:-5, 5:-5].mean()
    assert ssim(x[None], y[None]).value == pytest.approx(theirs, rel=1e-9)
    ratio = skimage.peak_signal_noise_ratio(x, y, data_range=1.0)
    assert psnr(x[None], y[None]).value == pytest.approx(ratio)


@pytest.mark.parametrize("metric", [mse, psnr, ssim])
def test_bad_reconstructions_are_refused(rng, metric) -> None:
    x = rng.uniform(size=(4, 1, 12, 12))
    with refused("reconstructions", expected="same shape") as caught:
        metric(x, x[:, :, :11])
    assert "(4, 1, 12, 12)" in str(caught.value)
    assert "(4, 1, 11, 12)" in str(caught.value)
    with refused("data"):
        metric(np.where(x > 0.5, np.nan, x), x)
    if metric is not mse:
        with refused("data_range"):
            metric(x, x / 2, data_range=0)
    if metric is ssim:
        with refused("data", expected="images"):
            metric(x.reshape(4, -1), x.reshape(4, -1))
