"""Background: the evidence against that of a second program."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pyro_vae.inference.evidence.method import Method
from pyro_vae.inference.evidence.methods import as_method
from pyro_vae.inference.scoring.by import Figures, Score, surprise_shares
from pyro_vae.inference.scoring.rows import Rows
from pyro_vae.program.contract import as_program


@dataclass(frozen=True)
class Background(Score):
    """Score a row by log p0(x) - log p(x), in nats, with p0 a second program.

    What both programs know cancels, as the colour of a background. Fit the second one to noisy, mixed or
    more general data. It takes rows as the first one does.

    Args:
        program: the second model and guide.
        method: to estimate its evidence by; by default as the first one's.

    Source: J. Ren et al., "Likelihood ratios for out-of-distribution detection", 2019,
    https://arxiv.org/abs/1906.02845.
    """

    program: Any
    method: str | Method | None = None

    description = "background: log p0(x) - log p(x), in nats"

    def figures(self, rows: Rows, learnt: Any) -> Figures:
        method = rows.method if self.method is None else as_method(self.method)
        other = rows.under(as_program(self.program), method)
        first, second = rows.evidence, other.evidence
        scores = second.log_evidence - first.log_evidence
        errors = (first.standard_error.square() + second.standard_error.square()).sqrt()
        notes = tuple(dict.fromkeys((*first.notes, *second.notes)))
        return Figures(scores, errors, _differences(rows, other), notes)


def _differences(rows: Rows, other: Rows) -> dict[str, Tensor]:
    """Return the shares of the difference: those of the first less those of the second, where they fit."""
    first, second = surprise_shares(rows), surprise_shares(other)
    shapes = {name: share.shape for name, share in first.items()}
    if shapes != {name: share.shape for name, share in second.items()}:
        return first
    return {name: share - second[name] for name, share in first.items()}
