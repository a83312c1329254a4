"""Disentanglement, completeness and informativeness."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyro_vae.metrics.arrays import Array, Pairs, as_pairs
from pyro_vae.metrics.sap import balanced_accuracy
from pyro_vae.metrics.value import SPLITS, MetricValue, scored

TREES, LEAST_IN_LEAF = 10, 5


def dci(
    codes: Any,
    factors: Any,
    *,
    is_class: Sequence[bool] | None = None,
    num_splits: int = SPLITS,
    seed: int = 0,
) -> MetricValue:
    """Return DCI's disentanglement: does each code serve one factor only?

    A forest of trees predicts each factor from all codes; R_dk is how important code d is for factor k.
    The disentanglement of code d is 1 - H(R_d. / sum) / log F, and the score is its mean, weighted by how
    important the codes are. Completeness is the same of the columns, 1 - H(R_.k / sum) / log D, and
    informativeness how well half of the rows predict the other half: R^2, or the balanced accuracy scaled
    so that chance is 0. With one factor (or code) the first (second) is 1.

    Args:
        codes: (N, D).
        factors: (N, F).
        is_class: as in :func:`mig`.
        num_splits: random halves of the rows, for the error.
        seed: of these and of the trees.

    Returns:
        The score; ``parts`` has ``importance`` (D, F), ``completeness`` and ``informativeness`` (F,).

    Raises:
        InputError: the arrays do not fit.

    Source: C. Eastwood, C. K. I. Williams, "A framework for the quantitative evaluation of disentangled
    representations", 2018, https://openreview.net/forum?id=By-7dz-AZ.

    >>> v = np.random.default_rng(0).uniform(size=(500, 2))
    >>> dci(v, v, num_splits=2).value > 0.95
    True
    """
    return scored("DCI", _dci, as_pairs(codes, factors, is_class), num_splits, seed)


def _dci(pairs: Pairs, noise: np.random.Generator) -> tuple[float, dict[str, Array]]:
    order, state = noise.permutation(len(pairs)), int(noise.integers(2**31))
    found = [_fitted(pairs, k, order, state) for k in range(pairs.factors.shape[1])]
    importance = np.stack([of_codes for of_codes, _ in found], 1)  # (D, F)
    by_code = _concentration(importance)
    weight = importance.sum(1) / max(importance.sum(), 1e-300)
    parts = {
        "importance": importance,
        "completeness": _concentration(importance.T),
        "informativeness": np.array([right for _, right in found]),
    }
    return float((weight * by_code).sum()), parts


def _concentration(importance: Array) -> Array:
    """Return 1 - entropy of each row's shares, relative to the largest entropy that there is."""
    if importance.shape[1] == 1:
        return np.ones(len(importance))
    total = importance.sum(1, keepdims=True)
    shares = np.divide(importance, total, out=np.zeros_like(importance), where=total > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    found = 1 + (shares * logs).sum(1) / np.log(importance.shape[1])
    return np.where(total[:, 0] > 0, found, 0.0)


def _fitted(pairs: Pairs, factor: int, order: Array, state: int) -> tuple[Array, float]:
    """Return how important each code is for a factor, and how well all of them predict it."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestClassifier if pairs.is_class[factor] else RandomForestRegressor
    forest = kind(TREES, max_features=None, min_samples_leaf=LEAST_IN_LEAF, random_state=state)
    train, test = order[: len(order) // 2], order[len(order) // 2 :]
    x, v = pairs.codes, pairs.factors[:, factor]
    forest.fit(x[train], v[train])
    guess = forest.predict(x[test])
    if pairs.is_class[factor]:
        return forest.feature_importances_, balanced_accuracy(v[test], guess)
    spread = ((v[test] - v[test].mean()) ** 2).sum()
    return forest.feature_importances_, float(1 - ((v[test] - guess) ** 2).sum() / spread)
