"""The separated attribute predictability score."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyro_vae.metrics.arrays import Array, Pairs, as_pairs
from pyro_vae.metrics.mig import largest_gap
from pyro_vae.metrics.value import SPLITS, MetricValue, scored

LEAST_IN_LEAF = 5


def sap(
    codes: Any,
    factors: Any,
    *,
    is_class: Sequence[bool] | None = None,
    num_splits: int = SPLITS,
    seed: int = 0,
) -> MetricValue:
    """Return the SAP score: how much better does one code predict each factor than the next does?

    A real factor's prediction from one code is linear, with score R^2. A class is predicted by thresholds
    on the code (a tree with a leaf for each class), from one half of the rows for the other; its score is
    the balanced accuracy, scaled so that chance is 0 and 1 is perfect. (The source leaves it unscaled, so
    that a perfect code scores less than 1.) The score is the mean gap over factors.

    Args:
        codes: (N, D).
        factors: (N, F).
        is_class: as in :func:`mig`.
        num_splits: random halves of the rows, for the error.
        seed: of these.

    Returns:
        The score; ``parts`` has ``gap`` (F,) and ``predictability`` (D, F).

    Raises:
        InputError: the arrays do not fit.

    Source: A. Kumar, P. Sattigeri, A. Balakrishnan, "Variational inference of disentangled latent concepts
    from unlabeled observations", 2017, https://arxiv.org/abs/1711.00848.

    >>> v = np.random.default_rng(0).uniform(size=(1000, 2))
    >>> sap(v, v).value > 0.95
    True
    """
    return scored("SAP", _sap, as_pairs(codes, factors, is_class), num_splits, seed)


def _sap(pairs: Pairs, noise: np.random.Generator) -> tuple[float, dict[str, Array]]:
    order = noise.permutation(len(pairs))
    found = np.array(
        [
            [
                _by_thresholds(z, v, order) if is_class else _r_squared(z, v)
                for v, is_class in zip(pairs.factors.T, pairs.is_class, strict=True)
            ]
            for z in pairs.codes.T
        ]
    )
    gap = largest_gap(found)
    return float(gap.mean()), {"gap": gap, "predictability": found}


def _r_squared(z: Array, v: Array) -> float:
    if z.std() == 0 or v.std() == 0:
        return 0.0
    return float(np.corrcoef(z, v)[0, 1] ** 2)


def _by_thresholds(z: Array, v: Array, order: Array) -> float:
    """Return the balanced accuracy on half of the rows, scaled so that chance is 0."""
    from sklearn.tree import DecisionTreeClassifier

    train, test = order[: len(order) // 2], order[len(order) // 2 :]
    count = len(np.unique(v[train]))
    if count < 2:
        return 0.0
    tree = DecisionTreeClassifier(
        max_leaf_nodes=count,
        class_weight="balanced",
        min_samples_leaf=LEAST_IN_LEAF,
        random_state=0,
    )
    guess = tree.fit(z[train, None], v[train]).predict(z[test, None])
    return max(0.0, balanced_accuracy(v[test], guess))


def balanced_accuracy(v: Array, guess: Array) -> float:
    """Return the mean over classes of the share that is guessed right, scaled so that chance is 0.

    >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    0.0
    """
    classes = np.unique(v)
    if len(classes) < 2:
        return 0.0
    right = np.mean([(guess[v == k] == k).mean() for k in classes])
    return float((right - 1 / len(classes)) / (1 - 1 / len(classes)))
