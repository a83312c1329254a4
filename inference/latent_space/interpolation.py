"""The result of ``interpolate``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae.inference.latent_space.file_units import InFile
from pyro_vae.inference.latent_space.paths import LatentPath
from pyro_vae.inference.latent_space.printed import (
    MAX_COLUMNS,
    beside,
    first_of,
    lines_of,
    text_table,
)
from pyro_vae.notebook import table

DRAWN = "log p(x') is the mean over data that are drawn at the step"


@dataclass(frozen=True, eq=False, repr=False)
class Interpolation:
    """Hold the steps from one row to another; ``print`` shows them as a table, :meth:`plot` as a picture.

    Attributes:
        rows: the numbers of both rows.
        along: the path.
        latents: by site, ``steps | rest | event``.
        means: E[x | z_t] by observed site, in the units of the data, ``steps | rest | event``; a draw where
            the likelihood has no mean.
        log_evidence: the mean of log p(x') over x' ~ p(x | z_t), in nats, ``steps |``; None without.
        standard_error: of that mean, over the draws.
        evidence_of_rows: log p(x) of both rows themselves, in nats.
        log_prior: log p(z_t) of the first row, in nats, ``steps |``.
        in_file: how the data's file writes each site.
        notes: sentences that the reader should know.
    """

    rows: tuple[int, int]
    along: LatentPath
    latents: Mapping[str, Tensor]
    means: Mapping[str, Tensor]
    log_evidence: Tensor | None
    standard_error: Tensor | None
    evidence_of_rows: tuple[float, float] | None
    log_prior: Tensor | None
    in_file: Mapping[str, InFile] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def num_steps(self) -> int:
        return len(next(iter(self.latents.values())))

    @property
    def columns(self) -> dict[str, Sequence[Any]]:
        """The table of the steps: their figures, and the data with the file's columns and words."""
        found = self._figures()
        for site, mean in self.means.items():
            found = beside(found, self.in_file[site].cells(site, mean))
        return found

    def _figures(self) -> dict[str, Sequence[Any]]:
        figures = {
            "log p(x')": self.log_evidence,
            "±": self.standard_error,
            "log p(z)": self.log_prior,
        }
        known = {name: values.tolist() for name, values in figures.items() if values is not None}
        return {"step": list(range(self.num_steps)), **known}

    def renamed(self, rows: tuple[int, int]) -> "Interpolation":
        """Return the same with other numbers of both rows, such as those in the file."""
        return replace(self, rows=rows)

    def to_frame(self) -> Any:
        """Return the whole table as a pandas DataFrame, a row for each step."""
        import pandas as pd

        return pd.DataFrame(self.columns)

    def plot(self) -> Figure:
        """Draw the steps with their evidence: images as images, a table's columns as curves."""
        from pyro_vae.inference.latent_space.pictures import picture_of_path

        return picture_of_path(self)

    @property
    def caption(self) -> str:
        first, second = self.rows
        return f"from row {first} to row {second} along {self.along}"

    def __str__(self) -> str:
        lines = [self.caption, "", text_table(self._printed()), *self._notes()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        sites = ", ".join(f"{name} {tuple(mean.shape[1:])}" for name, mean in self.means.items())
        return f"Interpolation({self.num_steps} steps of {sites}, {self.caption})"

    def _repr_html_(self) -> str:
        headings, *rows = self._printed()
        return table(rows, headings, self.caption, self._notes())

    def _printed(self) -> list[list[str]]:
        """Return headings and rows in words, without the numbers of images and the like."""
        columns = self._figures()
        for site, mean in self.means.items():
            if mean.dim() <= 2:
                columns = beside(columns, first_of(self.in_file[site].cells(site, mean)))
        return lines_of(columns)

    def _notes(self) -> list[str]:
        notes = list(self.notes)
        if self.evidence_of_rows is not None:
            first, second = (f"{figure:.2f}" for figure in self.evidence_of_rows)
            ends = f"the rows themselves have log p(x) = {first} and {second} nats"
            notes.insert(0, f"{DRAWN}, in nats; {ends}")
        left_out = [f"{site}[{k}]" for site, k in self._left_out().items()]
        if left_out:
            notes.append(f"the table leaves out {', '.join(left_out)}; to_frame() has them")
        return [f"note: {note}" for note in notes]

    def _left_out(self) -> dict[str, str]:
        found = {}
        for site, mean in self.means.items():
            size = mean[0].numel()
            if mean.dim() > 2:
                found[site] = f"0 to {size - 1}"
            elif size > MAX_COLUMNS:
                last = size - 1
                found[site] = f"{MAX_COLUMNS} to {last}" if last > MAX_COLUMNS else f"{last}"
        return found
