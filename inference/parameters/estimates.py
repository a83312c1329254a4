"""The table of learnt parameters: estimates, standard errors, intervals, AIC and BIC."""

import html
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

DIGITS = 2  # of a standard error
MOST_ROWS = 40  # in print


@dataclass(frozen=True)
class ParameterEstimates:
    """Hold maximum-likelihood estimates of P numbers; ``print`` shows a table.

    They are the parameters, and then what the program derives from them.

    Attributes:
        names: of each number, as in ``slope[2]``.
        estimate: the parameters as they are, where a constraint puts them, (P,).
        standard_error: from the observed information, minus the Hessian of the log-likelihood, (P,).
        robust_error: from the sandwich, which holds where the model is wrong, too; NaN where the units are
            too few, (P,).
        interval: for a constraint of single numbers the ends are mapped from the unconstrained scale,
            (P, 2).
        covariance: of the estimates, from the observed information, (P, P).
        monte_carlo_error: of ``standard_error``, where the log-likelihood is estimated; else 0, (P,).
        probability: of the interval.
        log_likelihood: of all data, in nats.
        log_likelihood_error: its Monte-Carlo standard error.
        num_parameters: how many numbers the data determine.
        num_units: how many independent units there are.
        unit: their plate; None where the log-likelihood is of all data together.
        method: how the log-likelihood was computed.
        notes: sentences that the reader should know.
    """

    names: tuple[str, ...]
    estimate: Tensor
    standard_error: Tensor
    robust_error: Tensor
    interval: Tensor
    covariance: Tensor
    monte_carlo_error: Tensor
    probability: float
    log_likelihood: float
    log_likelihood_error: float
    num_parameters: int
    num_units: int
    unit: str | None
    method: str
    notes: tuple[str, ...] = ()

    @property
    def aic(self) -> float:
        """Akaike's criterion, 2 P - 2 log L."""
        return 2 * self.num_parameters - 2 * self.log_likelihood

    @property
    def bic(self) -> float:
        """Schwarz's criterion, P log N - 2 log L with N units; NaN where there are no units."""
        if self.num_units < 2:
            return math.nan
        return self.num_parameters * math.log(self.num_units) - 2 * self.log_likelihood

    def columns(self) -> dict[str, list[float]]:
        """Return the table by heading."""
        low, high = (1 - self.probability) / 2, (1 + self.probability) / 2
        return {
            "estimate": self.estimate.tolist(),
            "se": self.standard_error.tolist(),
            "robust_se": self.robust_error.tolist(),
            f"{low:.1%}": self.interval[:, 0].tolist(),
            f"{high:.1%}": self.interval[:, 1].tolist(),
        }

    def to_frame(self) -> Any:
        """Return the table as a pandas DataFrame, a row for each number."""
        import pandas as pd

        return pd.DataFrame(self.columns(), index=pd.Index(self.names))

    @property
    def caption(self) -> str:
        """What the table is of, in a line."""
        of = f"{self.num_units:,} units of {self.unit!r}" if self.unit else "all data together"
        return f"Maximum likelihood, given {of}; log-likelihood: {self.method}"

    def _figures(self) -> list[str]:
        error = f" ± {self.log_likelihood_error:.2g}" if self.log_likelihood_error else ""
        bic = "-" if math.isnan(self.bic) else f"{self.bic:,.2f}"
        line = (
            f"log-likelihood {self.log_likelihood:,.2f}{error} nats, {self.num_parameters} parameters, "
            f"AIC {self.aic:,.2f}, BIC {bic}"
        )
        relative = (self.monte_carlo_error / self.standard_error).max()
        if relative > 0:
            line += f"; Monte-Carlo error of the standard errors: {float(relative):.1%} at most"
        return [line, *(f"note: {note}" for note in self.notes)]

    def __str__(self) -> str:
        lines = [["", *self.columns()], *self._rows()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.caption, "", *table, "", *self._figures()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *self.columns()))
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows()
        )
        rest = "".join(f"<p>{html.escape(line)}</p>" for line in self._figures())
        caption = f"<caption>{html.escape(self.caption)}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"

    def _rows(self) -> Iterator[list[str]]:
        """Yield the rows in words, of a long table the first and the last."""
        columns, count = self.columns(), len(self.names)
        half = MOST_ROWS // 2
        for row in range(count):
            if count > MOST_ROWS and half <= row < count - half:
                if row == half:
                    yield [f"... ({count - 2 * half:,} more)", *[""] * len(columns)]
                continue
            places = _places(columns["se"][row])
            yield [self.names[row], *(_cell(column[row], places) for column in columns.values())]


def _places(error: float) -> int:
    """Return how many decimals show two digits of a standard error."""
    if not math.isfinite(error) or error <= 0:
        return 2
    return min(max(0, DIGITS - 1 - math.floor(math.log10(error))), 6)


def _cell(value: float, places: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{places}f}"


def normal_quantile(probability: float) -> float:
    """Return z such that a standard normal lies within +-z with a probability.

    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    return float(torch.special.ndtri(torch.tensor((1 + probability) / 2, dtype=torch.float64)))
