"""Density and coverage of samples."""

from collections.abc import Mapping
from typing import Any

from pyro_vae.metrics.arrays import Array
from pyro_vae.metrics.balls import balls_around, covered, least_rows
from pyro_vae.metrics.features.features import Features
from pyro_vae.metrics.samples import score_samples
from pyro_vae.metrics.value import SPLITS, MetricValue


def density(
    real: Any,
    generated: Any,
    *,
    num_neighbours: int = 5,
    features: Features | None = None,
    num_splits: int = SPLITS,
    seed: int = 0,
) -> MetricValue:
    """Return in how many balls around real rows a generated row lies, on average, over k.

    A ball reaches to the real row's k-th nearest real neighbour. The expectation is 1 for new rows of the
    data's own distribution, whatever n is, and more where samples crowd where the data are dense.

    Args:
        real: (N, D), features; or rows of data.
        generated: (M, D), likewise.
        num_neighbours: k.
        features: of the rows; by default they are features already.
        num_splits: random halves of the rows, for the error and the bias.
        seed: of these.

    Returns:
        The score; ``parts`` has ``balls``, how many each generated row lies in.

    Raises:
        InputError: the arrays do not fit.

    Source: M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi, J. Yoo, "Reliable fidelity and diversity metrics for
    generative models", 2020, https://arxiv.org/abs/2002.09797.

    >>> real = [[0.0], [1.0], [2.0], [3.0]]
    >>> density(real, [[0.5], [1.5], [2.5], [9.0]], num_neighbours=1).value
    1.5
    """

    def mean(x: Array, y: Array) -> tuple[float, Mapping[str, Array]]:
        balls = balls_around(x, y, num_neighbours)
        return float(balls.mean() / num_neighbours), {"balls": balls}

    given, least = {"real": real, "generated": generated}, least_rows(num_neighbours)
    return score_samples("density", mean, given, features, num_splits, seed, least=least)


def coverage(
    real: Any,
    generated: Any,
    *,
    num_neighbours: int = 5,
    features: Features | None = None,
    num_splits: int = SPLITS,
    seed: int = 0,
) -> MetricValue:
    """Return the share of real rows that have a generated row nearer than their k-th real neighbour.

    For new rows of the data's own distribution the expectation is 1 - prod_j (N-1-j) / (N+M-1-j) over
    j < k: 0.97 for k = 5 and as many rows of both, 1 - 2^-k, whatever n is.

    Args:
        real: (N, D), features; or rows of data.
        generated: (M, D), likewise.
        num_neighbours: k.
        features: of the rows; by default they are features already.
        num_splits: random halves of the rows, for the error and the bias.
        seed: of these.

    Returns:
        The score; ``parts`` has ``is_covered``, by real row.

    Raises:
        InputError: the arrays do not fit.

    Source: as :func:`density`.

    >>> real = [[0.0], [1.0], [20.0], [40.0]]
    >>> coverage(real, [[0.5], [1.5], [2.5], [3.5]], num_neighbours=1).value
    0.75
    """

    def share(x: Array, y: Array) -> tuple[float, Mapping[str, Array]]:
        is_covered = covered(x, y, num_neighbours)
        return float(is_covered.mean()), {"is_covered": is_covered}

    given, least = {"real": real, "generated": generated}, least_rows(num_neighbours)
    return score_samples("coverage", share, given, features, num_splits, seed, least=least)
