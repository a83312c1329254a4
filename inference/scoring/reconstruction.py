"""Reconstruction: what is left of a row after a guide has described it."""

from dataclasses import dataclass
from typing import Any

from pyro_vae.inference.scoring.by import Figures, Score
from pyro_vae.inference.scoring.rows import Rows


@dataclass(frozen=True)
class Reconstruction(Score):
    """Score a row by its distortion -E_q log p(x | z), in nats: what others do, for comparison.

    It leaves out what the latents cost (the rate), so a row is not strange if only its latents are. With a
    Normal likelihood of fixed scale it is the squared error of a reconstruction, up to a factor.

    Source: J. An, S. Cho, "Variational autoencoder based anomaly detection using reconstruction
    probability", 2015 (SNU Data Mining Center, 2015-2 Special Lecture on IE).
    """

    description = "reconstruction: -E_q log p(x | z), in nats"

    def figures(self, rows: Rows, learnt: Any) -> Figures:
        terms = rows.terms
        return Figures(terms.distortion, terms.distortion_error, terms.guide_parts)
