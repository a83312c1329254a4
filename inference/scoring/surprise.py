"""Surprise: minus the log-evidence."""

from dataclasses import dataclass
from typing import Any

from pyro_vae.inference.scoring.by import Figures, Score, surprise_shares
from pyro_vae.inference.scoring.rows import Rows


@dataclass(frozen=True)
class Surprise(Score):
    """Score a row by -log p(x), in nats.

    The evidence integrates the latents out, so a row is not strange because one guess at its latents was
    poor. The error is that of the evidence.

    Source: C. M. Bishop, "Novelty detection and neural network validation", 1994,
    https://doi.org/10.1049/ip-vis:19941330.
    """

    description = "surprise: -log p(x), in nats"

    def figures(self, rows: Rows, learnt: Any) -> Figures:
        evidence = rows.evidence
        return Figures(
            -evidence.log_evidence, evidence.standard_error, surprise_shares(rows), evidence.notes
        )
