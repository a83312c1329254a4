"""``synthesis_report``: what made-up rows are like, what they are worth, and whom they give away."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae.data import Column, DataSet, Split
from pyro_vae.errors import InputError
from pyro_vae.inference.synthesis.copies import Copies, find_copies
from pyro_vae.inference.synthesis.features import Values
from pyro_vae.inference.synthesis.report_figure import draw_report
from pyro_vae.inference.synthesis.report_page import html_page, text_of
from pyro_vae.inference.synthesis.similarity import (
    MOST_COLUMNS,
    ColumnDistance,
    associations,
    column_distance,
)
from pyro_vae.inference.synthesis.synthesize import Synthesis
from pyro_vae.inference.synthesis.utility import Utility, utilities
from pyro_vae.plots import save
from pyro_vae.storage import write_text


@dataclass(frozen=True, eq=False)
class SynthesisReport:
    """Hold the comparison of made-up rows with the rows that the model was fitted to.

    Attributes:
        columns: of the table.
        real: training rows, ``rows | columns``.
        made: made-up rows, likewise.
        distances: of each column's distribution.
        association_real: Cramér's V of each pair of columns in the training rows.
        association_made: likewise in the made-up rows.
        target: the column that the classifiers predict; None where no column has categories.
        utilities: of each classifier.
        copies: how near the made-up rows lie to the training rows.
    """

    columns: tuple[Column, ...]
    real: Values
    made: Values
    distances: tuple[ColumnDistance, ...]
    association_real: Values
    association_made: Values
    target: str | None
    utilities: tuple[Utility, ...]
    copies: Copies

    @property
    def association_error(self) -> float:
        """Mean absolute difference of the associations of pairs."""
        pairs = np.tril_indices(len(self.association_real), -1)
        apart = np.abs(self.association_real - self.association_made)[pairs]
        return float(apart.mean()) if len(apart) else 0.0

    def summary(self) -> str:
        """Return the figures as text."""
        return text_of(self)

    def __repr__(self) -> str:
        return self.summary()

    def plot(self) -> Figure:
        """Draw the columns' distributions, the associations, the utility and the distances."""
        return draw_report(self)

    def _repr_html_(self) -> str:
        return html_page(self, whole=False)

    def save(self, path: Path | str) -> None:
        """Write the report as one .html file that loads nothing, or its figure as .png, .pdf or .svg."""
        path = Path(path)
        if path.suffix.lower() in (".html", ".htm"):
            write_text(path, html_page(self))
        else:
            save(self.plot(), path)


def synthesis_report(
    made: Synthesis | Split | Tensor, data: DataSet, *, target: str | None = None, seed: int = 0
) -> SynthesisReport:
    """Compare made-up rows with the data that the model was fitted to.

    Each column's distribution is compared with that of the training rows; so is the association of each
    pair of columns. Classifiers are trained on the made-up rows and on the training rows, and tested on the
    held-out rows (validation and test). Distances say whether made-up rows repeat training rows, and how
    well they give away who was trained on. The comparison is no guarantee of privacy.

    Args:
        made: rows of :func:`synthesize`, a split, or a tensor ``rows | columns`` in the units of the file.
        data: what the model was fitted to.
        target: the column to predict; by default the last one with several categories in training rows.
        seed: of the classifiers and of the rows that are compared by distance.

    Raises:
        InputError: the data are not a table, the rows have other columns, or ``target`` is none.

    Source: C. Esteban, S. L. Hyland, G. Rätsch, "Real-valued (medical) time series generation with
    recurrent conditional GANs", 2017, https://arxiv.org/abs/1706.02633 (train on synthetic, test on real).

    >>> from pyro_vae import load
    >>> wine = load("wine")
    >>> report = synthesis_report(wine.test, wine)
    >>> report.target, len(report.distances), report.copies.exact
    ('cultivar', 14, 0.0)
    """
    if not isinstance(data, DataSet):
        raise InputError(
            f"data must be a data set, with rows that were held out, not a {type(data).__name__}",
            subject="data",
            remedy="pass what pyro_vae.load returned",
        )
    columns = data.train.columns
    if columns is None or len(data.event_shape) != 1:
        raise InputError(
            "a report compares the columns of a table, and the data are not a table",
            subject="report",
            remedy="look at the pictures that `sample` draws",
        )
    real, rows = _rows(data.train), _as_rows(made)
    _check_rows(rows, columns)
    held_out = [_rows(split) for name, split in data.splits.items() if name != "train"]
    test = np.concatenate(held_out)
    if target is None:
        target = _last_with_classes(columns, real)
    some = slice(0, MOST_COLUMNS)
    return SynthesisReport(
        columns,
        real,
        rows,
        tuple(column_distance(c, x, y) for c, x, y in zip(columns, real.T, rows.T, strict=True)),
        associations(columns[some], real[:, some], real[:, some]),
        associations(columns[some], rows[:, some], real[:, some]),
        target,
        () if target is None else tuple(utilities(columns, target, real, rows, test, seed)),
        find_copies(columns, real, rows, test, seed),
    )


def _last_with_classes(columns: tuple[Column, ...], rows: Values) -> str | None:
    several = [
        np.nanmin(x) < np.nanmax(x) if c.num_categories and not np.isnan(x).all() else False
        for c, x in zip(columns, rows.T, strict=True)
    ]
    return next((c.name for c, yes in zip(columns[::-1], several[::-1], strict=True) if yes), None)


def _rows(split: Split) -> Values:
    """Return the rows of a split in the units of the file."""
    x = split.read(torch.arange(len(split)))
    return split.to_original(x).double().numpy()


def _as_rows(made: Any) -> Values:
    if isinstance(made, Split):
        return _rows(made)
    x = made.x if isinstance(made, Synthesis) else made
    if not isinstance(x, Tensor | np.ndarray):
        raise InputError(
            f"made-up rows cannot be a {type(x).__name__}",
            subject="made",
            expected="rows of synthesize(), a split, or a tensor",
        )
    return torch.as_tensor(x).double().numpy()


def _check_rows(rows: Values, columns: tuple[Column, ...]) -> None:
    """Check that rows are those of a table with these columns.

    Raises:
        InputError: they have other columns, or a value that a column cannot have.
    """
    if rows.ndim != 2 or rows.shape[1] != len(columns) or not len(rows):
        raise InputError(
            f"the made-up rows have the shape {rows.shape}",
            subject="made",
            expected=f"(rows, {len(columns)}), as the data have that many columns",
        )
    for column, x in zip(columns, rows.T, strict=True):
        wrong = x[np.isinf(x)]
        if column.categories:
            known = x[~np.isnan(x)]
            wrong = known[~np.isin(known, np.arange(len(column.categories)))]
        if len(wrong):
            raise InputError(
                f"column {column.name!r} of the made-up rows holds {wrong[0]:g}",
                subject="made",
                expected=f"categories by their numbers, 0 to {len(column.categories) - 1}"
                if column.categories
                else "finite numbers",
            )
