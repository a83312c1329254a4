"""A table of the posterior: mean, sd, interval and Monte-Carlo error of each number."""

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.errors import must_be
from pyro_vae.inference.posterior.moments import Moments, moments
from pyro_vae.inference.posterior.reliability import BAD_R_HAT, LEAST_ESS, reasons
from pyro_vae.notebook import table
from pyro_vae.program.site_layout import labels

if TYPE_CHECKING:
    from pyro_vae.inference.posterior.result import Posterior

PROBABILITY = 0.94  # of an interval, as ArviZ has it
ROWS_OF_A_SITE = 12  # in print
NUMBERS_OF_A_SITE = 100  # a notebook shows the figures of a site with so many numbers at most
SEE_SUMMARY = "summary([name]) has the figures of each of these numbers"
DIGITS = 2  # of a standard deviation
NOT_TO_BE_REPORTED = "do not report the figures in parentheses"
FIGURES = ("mean", "sd", "low", "high")  # the others say how good these are


def check_probability(name: str, value: Any) -> None:
    if not 0 < checks.number(name, value) < 1:
        raise must_be(name, "a number between 0 and 1", value)


@dataclass(frozen=True)
class Summary:
    """Hold a table with a row for each number of the latents; ``print`` shows it.

    Attributes:
        rows: the name of each, with its place, as in ``effect[3]``.
        columns: a value for each row, by heading.
        site_sizes: how many rows each site has, by name.
        caption: what the table is of, in a line.
        notes: sentences that the reader should know.
        doubtful: whether the figures of each row cannot be trusted; print shows these in parentheses.
        warnings: sentences that say why, and what helps.
    """

    rows: tuple[str, ...]
    columns: dict[str, tuple[float, ...]]
    site_sizes: dict[str, int]
    caption: str
    notes: tuple[str, ...] = ()
    doubtful: tuple[bool, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_frame(self) -> Any:
        """Return the whole table as a pandas DataFrame, a row for each number."""
        import pandas as pd

        return pd.DataFrame(self.columns, index=pd.Index(self.rows))

    def __str__(self) -> str:
        lines = [["", *self.columns], *self._printed()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        above = [self.caption, *(f"warning: {warning}" for warning in self.warnings), ""]
        return "\n".join([*above, *text, *(f"note: {note}" for note in self.notes)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        headings = ("", *self.columns)
        return table(self._printed(), headings, self.caption, self.notes, self.warnings)

    def _printed(self) -> Iterator[list[str]]:
        """Yield the rows in words, of a long site the first and the last; a site has its own decimals."""
        first = 0
        for size in self.site_sizes.values():
            shown = list(range(first, first + size))
            places = _places(statistics.median(self.columns["sd"][first : first + size]))
            if size > ROWS_OF_A_SITE:
                half = ROWS_OF_A_SITE // 2
                yield from (self._line(row, places) for row in shown[:half])
                yield [f"... ({size - 2 * half:,} more)", *[""] * len(self.columns)]
                shown = shown[-half:]
            yield from (self._line(row, places) for row in shown)
            first += size

    def _line(self, row: int, places: int) -> list[str]:
        cells = [_cell(name, column[row], places) for name, column in self.columns.items()]
        if self.doubtful and self.doubtful[row]:  # it must not look like a figure to be reported
            number = len(FIGURES)
            cells[:number] = [cell if cell == "-" else f"({cell})" for cell in cells[:number]]
        return [self.rows[row], *cells]


def _places(sd: float) -> int:
    """Return how many decimals show two digits of a standard deviation."""
    if not math.isfinite(sd) or sd <= 0:
        return 2
    return min(max(0, DIGITS - 1 - math.floor(math.log10(sd))), 6)


def _cell(name: str, value: float, places: int) -> str:
    if math.isnan(value):
        return "-"
    if name == "ess":
        return f"{value:,.0f}"
    if name in ("k", "r_hat"):
        return f"{value:.2f}"
    return f"{value:.{places + (name == 'mcse')}f}"


def summarize(posterior: "Posterior", names: Sequence[str], probability: float) -> Summary:
    """Return the table of some latents."""
    tables = {name: _table(posterior, name, probability) for name in names}
    rows = tuple(row for name in names for row in _names(posterior, name))
    low, high = ((1 - probability) / 2, (1 + probability) / 2)
    headings = {
        "mean": "mean", "sd": "sd", "low": f"hdi_{low:.0%}", "high": f"hdi_{high:.0%}",
        "mcse": "mcse", "ess": "ess", "k": "k", "r_hat": "r_hat",
    }  # fmt: skip
    if not posterior.is_weighted or posterior.num_islands > 1:
        headings.pop("k")
    if posterior.num_chains == 1:
        headings.pop("r_hat")
    columns = {
        heading: tuple(
            itertools.chain.from_iterable(getattr(tables[name], key).tolist() for name in names)
        )
        for key, heading in headings.items()
    }
    of_units = "" if posterior.unit is None else f" of each of {posterior.unit!r}"
    kind = "weighted draws" if posterior.is_weighted else "draws"
    caption = f"Posterior{of_units}: {posterior.method}; {posterior.num_particles:,} {kind}"
    sizes = {name: len(tables[name].mean) for name in names}
    doubtful = tuple(is_bad for name in names for is_bad in tables[name].doubtful.tolist())
    why = reasons(posterior, sum(doubtful))
    warnings = tuple(f"{NOT_TO_BE_REPORTED}: {reason}" for reason in why)
    return Summary(rows, columns, sizes, caption, posterior.notes, doubtful, warnings)


def html(posterior: "Posterior") -> str:
    """Return a posterior for a notebook: the table of its small sites, and the size of the large ones."""
    sizes = {name: value[0].numel() for name, value in posterior.particles.items()}
    small = [name for name, size in sizes.items() if size <= NUMBERS_OF_A_SITE]
    large = [
        (name, ", ".join(posterior.dims(name)), " x ".join(map(str, value.shape[1:])))
        for name, value in posterior.particles.items()
        if name not in small
    ]
    shown = summarize(posterior, small, PROBABILITY)._repr_html_() if small else ""
    if not large:
        return shown
    headings = ("latent", "dimensions behind the draws", "size")
    if small:
        return shown + table(large, headings, notes=[SEE_SUMMARY])
    caption = summarize(posterior, [], PROBABILITY).caption
    return table(large, headings, caption, [*posterior.notes, SEE_SUMMARY])


def _table(posterior: "Posterior", name: str, probability: float) -> Moments:
    """Return the figures of a site's numbers, in the order of their names; or of its classes."""
    is_class = name in posterior.categories
    value = posterior.indicators(name) if is_class else posterior.particles[name].double()
    layout, shape = posterior.layouts[name], value.shape[1:]
    axis = layout.axis(posterior.unit)
    flat = layout.by_unit(value, posterior.unit)
    log_weights = posterior.log_weights[:, : flat.shape[1]]
    found = moments(flat, log_weights, probability, posterior.num_islands)
    found = _with_diagnostics(found, posterior, name, value)
    if is_class:
        nan = torch.full_like(found.mean, math.nan)
        found = replace(found, low=nan, high=nan)
    rest = layout.within_unit(shape, posterior.unit)

    def in_order(figures: Tensor) -> Tensor:  # (U, R)
        if axis is None:
            return figures.reshape(-1)
        return figures.reshape(-1, *rest).movedim(0, axis - 1).reshape(-1)

    return found.map(in_order)


def _with_diagnostics(found: Moments, posterior: "Posterior", name: str, value: Tensor) -> Moments:
    """Return the figures with k, and without errors that cannot be trusted; of chains with ArviZ's."""
    if not posterior.is_independent:
        from pyro_vae.inference.posterior.chains import chain_figures

        of_chains = chain_figures(value, posterior.num_chains)
        layout = posterior.layouts[name]

        def grouped(figures: Tensor) -> Tensor:
            return layout.by_unit(figures.unsqueeze(0), posterior.unit)[0]

        return replace(
            found,
            mcse=grouped(of_chains.mcse),
            ess=grouped(of_chains.ess),
            r_hat=(r_hat := grouped(of_chains.r_hat)),
            doubtful=r_hat > BAD_R_HAT,
        )
    units = len(found.mean)
    hidden = posterior.without_error[:units, None].expand(found.mean.shape)
    doubtful = hidden
    if posterior.num_islands > 1:  # an ESS of NaN is that of a constant
        doubtful = hidden | (found.ess < LEAST_ESS * posterior.num_islands)
    k = posterior.pareto_k[:units, None].expand(found.mean.shape)
    return replace(
        found,
        k=k,
        mcse=torch.where(hidden, math.nan, found.mcse),
        ess=torch.where(hidden, math.nan, found.ess),
        doubtful=doubtful,
    )


def _names(posterior: "Posterior", name: str) -> Iterator[str]:
    """Yield a name for each number of a site: its place, and the class if it has any."""
    value = posterior.particles[name]
    shape = list(value.shape[1:])
    classes = posterior.categories.get(name)
    if classes and posterior.layouts[name].event_dim:
        shape = shape[:-1]
    for label in labels(name, shape):
        if classes:
            yield from (f"{label} = {value}" for value in range(classes))
        else:
            yield label
