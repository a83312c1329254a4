"""Ranks of true values among draws, and what they say of the draws."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from scipy.special import chdtrc
from torch import Tensor

FALSE_ALARM = 0.01  # probability that exact draws are called wrong, of all numbers together
BINS = 10  # of the ranks, in the test of their uniformity
ERRORS = 3.3  # standard errors that a fault is named from
INTERVAL = 0.9  # whose coverage is reported


def rank(draws: Tensor, truth: Tensor) -> Tensor:
    """Return how many of S draws lie below the truth; those that equal it at random.

    Args:
        draws: (S, ...).
        truth: (...).

    >>> rank(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([1.5]))
    tensor([2])
    """
    below, equal = (draws < truth).sum(0), (draws == truth).sum(0)
    return below + (torch.rand(equal.shape, device=equal.device) * (equal + 1)).long()


@dataclass(frozen=True)
class Calibration:
    """Hold the ranks of true latents among draws of their posterior.

    Attributes:
        ranks: by the name of each number, (data sets,), between 0 and ``num_draws``.
        num_draws: S.
        method: how the draws were made.
        notes: what was seen on the way.

    Source: S. Talts, M. Betancourt, D. Simpson, A. Vehtari, A. Gelman, "Validating Bayesian inference
    algorithms with simulation-based calibration", 2018, https://arxiv.org/abs/1804.06788.
    """

    ranks: Mapping[str, Tensor]
    num_draws: int
    method: str
    notes: tuple[str, ...] = ()

    @property
    def num_data_sets(self) -> int:
        return len(next(iter(self.ranks.values())))

    @cached_property
    def p_values(self) -> dict[str, float]:
        """The probability, for exact draws, of ranks as far from uniform, by chi-squared of ten bins."""
        return {name: _p_value(ranks, self.num_draws) for name, ranks in self.ranks.items()}

    @property
    def is_passed(self) -> bool:
        """Whether nothing is wrong that the data sets show; exact draws pass with a probability of 99 %."""
        return min(self.p_values.values()) * len(self.p_values) > FALSE_ALARM

    @property
    def coverage(self) -> dict[str, float]:
        """The share of true values within the central interval of 90 %."""
        return {name: float(_covered(r, self.num_draws)) for name, r in self.ranks.items()}

    @property
    def verdicts(self) -> dict[str, str]:
        """For each number: "right", or in which way its draws are wrong."""
        level = FALSE_ALARM / len(self.ranks)
        return {
            name: "right" if self.p_values[name] > level else _fault(ranks, self.num_draws)
            for name, ranks in self.ranks.items()
        }

    def to_frame(self) -> Any:
        """Return verdict, p-value and coverage of each number as a pandas DataFrame."""
        import pandas as pd

        columns = {"verdict": self.verdicts, "p": self.p_values, "covered_90%": self.coverage}
        return pd.DataFrame(columns)

    def __str__(self) -> str:
        wrong = {name: fault for name, fault in self.verdicts.items() if fault != "right"}
        of = f"{self.num_data_sets:,} data sets, {self.num_draws:,} draws each; {self.method}"
        if not wrong:
            head = f"calibrated: the ranks of all {len(self.ranks)} numbers look uniform ({of})"
            return "\n".join([head, *(f"note: {note}" for note in self.notes)])
        covered = self.coverage
        lines = [
            f"  {name}: {fault}; its intervals of 90 % hold {covered[name]:.0%}"
            for name, fault in wrong.items()
        ]
        head = f"not calibrated: {len(wrong)} of {len(self.ranks)} numbers ({of})"
        return "\n".join([head, *lines, *(f"note: {note}" for note in self.notes)])

    __repr__ = __str__


def _p_value(ranks: Tensor, num_draws: int) -> float:
    """Return that of the chi-squared test of uniform ranks, whose bins may hold unlike numbers of them."""
    edges = [round(i * (num_draws + 1) / BINS) for i in range(BINS + 1)]
    counts = torch.bincount(ranks.cpu(), minlength=num_draws + 1)
    observed = torch.stack([counts[a:b].sum() for a, b in pairwise(edges)])
    shares = torch.tensor(edges).diff() / (num_draws + 1)
    expected = shares.double() * len(ranks)
    statistic = float(((observed - expected).square() / expected).sum())
    return float(chdtrc(BINS - 1, statistic))


def _covered(ranks: Tensor, num_draws: int) -> Tensor:
    u = (ranks.double() + 0.5) / (num_draws + 1)
    return ((u - 0.5).abs() < INTERVAL / 2).double().mean()


def _fault(ranks: Tensor, num_draws: int) -> str:
    """Return in words how ranks differ from uniform: the larger of a shift and of a spread."""
    u = (ranks.double() + 0.5) / (num_draws + 1)
    count = len(u)
    shift = float((u.mean() - 0.5) / u.std()) * math.sqrt(
        count
    )  # draws too narrow spread the ranks
    squares = (u - 0.5).square()
    spread = float(squares.mean() - 1 / 12) * math.sqrt(180 * count)
    words = []
    if abs(shift) > ERRORS:
        words.append("too low" if shift > 0 else "too high")
    if abs(spread) > ERRORS and abs(spread) > abs(shift) / 2:
        words.append("too narrow" if spread > 0 else "too wide")
    return " and ".join(words) or "of another shape"
