"""From scores to p-values: split-conformal calibration on held-out normal rows."""

import math
from dataclasses import dataclass

import torch
from scipy.stats import false_discovery_control
from torch import Tensor


@dataclass(frozen=True)
class Calibration:
    """Hold the scores of n held-out normal rows, (n,); larger is stranger.

    Source: V. Vovk, A. Gammerman, G. Shafer, "Algorithmic learning in a random world", 2005; S. Bates,
    E. Candès, L. Lei, Y. Romano, M. Sesia, "Testing for outliers with conformal p-values", 2021,
    https://arxiv.org/abs/2104.08279 (the false discovery rate).

    >>> calibration = Calibration(torch.arange(9.0))
    >>> calibration.p_values(torch.tensor([8.5, 4.0])), calibration.threshold(0.1)
    (tensor([0.1000, 0.6000], dtype=torch.float64), 8.0)
    """

    scores: Tensor

    def p_values(self, scores: Tensor) -> Tensor:
        """Return (1 + the number of normal scores that are as large) / (n + 1); NaN where a score is NaN.

        A normal row has p <= alpha with probability floor(alpha (n + 1)) / (n + 1), and less where scores
        are tied.
        """
        known = self.scores.double().sort().values
        as_large = len(known) - torch.searchsorted(known, scores.double().contiguous())
        p = (1 + as_large).double() / (len(known) + 1)
        return torch.where(scores.isnan(), math.nan, p)

    def threshold(self, false_alarms: float) -> float:
        """Return the score above which p <= false_alarms; infinite where the rows are too few for it."""
        count = len(self.scores)
        place = count + 1 - flagged_places(count, false_alarms)
        return math.inf if place > count else float(self.scores.double().sort().values[place - 1])


def flagged_places(count: int, rate: float) -> int:
    """Return floor(rate (n + 1)), safe from rounding: 0.1 of 10 is 1."""
    return math.floor(rate * (count + 1) + 1e-9)


def q_values(p: Tensor) -> Tensor:
    """Return the p-values adjusted by Benjamini and Hochberg: q <= alpha keeps the false discovery rate.

    NaN stays, and counts for no test.

    Source: Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate: a practical and powerful
    approach to multiple testing", 1995, https://doi.org/10.1111/j.2517-6161.1995.tb02031.x.

    >>> q_values(torch.tensor([0.01, 0.5, 0.02]).double())
    tensor([0.0300, 0.5000, 0.0300], dtype=torch.float64)
    """
    known = ~p.isnan()
    q = torch.full_like(p, math.nan)
    if known.any():
        q[known] = torch.from_numpy(false_discovery_control(p[known].numpy()))
    return q
