"""Rows of one kind, those to train on, to validate on or to test on."""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from pyro_vae.data.arguments import Argument, in_order
from pyro_vae.data.columns.column import Column
from pyro_vae.data.rows import Rows, chosen, subset
from pyro_vae.data.values import Encoding, ValueRange, filled_in, num_missing
from pyro_vae.errors import InputError
from pyro_vae.program.contract import Signature


class Input(NamedTuple):
    """What a model is given: as stored (N | event), and how that becomes what it sees, if it changes."""

    rows: Rows
    encoding: Encoding | None


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of one kind, as stored, and how they become what a model sees.

    ``x`` (N | event) is a tensor (uint8 wherever nothing is lost by it, else float) or, where the
    set is too large for memory, rows that are read when they are indexed. Images are (C, H, W).
    ``labels`` (N,) are int64. ``values`` says what the model sees, after ``encoding``. Values that are
    missing are NaN. ``places`` (N,) are those of the rows in their file, from 0; ``ids`` their names
    there, in a column ``id_name``. With ``arguments`` a model is given these columns of ``x``, else ``x``,
    or ``x`` and ``labels``.

    >>> import torch
    >>> pixels = torch.tensor([[0, 255], [255, 51]], dtype=torch.uint8)
    >>> split = Split(pixels, ValueRange(0.0, 1.0, 256), Encoding(unit=255.0))
    >>> split.read(torch.tensor([1]))
    tensor([[1.0000, 0.2000]])
    >>> split.fingerprint == split.subset(torch.tensor([0, 1])).fingerprint
    True
    """

    x: Rows
    values: ValueRange
    encoding: Encoding = field(default_factory=Encoding)
    labels: Tensor | None = None
    class_names: tuple[str, ...] | None = None
    columns: tuple[Column, ...] | None = None
    places: Tensor | None = None
    ids: Sequence[str] | None = None
    id_name: str | None = None
    arguments: tuple[Argument, ...] | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one row."""
        return self.x.shape[1:]

    @property
    def column_names(self) -> tuple[str, ...] | None:
        """The names of a table's columns."""
        return None if self.columns is None else tuple(column.name for column in self.columns)

    @property
    def stochastic(self) -> bool:
        """Whether the values are binarised anew at every pass."""
        return self.encoding.stochastic

    @property
    def location(self) -> Tensor | None:
        """The training rows' mean (| event), where the set is centred or standardised."""
        return self.encoding.location

    @property
    def scale(self) -> Tensor | None:
        """The training rows' standard deviation (| event) where the set is standardised; 1 if centred."""
        return self.encoding.scale

    @functools.cached_property
    def num_missing(self) -> int:
        """How many values are missing, of all rows together."""
        return num_missing(self.x)

    @functools.cached_property
    def fingerprint(self) -> str:
        """The sha256 of the stored rows, the labels and the encoding.

        Of rows that are read lazily it takes the files' names and sizes in place of their contents.
        """
        digest = hashlib.sha256(repr((self.values, self.encoding.unit, self.stochastic)).encode())
        if self.arguments is not None:
            digest.update(repr(self.arguments).encode())
        for part in (self.x, self.labels, self.location, self.scale):
            if part is None:
                digest.update(b"none")
                continue
            digest.update(repr((part.dtype, tuple(part.shape))).encode())
            if isinstance(part, Tensor):
                digest.update(part.cpu().contiguous().numpy().data)
            else:
                digest.update(part.identity())
        return digest.hexdigest()

    def subset(self, indices: Tensor) -> "Split":
        """The rows numbered ``indices``, in that order."""
        labels = None if self.labels is None else self.labels[indices]
        places = None if self.places is None else self.places[indices]
        ids = None if self.ids is None else chosen(self.ids, indices)
        return replace(self, x=subset(self.x, indices), labels=labels, places=places, ids=ids)

    def tensors(self, columns: int = 1) -> tuple[Rows, ...]:
        """The first ``columns`` of (x, labels), as stored.

        :raises InputError: labels are asked for and there are none, or more than two columns are.
        """
        if columns not in (1, 2):
            raise InputError(
                f"a split gives x, or x and labels, but {columns} columns are asked for"
            )
        if columns == 1:
            return (self.x,)
        if self.labels is None:
            raise InputError(
                "labels are asked for, but these data have none: name the label column (label=), "
                "or use a model that takes x alone"
            )
        return self.x, self.labels

    def inputs(self, takes: Signature | int | None = None) -> list[Input]:
        """What a model is given of each row.

        :param takes: what it takes, by name, or how many: x, or x and labels.
        :raises InputError: the data do not have it.
        """
        if self.arguments is not None:
            known = (
                in_order(self.arguments, takes) if isinstance(takes, Signature) else self.arguments
            )
            return [self.input(argument) for argument in known]
        number = takes.number if isinstance(takes, Signature) else takes
        x, *labels = self.tensors(number or 1)
        return [Input(x, self.encoding), *(Input(y, None) for y in labels)]

    @property
    def main_argument(self) -> Argument | None:
        """The argument ``x``, or the first where none is named so; None where all columns are x."""
        arguments = self.arguments or ()
        return next((a for a in arguments if a.name == "x"), next(iter(arguments), None))

    def columns_of(self, argument: Argument | None) -> tuple[Column, ...] | None:
        """The columns of a table, or of an argument."""
        if self.columns is None or argument is None:
            return self.columns
        return tuple(self.columns[place] for place in argument.places)

    def input(self, argument: Argument) -> Input:
        """The columns of an argument."""
        x = argument.of(self.x[torch.arange(len(self))])
        if argument.is_category:
            return Input((x / self.encoding.unit).round().long(), None)
        location, scale = (
            None if e is None else argument.of(e) for e in (self.location, self.scale)
        )
        return Input(x, replace(self.encoding, location=location, scale=scale))

    def values_of(self, argument: Argument, indices: Tensor) -> Tensor:
        """What an argument has in the rows numbered ``indices``, in the file's own units."""
        rows, encoding = self.input(argument)
        x = rows[indices]
        if encoding is None or x.dtype == torch.float64:  # which float32 could not hold
            return x
        return replace(encoding, location=None, scale=None)(x)

    def num_levels(self, argument: str) -> int | None:
        """How many levels the category has that is an argument; None where it is none, or several."""
        found = [a for a in self.arguments or () if a.name == argument]
        columns = self.columns_of(found[0]) if found and found[0].is_category else None
        return columns[0].num_names if columns and len(columns) == 1 else None

    def filled_in(self, known: "Split") -> "Split":
        """The same with a value of a row of ``known`` in place of each that is missing."""
        rows, others = (s.x[torch.arange(len(s))] for s in (self, known))
        return replace(self, x=filled_in(rows, others)) if self.num_missing else self

    def read(self, indices: Tensor | None = None) -> Tensor:
        """The rows numbered ``indices`` (all, if None) as a model sees them: (B | event).

        Stochastic values are drawn from the global generator.
        """
        return self.encoding(self.x[torch.arange(len(self)) if indices is None else indices])

    def to_original(self, x: Tensor) -> Tensor:
        """A model's values (... | event) in the units of the data: undoes the standardisation.

        Grey images that were not standardised are in [0, 1] and stay there.
        """
        return self.encoding.invert(x)
