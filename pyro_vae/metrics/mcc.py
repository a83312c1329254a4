"""The mean correlation coefficient."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyro_vae.metrics.arrays import Array, Pairs, as_pairs
from pyro_vae.metrics.value import SPLITS, MetricValue, scored


def mcc(
    codes: Any,
    factors: Any,
    *,
    is_class: Sequence[bool] | None = None,
    num_splits: int = SPLITS,
    seed: int = 0,
) -> MetricValue:
    """Return the mean absolute correlation of factors with codes, matched one to one as well as possible.

    For a factor whose values are classes the correlation is that with the best function of the class (the
    correlation ratio). A factor that no code is left for counts 0.

    Args:
        codes: (N, D).
        factors: (N, F).
        is_class: as in :func:`mig`.
        num_splits: random halves of the rows, for the error.
        seed: of these.

    Returns:
        The score; ``parts`` has ``correlation`` (D, F), and ``code`` (F,), the code of each factor, or -1.

    Raises:
        InputError: the arrays do not fit.

    Source: A. Hyvarinen, H. Morioka, "Unsupervised feature extraction by time-contrastive learning and
    nonlinear ICA", 2016, https://arxiv.org/abs/1605.06336.

    >>> v = np.random.default_rng(0).uniform(size=(1000, 2))
    >>> round(mcc(-v[:, ::-1], v).value, 6)
    1.0
    """
    return scored("MCC", _mcc, as_pairs(codes, factors, is_class), num_splits, seed)


def _mcc(pairs: Pairs, _: np.random.Generator) -> tuple[float, dict[str, Array]]:
    from scipy.optimize import linear_sum_assignment  # type: ignore[attr-defined]

    kinds = zip(pairs.factors.T, pairs.is_class, strict=True)
    columns = [
        _with_classes(pairs.codes, v) if kind else _with(pairs.codes, v) for v, kind in kinds
    ]
    correlation = np.stack(columns, 1)
    codes, factors = linear_sum_assignment(-correlation)
    code = np.full(correlation.shape[1], -1)
    code[factors] = codes
    value = correlation[codes, factors].sum() / correlation.shape[1]
    return float(value), {"correlation": correlation, "code": code}


def _with(codes: Array, v: Array) -> Array:
    """Return the absolute correlation of each code with a real factor, (D,)."""
    off, centred = codes - codes.mean(0), v - v.mean()
    spread = np.sqrt((off**2).sum(0) * (centred**2).sum())
    return np.divide(np.abs(centred @ off), spread, out=np.zeros(off.shape[1]), where=spread > 0)


def _with_classes(codes: Array, v: Array) -> Array:
    """Return the correlation ratio of each code with a class, (D,)."""
    off = codes - codes.mean(0)
    whole = (off**2).sum(0)
    between = np.zeros_like(whole)
    for k in np.unique(v):
        of_class = off[v == k]
        between += len(of_class) * of_class.mean(0) ** 2
    share = np.divide(between, whole, out=np.zeros_like(whole), where=whole > 0)
    return np.sqrt(np.minimum(share, 1))
