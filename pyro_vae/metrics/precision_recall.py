"""Precision and recall of samples: are they like the data, and are the data like them?"""

from collections.abc import Mapping
from typing import Any

from pyro_vae.metrics.arrays import Array
from pyro_vae.metrics.balls import balls_around, least_rows
from pyro_vae.metrics.features.features import Features
from pyro_vae.metrics.samples import score_samples
from pyro_vae.metrics.value import SPLITS, MetricValue


def precision(
    real: Any,
    generated: Any,
    *,
    num_neighbours: int = 3,
    features: Features | None = None,
    num_splits: int = SPLITS,
    seed: int = 0,
) -> MetricValue:
    """Return the share of generated rows that lie among the real ones.

    A row does if it lies in a ball around a real row that reaches to that row's k-th nearest real
    neighbour. Balls shrink as n grows, so the share depends on n, and less than 1 is usual for new rows of
    the data's own distribution: ``bias`` says what half of the rows would add. One far real row makes a
    large ball: :func:`density` is less touched by that.

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

    Source: T. Kynkaanniemi, T. Karras, S. Laine, J. Lehtinen, T. Aila, "Improved precision and recall
    metric for assessing generative models", 2019, https://arxiv.org/abs/1904.06991.

    >>> real = [[0.0], [1.0], [2.0], [3.0]]
    >>> precision(real, [[0.5], [1.5], [2.5], [9.0]], num_neighbours=1).value
    0.75
    """

    def share(x: Array, y: Array) -> tuple[float, Mapping[str, Array]]:
        balls = balls_around(x, y, num_neighbours)
        return float((balls > 0).mean()), {"balls": balls}

    given, least = {"real": real, "generated": generated}, least_rows(num_neighbours)
    return score_samples("precision", share, given, features, num_splits, seed, least=least)


def recall(
    real: Any,
    generated: Any,
    *,
    num_neighbours: int = 3,
    features: Features | None = None,
    num_splits: int = SPLITS,
    seed: int = 0,
) -> MetricValue:
    """Return the share of real rows that lie among the generated ones: :func:`precision` the other way.

    Where modes of the data are missing in the samples, recall falls and precision does not.

    Args:
        real: (N, D), features; or rows of data.
        generated: (M, D), likewise.
        num_neighbours: k.
        features: of the rows; by default they are features already.
        num_splits: random halves of the rows, for the error and the bias.
        seed: of these.

    Returns:
        The score; ``parts`` has ``balls``, how many each real row lies in.

    Raises:
        InputError: the arrays do not fit.

    >>> real = [[0.0], [1.0], [20.0], [30.0]]
    >>> recall(real, [[0.5], [1.5], [2.5], [3.5]], num_neighbours=1).value
    0.5
    """

    def share(x: Array, y: Array) -> tuple[float, Mapping[str, Array]]:
        balls = balls_around(y, x, num_neighbours)
        return float((balls > 0).mean()), {"balls": balls}

    given, least = {"real": real, "generated": generated}, least_rows(num_neighbours)
    return score_samples("recall", share, given, features, num_splits, seed, least=least)
