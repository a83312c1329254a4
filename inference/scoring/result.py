"""The scores of rows as a result: in print, in HTML, as a data frame and for JSON."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pyro_vae.inference.evidence.report import WIDTH
from pyro_vae.notebook import table

SHOWN, REASONS = 10, 3  # of the strangest rows; of the shares of each
MOST_COLUMNS = 100  # shares that a data frame has by value; of more values, by site


@dataclass(frozen=True, eq=False, repr=False)
class Scores:
    """Hold the scores of N rows, how they compare with normal rows, and where they come from.

    Larger is stranger. ``print`` shows the strangest rows.

    Attributes:
        scores: (N,), in nats unless ``by`` says otherwise.
        errors: their Monte-Carlo standard errors, (N,); NaN where they are unknown.
        by: the score, in a phrase.
        shares: by observed site, ``N | event`` or (N,), what each value contributes to the score, and under
            "latents" what no value has by itself. Of a score that is no sum, those of -log p(x).
        usual: the median of each share over the reference rows, or without them over the rows themselves.
        columns: the names of a site's values, by site, where they are known.
        p_values: the probability that a normal row is as strange, (N,); None without reference rows.
        q_values: of Benjamini and Hochberg: the rows with q <= a have a false discovery rate of at most a.
        threshold: rows above it have p <= ``false_alarms``; NaN without reference rows.
        false_alarms: the wanted share of normal rows that are flagged.
        reference_scores: of the held-out normal rows, (n,); None without them.
        notes: sentences that the reader should know.
    """

    scores: Tensor
    errors: Tensor
    by: str
    shares: Mapping[str, Tensor] = field(default_factory=dict)
    usual: Mapping[str, Tensor] = field(default_factory=dict)
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    p_values: Tensor | None = None
    q_values: Tensor | None = None
    threshold: float = math.nan
    false_alarms: float = 0.05
    reference_scores: Tensor | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def is_strange(self) -> Tensor:
        """Which rows have a score above the threshold; bool, (N,). None is without reference rows."""
        if self.reference_scores is None:
            return torch.zeros(len(self), dtype=torch.bool)
        return self.scores > self.threshold

    def discoveries(self, rate: float) -> Tensor:
        """Return the numbers of the rows whose false discovery rate is at most ``rate``."""
        if self.q_values is None:
            return torch.empty(0, dtype=torch.long)
        return (self.q_values <= rate).nonzero().flatten()

    def strangest(self, count: int = SHOWN) -> Tensor:
        """Return the numbers of the strangest rows, the strangest first."""
        order = self.scores.nan_to_num(nan=-math.inf, posinf=math.inf).argsort(
            descending=True, stable=True
        )
        return order[:count]

    def parts(self, above_usual: bool = False) -> dict[str, Tensor]:
        """Return the shares by name, (N,) each: of a table's columns, and of other sites as a whole.

        Args:
            above_usual: whether to subtract the usual share.
        """
        found: dict[str, Tensor] = {}
        for site, share in self.shares.items():
            if above_usual:
                share = share - self.usual[site]
            flat, names = share.reshape(len(share), -1), self.columns.get(site)
            if share.dim() == 2 and (names or flat.shape[1] <= MOST_COLUMNS):
                labels = names or [f"{site}[{j}]" for j in range(flat.shape[1])]
                found |= dict(zip(labels, flat.unbind(1), strict=True))
            else:
                found[site] = flat.sum(1)
        return found

    def reasons(self, row: int, count: int = REASONS) -> list[tuple[str, float]]:
        """Return the parts of a row that are most above the usual ones, with the excess."""
        excess = {name: float(part[row]) for name, part in self.parts(above_usual=True).items()}
        known = {name: value for name, value in excess.items() if not math.isnan(value)}
        return sorted(known.items(), key=lambda item: -item[1])[:count]

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each row: score, error, p, q, and the shares."""
        import pandas as pd

        columns: dict[str, Any] = {"score": self.scores.numpy(), "error": self.errors.numpy()}
        if self.p_values is not None and self.q_values is not None:
            columns |= {"p": self.p_values.numpy(), "q": self.q_values.numpy()}
            columns["strange"] = self.is_strange.numpy()
        shares = {f"share of {name}": part.numpy() for name, part in self.parts().items()}
        return pd.DataFrame({**columns, **shares})

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON takes them, with null in place of NaN and infinity."""
        rows = {"scores": self.scores, "errors": self.errors}
        if self.p_values is not None and self.q_values is not None:
            rows |= {"p_values": self.p_values, "q_values": self.q_values}
        finite = {n: [x if math.isfinite(x) else None for x in t.tolist()] for n, t in rows.items()}
        threshold = self.threshold if math.isfinite(self.threshold) else None
        return {"by": self.by, **finite, "threshold": threshold, "notes": list(self.notes)}

    # --- in print -----------------------------------------------------------------------------

    @property
    def caption(self) -> str:
        """What the figures are of, in a sentence."""
        text = f"{_rows(len(self))} by {self.by}; larger is stranger"
        if self.reference_scores is None:
            return f"{text}. Without reference rows there are no p-values"
        count = int(self.is_strange.sum())
        strange = f"{_rows(count)} {'is' if count == 1 else 'are'}"
        return (
            f"{text}. {strange} above {self.threshold:.4g}, the threshold for {self.false_alarms:.3g} "
            f"false alarms by {_rows(len(self.reference_scores), 'normal ')}"
        )

    def _table(self, count: int) -> tuple[list[str], list[list[str]]]:
        headings = ["row", "score", "±"]
        headings += ["p", "q"] if self.p_values is not None else []
        headings += ["most unusual"] if self.shares else []
        lines = []
        for row in self.strangest(count).tolist():
            cells = [f"{row:,}", f"{self.scores[row]:.2f}", f"{self.errors[row]:.2g}"]
            if self.p_values is not None and self.q_values is not None:
                cells += [f"{self.p_values[row]:.2g}", f"{self.q_values[row]:.2g}"]
            if self.shares:
                pairs = self.reasons(row)
                cells.append(", ".join(f"{n} {x:+.1f}" for n, x in pairs if x > 0.05))
            lines.append(cells)
        return headings, lines

    def summary(self, count: int = SHOWN) -> str:
        """Return the strangest rows as a text."""
        headings, lines = self._table(count)
        columns = list(zip(headings, *lines, strict=True))
        widths = [max(map(len, column)) for column in columns]
        words = len(headings) - 1 if self.shares else len(headings)
        text = [
            "  ".join(
                cell.ljust(w) if i == words else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in (headings, *lines)
        ]
        notes = [textwrap.fill(f"note: {note}", WIDTH) for note in self.notes]
        return "\n".join(
            [textwrap.fill(self.caption, WIDTH), "", *text, *([""] if notes else []), *notes]
        )

    __str__ = summary

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        headings, lines = self._table(SHOWN)
        return table(lines, headings, self.caption, self.notes)


def _rows(count: int, what: str = "") -> str:
    return f"{count:,} {what}row{'s' * (count != 1)}"
