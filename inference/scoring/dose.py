"""DoSE: the density of several statistics of a row among those of normal rows."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae.inference.scoring.by import Figures, Score, surprise_shares
from pyro_vae.inference.scoring.rows import Rows

FEWEST = 10  # reference rows that a density can be estimated from
AT_ONCE = 2**24  # kernel values


@dataclass(frozen=True)
class DoSE(Score):
    """Score a row by -sum_i log d_i(t_i): t are rate, distortion and log p(x), and d_i their densities
    over reference rows, each by a Gaussian kernel.

    Unlike a threshold on log p(x) it finds a row whose statistics are unusual on either side. A kernel's
    width is 1.06 s n^(-1/5), with s the smaller of standard deviation and interquartile range / 1.349.

    Source: W. R. Morningstar et al., "Density of states estimation for out-of-distribution detection",
    2020, https://arxiv.org/abs/2006.09273.
    """

    description = "density of states: -log density of (rate, distortion, log p(x)), in nats"
    learns = True

    def learn(self, reference: Rows) -> tuple[Tensor, Tensor]:
        """Return the statistics of the reference rows, (n, 3), and the widths of the kernels, (3,)."""
        statistics = _statistics(reference)
        statistics = statistics[statistics.isfinite().all(1)]
        low, high = torch.quantile(statistics, torch.tensor([0.25, 0.75]).double(), dim=0)
        spread = statistics.std(0)
        robust = (high - low) / 1.349
        spread = torch.where(robust > 0, torch.minimum(spread, robust), spread)
        width = 1.06 * spread * len(statistics) ** -0.2
        return statistics, torch.where(width > 1e-9, width, 1.0)

    def figures(self, rows: Rows, learnt: Any) -> Figures:
        known, width = learnt
        scores = [
            _negative_log_density(some, known, width)
            for some in _statistics(rows).split(max(1, AT_ONCE // known.numel()))
        ]
        errors = torch.full((len(rows),), math.nan, dtype=torch.float64)
        return Figures(torch.cat(scores), errors, surprise_shares(rows), rows.evidence.notes)


def _statistics(rows: Rows) -> Tensor:
    """Return rate, distortion and log p(x) of each row, (N, 3)."""
    terms = rows.terms
    return torch.stack([terms.rate, terms.distortion, rows.evidence.log_evidence.double()], 1)


def _negative_log_density(t: Tensor, known: Tensor, width: Tensor) -> Tensor:
    standard = (t[:, None] - known) / width  # (N, n, 3)
    log_kernels = -0.5 * standard.square() - width.log() - 0.5 * math.log(2 * math.pi)
    return -(log_kernels.logsumexp(1) - math.log(len(known))).sum(1)
