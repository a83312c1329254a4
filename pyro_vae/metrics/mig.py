"""The mutual information gap."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyro_vae.metrics.arrays import Array, Pairs, as_pairs, in_bins
from pyro_vae.metrics.mutual_information import entropy, of_classes
from pyro_vae.metrics.value import SPLITS, MetricValue, scored


def mig(
    codes: Any,
    factors: Any,
    *,
    is_class: Sequence[bool] | None = None,
    num_splits: int = SPLITS,
    seed: int = 0,
) -> MetricValue:
    """Return the mutual information gap: is each factor in one code, and in no other?

    For factor v_k, the gap is (I(z_a; v_k) - I(z_b; v_k)) / H(v_k) between the two codes a, b that tell
    most of it; the score is the mean over factors. Real numbers are put in 20 bins of equal shares.

    Args:
        codes: (N, D), such as posterior means.
        factors: (N, F) that the data were made from.
        is_class: whether each factor's values are classes; by default those with at most 20 distinct whole
            numbers.
        num_splits: random halves of the rows, for the error.
        seed: of these.

    Returns:
        The score; ``parts`` has ``gap`` (F,) and ``information`` (D, F), in nats.

    Raises:
        InputError: the arrays do not fit.

    Source: R. T. Q. Chen, X. Li, R. Grosse, D. Duvenaud, "Isolating sources of disentanglement in
    variational autoencoders", 2018, https://arxiv.org/abs/1802.04942.

    >>> v = np.random.default_rng(0).uniform(size=(1000, 2))
    >>> mig(v, v).value > 0.95
    True
    """
    return scored("MIG", _mig, as_pairs(codes, factors, is_class), num_splits, seed)


def _mig(pairs: Pairs, _: np.random.Generator) -> tuple[float, dict[str, Array]]:
    codes = [in_bins(code) for code in pairs.codes.T]
    factors = [pairs.classes(k) for k in range(pairs.factors.shape[1])]
    information = np.array([[of_classes(z, v) for v in factors] for z in codes])
    entropies = np.array([entropy(v, len(v)) for v in factors])
    gap = largest_gap(information) / entropies
    return float(gap.mean()), {"gap": gap, "information": information}


def largest_gap(scores: Array) -> Array:
    """Return for each column the largest of D scores, less the second: none of one code is 0."""
    ascending = np.sort(
        np.vstack([scores, np.zeros(scores.shape[1])]) if len(scores) == 1 else scores, 0
    )
    return ascending[-1] - np.maximum(ascending[-2], 0)
