"""The structural similarity of images and their reconstructions."""

from typing import Any

import numpy as np

from pyro_vae.errors import InputError
from pyro_vae.metrics.arrays import Array
from pyro_vae.metrics.images import as_pair, as_range
from pyro_vae.metrics.value import MetricValue, mean_of_rows

SIGMA, REACH = 1.5, 5  # of the window, pixels: 11 x 11, as in the paper
K1, K2 = 0.01, 0.03


def ssim(data: Any, reconstructions: Any, *, data_range: float = 1.0) -> MetricValue:
    """Return the structural similarity of each image, its mean; 1 for equal images.

    (2 m_x m_y + C_1) (2 s_xy + C_2) / ((m_x^2 + m_y^2 + C_1) (s_x^2 + s_y^2 + C_2)), with means, variances
    and covariance in a Gaussian window of 11 x 11 pixels (sd 1.5), C_1 = (0.01 range)^2 and
    C_2 = (0.03 range)^2, averaged over the places where the window lies within the image, and over
    channels. On images of fewer than 11 pixels a side, the window is as large as fits, odd.

    Args:
        data: (N, channels, height, width) or (N, height, width).
        reconstructions: likewise.
        data_range: the largest value that is possible less the smallest.

    Returns:
        The score; ``parts`` has ``by_row``, (N,).

    Raises:
        InputError: the shapes differ, a value is not finite, or the rows are no images.

    Source: Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error
    visibility to structural similarity", 2004, https://doi.org/10.1109/TIP.2003.819861.

    >>> x = np.random.default_rng(0).uniform(size=(3, 1, 12, 12))
    >>> ssim(x, x).value, ssim(x, 1 - x).value < 0
    (1.0, True)
    """
    x, y = as_pair(data, reconstructions)
    if x.ndim not in (3, 4):
        raise InputError(
            f"a row has the shape {x.shape[1:]}",
            subject="data",
            expected="images, (channels, height, width) or (height, width)",
        )
    reach = min(REACH, (min(x.shape[-2:]) - 1) // 2)
    c1, c2 = ((k * as_range(data_range)) ** 2 for k in (K1, K2))
    mean_x, mean_y, xx, yy, xy = (_windowed(a, reach) for a in (x, y, x * x, y * y, x * y))
    both, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    similarity = (2 * both + c1) * (2 * (xy - both) + c2)
    similarity /= (squares + c1) * (xx + yy - squares + c2)
    return mean_of_rows("SSIM", similarity.reshape(len(x), -1).mean(1))


def _windowed(images: Array, reach: int) -> Array:
    """Return the window's mean around each place where it lies within the image."""
    from scipy.ndimage import correlate1d  # type: ignore[attr-defined]

    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * SIGMA**2))
    for axis in (-2, -1):
        images = correlate1d(images, weights / weights.sum(), axis)
    inside = slice(reach, -reach or None)
    found: Array = images[..., inside, inside]
    return found
