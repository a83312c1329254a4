"""The result of ``traverse``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae.inference.latent_space.file_units import InFile
from pyro_vae.inference.latent_space.printed import beside, first_of, lines_of, text_table
from pyro_vae.notebook import table

MAX_MOVES = 10  # in print and in a picture


@dataclass(frozen=True, eq=False, repr=False)
class Traversal:
    """Hold what the model makes of a row whose latents move one at a time.

    Attributes:
        row: its number.
        moves: the name of each move: a number of a latent, such as ``z[3]``, or an attribute. Attributes
            come first, then the latents that change the data most.
        values: of that number, or the multiple of the attribute's step, (moves, steps).
        levels: of the quantiles, (steps,).
        means: E[x | z] by observed site, in the units of the data, ``moves, steps | rest | event``.
        change: how much of the spread of the data over all moves each move has, (moves,).
        in_file: how the data's file writes each site.
        notes: sentences that the reader should know.
    """

    row: int
    moves: tuple[str, ...]
    values: Tensor
    levels: Tensor
    means: Mapping[str, Tensor]
    change: Tensor
    in_file: Mapping[str, InFile] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, Sequence[Any]]:
        """The table of all steps of all moves, with the file's columns and words."""
        found = self._figures()
        for site, mean in self.means.items():
            found = beside(found, self.in_file[site].cells(site, mean.flatten(0, 1)))
        return found

    def _figures(self) -> dict[str, Sequence[Any]]:
        steps = len(self.levels)
        return {
            "move": [name for name in self.moves for _ in range(steps)],
            "change": self.change.repeat_interleave(steps).tolist(),
            "level": self.levels.tolist() * len(self.moves),
            "value": self.values.flatten().tolist(),
        }

    def renamed(self, row: int) -> "Traversal":
        """Return the same with another number of the row, such as that in the file."""
        return replace(self, row=row)

    def to_frame(self) -> Any:
        """Return the whole table as a pandas DataFrame, a row for each step of each move."""
        import pandas as pd

        return pd.DataFrame(self.columns)

    def plot(self) -> Figure:
        """Draw the moves: images as images, a table's columns as curves; ten moves at most."""
        from pyro_vae.inference.latent_space.pictures import picture_of_moves

        return picture_of_moves(self, MAX_MOVES)

    @property
    def caption(self) -> str:
        low, high = (f"{100 * float(self.levels[k]):.0f}" for k in (0, -1))
        return f"row {self.row}: one latent at a time, from its {low} % to its {high} % quantile"

    def __repr__(self) -> str:
        sites = ", ".join(f"{name} {tuple(mean.shape[2:])}" for name, mean in self.means.items())
        return f"Traversal({len(self.moves)} moves, {len(self.levels)} steps of {sites})"

    def __str__(self) -> str:
        notes = [f"note: {note}" for note in self._notes()]
        return "\n".join([self.caption, "", text_table(self._printed()), *notes])

    def _repr_html_(self) -> str:
        headings, *rows = self._printed()
        return table(rows, headings, self.caption, self._notes())

    def _printed(self) -> list[list[str]]:
        """Return headings and rows in words: the lowest and the highest step of each move."""
        columns, steps = self._figures(), len(self.levels)
        for site, mean in self.means.items():
            if mean.dim() <= 3:
                cells = first_of(self.in_file[site].cells(site, mean.flatten(0, 1)))
                columns = beside(columns, cells)
        count = min(len(self.moves), MAX_MOVES)
        places = [steps * move + step for move in range(count) for step in (0, steps - 1)]
        return lines_of({name: [x[place] for place in places] for name, x in columns.items()})

    def _notes(self) -> list[str]:
        more = len(self.moves) - MAX_MOVES
        left = [f"{more} more moves change less; to_frame() has them"] if more > 0 else []
        return [*left, *self.notes]
