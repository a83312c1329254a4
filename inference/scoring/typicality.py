"""Typicality: how far a row's log-evidence is from that of normal rows, on either side."""

import math
from dataclasses import dataclass
from typing import Any

from pyro_vae.inference.scoring.by import Figures, Score, surprise_shares
from pyro_vae.inference.scoring.rows import Rows


@dataclass(frozen=True)
class Typicality(Score):
    """Score a row by |log p(x) + H|, in nats, with the entropy H estimated as the mean of -log p(x) over
    reference rows.

    Nearly all draws of a distribution in many dimensions have a log-density near -H, and a row that is
    *more* probable than any of them, as a plain image among photographs, is strange, too.

    Source: E. Nalisnick, A. Matsukawa, Y. W. Teh, B. Lakshminarayanan, "Detecting out-of-distribution
    inputs to deep generative models using typicality", 2019, https://arxiv.org/abs/1906.02994.
    """

    description = "typicality: |log p(x) + entropy|, in nats"
    learns = True

    def learn(self, reference: Rows) -> tuple[float, float]:
        """Return the entropy and its Monte-Carlo error."""
        evidence = reference.evidence
        known = evidence.log_evidence[evidence.log_evidence.isfinite()]
        return -float(known.mean()), evidence.mean_standard_error

    def figures(self, rows: Rows, learnt: Any) -> Figures:
        entropy, error = learnt
        evidence = rows.evidence
        errors = (
            evidence.standard_error.square() + (error if math.isfinite(error) else 0) ** 2
        ).sqrt()
        scores = (evidence.log_evidence + entropy).abs()
        return Figures(scores, errors, surprise_shares(rows), evidence.notes)
