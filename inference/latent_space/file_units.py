"""Values that a model makes, in the units, columns and words of the data's file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pyro_vae.data import Argument, Column, Encoding, Split
from pyro_vae.data.columns.arguments import order_arguments
from pyro_vae.program.contract import signature
from pyro_vae.program.site_layout import labels

Cells = Sequence[Any]


@dataclass(frozen=True)
class InFile:
    """Say how the data's file writes the values of an observed site.

    Attributes:
        encoding: what the model's values were made of the file's by; None where they are the file's.
        columns: of the table, if it is one.
    """

    encoding: Encoding | None = None
    columns: tuple[Column, ...] | None = None

    def values(self, x: Tensor) -> Tensor:
        """Return values of the model, ``... | event``, in the units of the file."""
        return x if self.encoding is None else self.encoding.invert(x)

    def cells(self, site: str, x: Tensor) -> dict[str, Cells]:
        """Return values of the file, ``N | event``, as the columns of a table, with categories in words."""
        flat = x.reshape(len(x), -1).T
        if self.columns is None or len(self.columns) != len(flat):
            names = labels(site, x.shape[1:])
            return {name: column.tolist() for name, column in zip(names, flat, strict=True)}
        decoded = (
            list(c.decode(column.numpy())) for c, column in zip(self.columns, flat, strict=True)
        )
        return {c.name: column for c, column in zip(self.columns, decoded, strict=True)}


def units_of(
    program: Any, data: Any, shapes: Mapping[str, tuple[int, ...]], observes: Mapping[str, int]
) -> dict[str, InFile]:
    """Return for each observed site how the file writes it.

    Args:
        program: a model and guide.
        data: a split, which knows its file; of other data the values are the file's.
        shapes: of a row at each site.
        observes: the number of the argument that each site observes.
    """
    if not isinstance(data, Split):
        return {name: InFile() for name in shapes}
    arguments: Sequence[Argument] = ()
    if data.arguments is not None:
        arguments = order_arguments(data.arguments, signature(program))
    return {
        name: _of_site(data, shape, observes.get(name), arguments) for name, shape in shapes.items()
    }


def _of_site(
    data: Split, shape: tuple[int, ...], place: int | None, arguments: Sequence[Argument]
) -> InFile:
    if arguments:
        if place is None or arguments[place].shape != shape:
            return InFile()
        argument = arguments[place]
        return InFile(data.input(argument).encoding, data.columns_of(argument))
    return InFile(data.encoding, data.columns) if shape == tuple(data.event_shape) else InFile()
