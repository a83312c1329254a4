"""The score of FactorVAE's authors."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyro_vae.metrics.arrays import Array, Pairs, as_pairs
from pyro_vae.metrics.value import SPLITS, MetricValue, scored

VOTES, ROWS = 800, 64


def factor_vae(
    codes: Any,
    factors: Any,
    *,
    is_class: Sequence[bool] | None = None,
    num_splits: int = SPLITS,
    seed: int = 0,
) -> MetricValue:
    """Return the share of votes that name the right factor: which code stays still when one factor does?

    For a vote, up to 64 rows are drawn that share the value of one factor (a real one: its bin of 20). The
    code whose variance is least, relative to all rows, votes for that factor. Each code stands for the
    factor that most of 800 votes give it; 800 votes by the other half of the rows are counted. Chance is
    about 1 / F.

    Args:
        codes: (N, D).
        factors: (N, F).
        is_class: as in :func:`mig`.
        num_splits: random halves of the rows, for the error.
        seed: of these and of the votes.

    Returns:
        The score; ``parts`` has ``votes`` (D, F).

    Raises:
        InputError: the arrays do not fit, or no two rows share a value of a factor.

    Source: H. Kim, A. Mnih, "Disentangling by factorising", 2018, https://arxiv.org/abs/1802.05983.

    >>> v = np.random.default_rng(0).uniform(size=(1000, 2))
    >>> factor_vae(v, v).value > 0.99
    True
    """
    return scored("FactorVAE", _factor_vae, as_pairs(codes, factors, is_class), num_splits, seed)


def _factor_vae(pairs: Pairs, noise: np.random.Generator) -> tuple[float, dict[str, Array]]:
    active = pairs.codes.std(0) > 0
    codes = pairs.codes[:, active] / pairs.codes[:, active].std(0)
    classes = [pairs.classes(k) for k in range(pairs.factors.shape[1])]
    count, order = len(classes), noise.permutation(len(codes))
    if not active.any():
        return 1 / count, {"votes": np.zeros((pairs.codes.shape[1], count))}
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    first, second = (
        _votes(codes[half], [_groups(of_factor[half]) for of_factor in classes], noise)
        for half in halves
    )
    chosen = first.argmax(1)
    right = second[np.arange(len(second)), chosen].sum() / max(1, second.sum())
    votes = np.zeros((pairs.codes.shape[1], count))
    votes[active] = first
    return float(right), {"votes": votes}


def _groups(classes: Array) -> list[Array]:
    """Return the rows of each value of a factor that has two or more."""
    order = np.argsort(classes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(classes))[:-1])
    return [part for part in parts if len(part) > 1]


def _votes(codes: Array, groups: list[list[Array]], noise: np.random.Generator) -> Array:
    """Return how often each code votes for each factor, (D, F)."""
    found = np.zeros((codes.shape[1], len(groups)))
    for _ in range(VOTES):
        factor = int(noise.integers(len(groups)))
        if not groups[factor]:
            continue
        rows = groups[factor][int(noise.integers(len(groups[factor])))]
        if len(rows) > ROWS:
            rows = rows[noise.integers(len(rows), size=ROWS)]
        found[codes[rows].var(0).argmin(), factor] += 1
    return found
