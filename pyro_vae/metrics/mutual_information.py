"""Entropy and mutual information of two columns, in nats, from counts."""

from typing import Any

import numpy as np

from pyro_vae.metrics.arrays import BINS, Array, in_bins


def entropy(x: Any, num_bins: int = BINS) -> float:
    """Estimate H(x) of classes, or of a real number's bins of equal shares, in nats.

    The plug-in estimate from N rows is too small by about (K - 1) / 2N, with K values that occur, which is
    added (Miller and Madow).

    >>> round(entropy([0, 1] * 500), 3)
    0.694
    """
    counts = np.unique(in_bins(np.asarray(x, float), num_bins), return_counts=True)[1]
    return _entropy(counts)


def mutual_information(x: Any, y: Any, num_bins: int = BINS) -> float:
    """Estimate I(x; y) = H(x) + H(y) - H(x, y), in nats.

    Real numbers are put in bins of equal shares, so a map of x that keeps its order changes nothing. What
    the bins lose falls with their number, and the noise grows with it: with 20 bins at most log 20 = 3.0
    nats can be found.

    Args:
        x: (N,).
        y: (N,).
        num_bins: for real numbers.

    Source: G. A. Miller, "Note on the bias of information estimates", 1955.

    >>> x = np.random.default_rng(0).normal(size=1000)
    >>> round(mutual_information(x, x), 1), bool(mutual_information(x, x[::-1]) < 0.1)
    (3.0, True)
    """
    of_x, of_y = (in_bins(np.asarray(values, float), num_bins) for values in (x, y))
    return of_classes(of_x, of_y)


def of_classes(x: Array, y: Array) -> float:
    """Return the mutual information of classes 0, 1, ...."""
    joint = np.bincount(x * (int(y.max()) + 1) + y)
    return _entropy(np.bincount(x)) + _entropy(np.bincount(y)) - _entropy(joint)


def _entropy(counts: Array) -> float:
    counts = counts[counts > 0]
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum() + (len(counts) - 1) / (2 * counts.sum()))
