"""A comparison as a result: a table in print, in HTML, as a data frame and for JSON."""

import html
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pyro_vae.inference.comparison.column import Figures
from pyro_vae.inference.comparison.lineup import Lineup
from pyro_vae.inference.evidence.report import WIDTH


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Hold the comparison of models of the same data; ``print`` shows the table.

    Attributes:
        lineup: the models, in the order of the table, each with its evidence.
        columns: those of the table.
        checks: notes on what could not be checked of the data.
    """

    lineup: Lineup = field(repr=False)
    columns: tuple[Figures, ...]
    checks: tuple[str, ...] = ()

    @property
    def caption(self) -> str:
        """What the table is of, in a sentence."""
        candidates = self.lineup.candidates
        units = {(c.evidence.unit, c.evidence.num_units) for c in candidates if not c.lacks}
        of = "all data together"
        if len(units) == 1 and (pair := next(iter(units)))[0] is not None:
            of = f"all {pair[1]:,} rows (plate {pair[0]!r})"
        return (
            f"{len(candidates)} models compared by log p(data), in nats, of {of}. Differences and Bayes "
            f"factors are against {self.lineup.reference.name!r}"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that the reader should know."""
        of_columns = (note for column in self.columns for note in column.notes)
        has_errors = any(c.total_error != 0 and not c.lacks for c in self.lineup.candidates)
        error = (
            "±: the Monte-Carlo error; brackets: its interval of 95 %. More particles make both smaller",
        )
        return tuple(dict.fromkeys((*(error if has_errors else ()), *of_columns, *self.checks)))

    def to_frame(self, *, text: bool = False) -> Any:
        """Return the table as a pandas DataFrame, a row for each model.

        Args:
            text: whether the cells are those of the print, for ``to_latex`` or ``to_markdown``; by default
                they are numbers, in nats where they are logarithms.
        """
        import pandas as pd

        index = pd.Index(self.lineup.names, name="model")
        if text:
            return pd.DataFrame({c.heading: list(c.cells) for c in self.columns}, index=index)
        columns = {name: list(x) for column in self.columns for name, x in column.numbers.items()}
        return pd.DataFrame(columns, index=index)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON takes them, with null in place of NaN and infinity."""
        frame = self.to_frame()
        figures = {
            name: {column: finite(value) for column, value in row.items()}
            for name, row in zip(frame.index, frame.to_dict("records"), strict=True)
        }
        return {
            "reference": self.lineup.reference.name,
            "models": figures,
            "methods": {c.name: c.evidence.method for c in self.lineup.candidates},
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        names = [name or "''" for name in self.lineup.names]
        cells = [["", *names], *([c.heading, *c.cells] for c in self.columns)]
        lines = laid_out(cells)
        notes = [
            textwrap.fill(f"note: {note}", WIDTH, break_on_hyphens=False) for note in self.notes
        ]
        return "\n".join(
            [textwrap.fill(self.caption, WIDTH), "", *lines, *([""] * bool(notes)), *notes]
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        head = "".join(f"<th>{html.escape(c.heading)}</th>" for c in self.columns)
        rows = zip(self.lineup.names, *(c.cells for c in self.columns), strict=True)
        body = "".join(
            f"<tr><th>{html.escape(name)}</th>"
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            + "</tr>"
            for name, *cells in rows
        )
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        caption = f"<caption>{html.escape(self.caption)}</caption>"
        table = f"{caption}<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody>"
        return f"<table>{table}</table>{notes}"


def laid_out(columns: Sequence[Sequence[str]]) -> list[str]:
    """Return columns of text as lines: the first aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in zip(*columns, strict=True)
    ]


def finite(value: float) -> float | None:
    """Return a number as JSON takes it: None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None
