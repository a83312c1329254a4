"""The kernel distance of two samples."""

from collections.abc import Mapping
from typing import Any

from pyro_vae.metrics.arrays import Array
from pyro_vae.metrics.features.features import Features
from pyro_vae.metrics.samples import score_samples
from pyro_vae.metrics.value import SPLITS, MetricValue

ROWS_AT_ONCE = 500


def kernel_distance(
    real: Any,
    generated: Any,
    *,
    features: Features | None = None,
    num_splits: int = SPLITS,
    seed: int = 0,
) -> MetricValue:
    """Return the squared maximum mean discrepancy of two samples with the kernel (x·y / D + 1)^3.

    The estimate is the unbiased one: the mean of k over pairs of different real rows, and over pairs of
    different generated ones, less twice that over pairs of one each. It is 0 on average, so often below,
    where both samples have the same distribution, and needs no more rows than features. The cubic kernel
    sees moments up to the third. The features' scale matters: figures of other features do not compare.

    Args:
        real: (N, D), features; or rows of data.
        generated: (M, D), likewise.
        features: of the rows; by default they are features already.
        num_splits: random halves of the rows, for the error.
        seed: of these.

    Raises:
        InputError: the arrays do not fit.

    Source: M. Binkowski, D. J. Sutherland, M. Arbel, A. Gretton, "Demystifying MMD GANs", 2018,
    https://arxiv.org/abs/1801.01401.

    >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    >>> found = kernel_distance(x[:200], x[200:])
    >>> abs(found.value) < 3 * found.standard_error
    True
    """
    given = {"real": real, "generated": generated}
    return score_samples(
        "kernel distance", _distance, given, features, num_splits, seed, is_unbiased=True
    )


def _distance(real: Array, generated: Array) -> tuple[float, Mapping[str, Array]]:
    across = _sum(real, generated) / (len(real) * len(generated))
    return _within(real) + _within(generated) - 2 * across, {}


def _within(x: Array) -> float:
    """Return the mean of the kernel over pairs of different rows."""
    of_themselves = _cubed((x**2).sum(1) / x.shape[1] + 1).sum()
    return float(_sum(x, x) - of_themselves) / (len(x) * (len(x) - 1))


def _sum(x: Array, y: Array) -> float:
    """Return the sum of the kernel over all pairs."""
    parts = (x[start : start + ROWS_AT_ONCE] for start in range(0, len(x), ROWS_AT_ONCE))
    return float(sum(_cubed(part @ y.T / x.shape[1] + 1).sum() for part in parts))


def _cubed(values: Array) -> Array:
    cubes: Array = values * values * values  # ** 3 takes ten times as long
    return cubes
