"""The models of one comparison: each with its evidence, and how it was made."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pyro_vae.inference.evidence.result import Evidence


@dataclass(frozen=True, eq=False)
class Candidate:
    """Hold one model of a comparison.

    Attributes:
        name: in the table.
        evidence: of the data.
        program: the model and guide; None where only the evidence was given.
        data: the rows that it was given, or None where ``options`` hold the arguments of one call.
        options: further options of :func:`pyro_vae.log_evidence` that the program was given: ``unit``,
            ``seed``, ``device``, ``args``, ``kwargs``, ...
        seconds: that the evidence took; NaN where it was given.
        prior: the model's probability before the data.
        lacks: why the model has no evidence; empty if it has one.
    """

    name: str
    evidence: Evidence
    program: Any = None
    data: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = math.nan
    prior: float = 1.0
    lacks: str = ""

    @property
    def total(self) -> float:
        """log p(all data), nats."""
        return self.evidence.total

    @property
    def total_error(self) -> float:
        """Monte-Carlo standard error of :attr:`total`; 0 where it is exact, NaN where it is unknown."""
        evidence = self.evidence
        return 0.0 if evidence.is_exact else evidence.mean_standard_error * evidence.num_units

    @property
    def row_values(self) -> Tensor | None:
        """log p of each row, ``rows |``, nats; None where rows share latents, or there is only one."""
        evidence = self.evidence
        is_by_row = evidence.unit is not None and evidence.num_units > 1
        return evidence.log_evidence.double().cpu() if is_by_row else None


def no_evidence() -> Evidence:
    """Return what stands in place of the evidence of a model that has none: one figure, NaN."""
    nan = torch.full((1,), math.nan, dtype=torch.float64)
    return Evidence(nan, nan, nan, nan, 0, None, "none", False)


@dataclass(frozen=True, eq=False)
class Lineup:
    """Hold the models of a comparison, in the order of the table.

    Attributes:
        candidates: the models.
        reference: the one that the others are compared with.
    """

    candidates: tuple[Candidate, ...]
    reference: Candidate

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(candidate.name for candidate in self.candidates)

    @property
    def totals(self) -> Tensor:
        """log p(all data) of each model, nats."""
        return torch.tensor([c.total for c in self.candidates], dtype=torch.float64)

    @property
    def total_errors(self) -> Tensor:
        """Their Monte-Carlo standard errors."""
        return torch.tensor([c.total_error for c in self.candidates], dtype=torch.float64)

    @property
    def differences(self) -> Tensor:
        """log p(all data) of each model minus that of the reference: the log Bayes factor, nats."""
        return self.totals - self.reference.total

    @property
    def difference_errors(self) -> Tensor:
        """Monte-Carlo standard errors of :attr:`differences`, whose two estimates are independent."""
        errors = torch.hypot(
            self.total_errors, torch.tensor(self.reference.total_error, dtype=torch.float64)
        )
        return torch.where(self._is_reference, 0.0, errors)

    @property
    def row_errors(self) -> Tensor:
        """Sampling errors of :attr:`differences`, from the rows' paired differences.

        With d_n the difference of row n of N, sqrt(N) times the standard deviation of d_n, as the ``dse``
        of leave-one-out (Vehtari, Gelman, Gabry 2017): how much the sum would vary over other samples of N
        rows. NaN where either figure is joint.
        """
        errors = [self._row_error(candidate) for candidate in self.candidates]
        return torch.tensor(errors, dtype=torch.float64)

    def _row_error(self, candidate: Candidate) -> float:
        ours, others = candidate.row_values, self.reference.row_values
        if ours is None or others is None or len(ours) != len(others):
            return math.nan
        return paired_error(ours - others)

    @property
    def _is_reference(self) -> Tensor:
        return torch.tensor([c is self.reference for c in self.candidates])


def paired_error(differences: Tensor) -> float:
    """Return the sampling error of the sum of independent rows' differences, sqrt(N) times their sd."""
    return float(differences.std() * math.sqrt(len(differences)))


def quoted(names: Iterable[str], most: int = 5) -> str:
    """Return names in quotes, some of them if they are many.

    >>> quoted("ab"), quoted("abcdefg", 2)
    ("'a' and 'b'", "'a', 'b' and 5 more")
    """
    listed: Sequence[str] = list(names)
    shown = [repr(name) for name in listed[:most]]
    if len(listed) > most:
        return f"{', '.join(shown)} and {len(listed) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
