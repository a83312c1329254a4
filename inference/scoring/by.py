"""What all scores have in common."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from pyro_vae.inference.scoring.rows import Rows
from pyro_vae.program.prior_guide import has_prior_as_guide


@dataclass(frozen=True)
class Figures:
    """Hold the score of each of N rows; larger is stranger.

    Attributes:
        scores: (N,), in nats unless the score says otherwise.
        errors: their Monte-Carlo standard errors, (N,); 0 where there is no noise, NaN where unknown.
        shares: how much of each score comes from where, in the same unit: by observed site ``N | event``
            or (N,), and under ``LATENTS`` what no observed value has by itself. They sum to the score; of
            a score that is no such sum they are those of -log p(x).
        notes: sentences that the reader should know.
    """

    scores: Tensor
    errors: Tensor
    shares: Mapping[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Score(abc.ABC):
    """A way to score rows by how strange a program finds them.

    A score is a frozen dataclass of its own options, in a file of its own; one that is not here needs no
    change elsewhere: ``score(program, data, by=MyScore())``.

    >>> from pyro_vae import score
    >>> from pyro_vae.models import FactorAnalysis
    >>> @dataclass(frozen=True)
    ... class Rate(Score):
    ...     description = "the rate"
    ...     def figures(self, rows, learnt):
    ...         return Figures(rows.terms.rate, rows.terms.rate_error)
    >>> import torch
    >>> score(FactorAnalysis((3,), 1), torch.randn(5, 3), by=Rate()).scores.shape
    torch.Size([5])

    Attributes:
        learns: whether it learns something from reference rows before it can score.
        description: the score in a phrase, for a table or a paper.
    """

    learns: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def description(self) -> str:
        """The score in a phrase."""

    def learn(self, reference: Rows) -> Any:
        """Return what the score must know of normal rows; by default nothing."""
        return None

    @abc.abstractmethod
    def figures(self, rows: Rows, learnt: Any) -> Figures:
        """Return the scores of some rows.

        Args:
            rows: with their evidence and its terms, estimated on first use.
            learnt: what :meth:`learn` returned.
        """


LATENTS = "latents"  # the share of what a row's values have only together


def surprise_shares(rows: Rows) -> dict[str, Tensor]:
    """Return the shares of -log p(x), in nats.

    -log p(x) = sum_j E_p(z | x) [-log p(x_j | z)] + KL(p(z | x) || p(z)), and the last term is the share
    of the latents: how far they must go from the prior to explain the row. (A program without latents has
    no such share.) Empty where no shares are
    wanted, for they take draws of their own, or no guide says where to draw.
    """
    if not rows.with_shares or has_prior_as_guide(rows.program):
        return {}
    parts = dict(rows.terms.parts)
    if not rows.has_latents:  # then the values are all there is
        return parts
    total = sum(part.reshape(len(part), -1).sum(1) for part in parts.values())
    rest = -rows.evidence.log_evidence - total
    return {**parts, LATENTS: rest}
