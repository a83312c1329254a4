"""InputComplexity: the surprise less what a general compressor needs for the row."""

import math
import zlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae.inference.scoring.by import Figures, Score, surprise_shares
from pyro_vae.inference.scoring.rows import Rows

LEVELS = 256


@dataclass(frozen=True)
class InputComplexity(Score):
    """Score a row by -log p(x) - L(x), in nats, with L the length of the row compressed by zlib.

    A likelihood is high where data are simple, whatever they show. L is what a program that knows nothing
    needs for them, so the score is a log-likelihood ratio with a universal model. Values are rounded to 256
    levels between the smallest and the largest of the reference rows.

    Source: J. Serrà et al., "Input complexity and out-of-distribution detection with likelihood-based
    generative models", 2019, https://arxiv.org/abs/1909.11480.
    """

    description = "surprise less complexity: -log p(x) - L(x), in nats"
    learns = True

    def learn(self, reference: Rows) -> tuple[float, float]:
        """Return the range of the values."""
        flat = torch.cat([x.double().reshape(-1) for x in _real(reference)])
        flat = flat[flat.isfinite()]
        return float(flat.min()), float(flat.max())

    def figures(self, rows: Rows, learnt: Any) -> Figures:
        low, high = learnt
        evidence = rows.evidence
        scores = -evidence.log_evidence - compressed_nats(_real(rows), low, high)
        return Figures(scores, evidence.standard_error, surprise_shares(rows), evidence.notes)


def _real(rows: Rows) -> list[Tensor]:
    columns = [x for x in rows.values if x.is_floating_point()]
    return columns or list(rows.values[:1])


def compressed_nats(columns: list[Tensor], low: float, high: float) -> Tensor:
    """Return the length of each row after zlib, in nats, float64.

    >>> flat, noise = torch.zeros(1, 400), torch.rand(1, 400)
    >>> bool(compressed_nats([noise], 0.0, 1.0) > 5 * compressed_nats([flat], 0.0, 1.0))
    True
    """
    span = high - low or 1.0

    def levels(x: Tensor) -> Any:
        scaled = ((x.double() - low) / span).nan_to_num(nan=0.0).clamp(0, 1)
        return (scaled * (LEVELS - 1)).round().to(torch.uint8).reshape(len(x), -1).numpy()

    whole = [levels(x) for x in columns]
    empty = len(zlib.compress(b"", 9))
    lengths = [
        len(zlib.compress(b"".join(x[n].tobytes() for x in whole), 9)) - empty
        for n in range(len(whole[0]))
    ]
    return torch.tensor(lengths).double() * 8 * math.log(2)
