"""Rows to be scored by a program: their evidence and its terms, each estimated once and when asked for."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.method import Method
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.inference.scoring.common_draws import common_evidence, open_common, rows_of
from pyro_vae.inference.scoring.terms import Terms, terms_of
from pyro_vae.program.contract import Program
from pyro_vae.program.prior_guide import require_guide

ANNEAL = 'score by an annealed evidence: by=Surprise(), method="ais" (--by surprise --method ais)'
DRAWS_OF_TERMS, MOST_DRAWS = 256, 1000  # where the evidence takes none; where it takes more


@dataclass(frozen=True)
class Rows:
    """Hold rows and a program that weighs them, with the same noise for each row.

    Attributes:
        program: the model and guide.
        data: the rows, as :func:`pyro_vae.log_evidence` takes them.
        method: to estimate the evidence by.
        num_particles: K.
        seed: of all noise.
        device: where to compute.
        progress: whether to draw a bar.
        with_shares: whether a score is to be divided among the values.
    """

    program: Program
    data: Any
    method: Method
    num_particles: int
    seed: int
    device: str | torch.device = "auto"
    progress: bool | None = None
    with_shares: bool = True

    @cached_property
    def evidence(self) -> Evidence:
        """The evidence of each row, log p(x)."""
        if isinstance(self.method, Importance):
            require_guide(self.program, ANNEAL)
        return common_evidence(
            self.program,
            self.data,
            self.method,
            self.num_particles,
            self.seed,
            self.device,
            self.progress,
        )

    @cached_property
    def terms(self) -> Terms:
        """What the evidence of each row is made of, by draws of the guide."""
        require_guide(self.program, ANNEAL)
        draws = DRAWS_OF_TERMS if self.method.is_exact else min(self.num_particles, MOST_DRAWS)
        with open_common(self.program, self.data, self.seed, self.device) as tiles:
            structure = tiles.example.structure
            has_draws = len(structure.latents) > len(structure.enumerated)
            found = terms_of(tiles, draws if has_draws else 1, self.progress)
        return _first(found, len(self))

    @cached_property
    def has_latents(self) -> bool:
        """Whether the program has any latents."""
        with open_common(self.program, self.data, self.seed, self.device) as tiles:
            return bool(tiles.example.structure.latents)

    @cached_property
    def values(self) -> tuple[Tensor, ...]:
        """The rows as the program takes them, on the CPU."""
        rows = rows_of(self.program, self.data, "cpu")
        return next(rows.take(torch.arange(rows.num_units), rows.num_units))

    @cached_property
    def _count(self) -> int:
        return rows_of(self.program, self.data, "cpu").num_units

    def __len__(self) -> int:
        return self._count

    def under(self, program: Program, method: Method) -> "Rows":
        """Return the same rows under another program."""
        return replace(self, program=program, method=method)


def _first(terms: Terms, count: int) -> Terms:
    """Return the terms of the first rows: few rows were padded with copies."""
    return Terms(
        terms.rate[:count],
        terms.distortion[:count],
        terms.rate_error[:count],
        terms.distortion_error[:count],
        {name: part[:count] for name, part in terms.parts.items()},
        {name: part[:count] for name, part in terms.guide_parts.items()},
    )
