"""The Frechet distance of two samples."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyro_vae.metrics.arrays import Array
from pyro_vae.metrics.features.features import Features
from pyro_vae.metrics.samples import Samples, score_samples
from pyro_vae.metrics.value import SPLITS, MetricValue


def frechet_distance(
    real: Any,
    generated: Any,
    *,
    features: Features | None = None,
    num_splits: int = SPLITS,
    seed: int = 0,
) -> MetricValue:
    """Return the squared Frechet distance of two Normals that have the samples' means and covariances.

    |m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)), 0 where these are equal. With n rows of
    each it is too large, for whitened features of the same distribution by (2 D + D (D + 1) / 2) / n:
    ``bias`` estimates by how much, and ``extrapolated()`` takes it off. So compare distances of the same n
    only, or extrapolated ones. It sees no more than means and
    covariances: :func:`kernel_distance` sees more. It is not the FID of papers, whose features are those
    of one file of Inception's weights.

    Args:
        real: (N, D), features; or rows of data.
        generated: (M, D), likewise.
        features: of the rows; by default they are features already.
        num_splits: random halves of the rows, for the error and the bias.
        seed: of these.

    Raises:
        InputError: the arrays do not fit.

    Source: M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler, S. Hochreiter, "GANs trained by a two
    time-scale update rule converge to a local Nash equilibrium", 2017, https://arxiv.org/abs/1706.08500;
    D. C. Dowson, B. V. Landau, "The Frechet distance between multivariate Normal distributions", 1982.

    >>> x = np.random.default_rng(0).normal(size=(2000, 2))
    >>> round(frechet_distance(x, 2 * x + 1).value)  # |1|^2 + |2 - 1|^2 in each of two dimensions
    4
    """
    given = {"real": real, "generated": generated}
    return score_samples(
        "Frechet distance", _frechet, given, features, num_splits, seed, notes=_notes
    )


def _frechet(real: Array, generated: Array) -> tuple[float, Mapping[str, Array]]:
    one, other = (_covariance(x) for x in (real, generated))
    root = _square_root(one)
    between = np.linalg.eigvalsh(root @ other @ root)
    cross = np.sqrt(np.maximum(between, 0)).sum()
    away = real.mean(0) - generated.mean(0)
    distance = away @ away + np.trace(one) + np.trace(other) - 2 * cross
    return float(max(distance, 0.0)), {}


def _covariance(x: Array) -> Array:
    off = x - x.mean(0)
    return off.T @ off / (len(x) - 1)


def _square_root(covariance: Array) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _notes(samples: Samples) -> tuple[str, ...]:
    width = next(iter(samples.arrays.values())).shape[1]
    n = len(samples)
    if n // 2 > width:
        return ()
    what = "so the covariance is singular" if n <= width else "so that of half of them is singular"
    return (
        f"there are {n:,} rows and {width:,} features, {what}: most of the distance may be its bias, which "
        "does not fall as 1/n yet. More rows or fewer features help",
    )
