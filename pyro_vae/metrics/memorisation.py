"""Whether samples are copies of the training data."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyro_vae.metrics.arrays import Array
from pyro_vae.metrics.balls import nearest
from pyro_vae.metrics.features.features import Features
from pyro_vae.metrics.samples import as_samples, full_name, score_samples
from pyro_vae.metrics.value import SPLITS, MetricValue


def nearest_rows(
    train: Any, generated: Any, *, features: Features | None = None
) -> tuple[Array, Array]:
    """Return how far the nearest training row of each generated row is, and its number, (M,) both.

    Args:
        train: (N, D), features; or rows of data.
        generated: (M, D), likewise.
        features: of the rows; by default they are features already.

    Raises:
        InputError: the arrays do not fit.

    >>> distance, row = nearest_rows([[0.0], [5.0]], [[4.0], [0.0]])
    >>> distance.tolist(), row.tolist()
    ([1.0, 0.0], [1, 0])
    """
    samples = as_samples({"train": train, "generated": generated}, features, least=1).arrays
    return nearest(samples["generated"], samples["train"])


def memorisation(
    train: Any,
    held_out: Any,
    generated: Any,
    *,
    features: Features | None = None,
    num_splits: int = SPLITS,
    seed: int = 0,
) -> MetricValue:
    """Return how often a generated row is nearer to its nearest training row than a held-out row is.

    It is P(d(generated) < d(held out)) + P(equal) / 2 over pairs of one each: 1/2 for new rows of the
    data's own distribution, 1 for copies of training rows. The training rows are taken as they are: the
    error is that of the other two samples. Less than 1/2 means that samples lie farther
    from the training rows than real ones do.

    Args:
        train: (N, D), features; or rows of data that the model was fitted to.
        held_out: (H, D), likewise, of the same distribution, that it was not.
        generated: (M, D), likewise.
        features: of the rows; by default they are features already.
        num_splits: random halves of the held-out and the generated rows, for the error.
        seed: of these.

    Returns:
        The score; ``parts`` has ``distance`` and ``row``, of each generated row's nearest training row.

    Raises:
        InputError: the arrays do not fit.

    Source: C. Meehan, K. Chaudhuri, S. Dasgupta, "A non-parametric test to detect data-copying in
    generative models", 2020, https://arxiv.org/abs/2004.05675.

    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> memorisation(x[:100], x[100:], x[:50]).value
    1.0
    """
    given = {"train": train, "held_out": held_out, "generated": generated}
    rows = dict(as_samples(given, features, least=1).arrays)
    of_training = rows.pop("train")

    def nearer(held: Array, made: Array) -> tuple[float, Mapping[str, Array]]:
        return _nearer(of_training, held, made)

    name = full_name("memorisation", features)
    return score_samples(name, nearer, rows, None, num_splits, seed, is_unbiased=True)


def _nearer(train: Array, held_out: Array, generated: Array) -> tuple[float, Mapping[str, Array]]:
    ours, row = nearest(generated, train)
    others = np.sort(nearest(held_out, train)[0])
    above = len(others) - np.searchsorted(others, ours, "right")
    equal = np.searchsorted(others, ours, "right") - np.searchsorted(others, ours, "left")
    share = (above + equal / 2).mean() / len(others)
    return float(share), {"distance": ours, "row": row}
