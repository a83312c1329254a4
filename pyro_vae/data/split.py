"""Rows to train on, to validate on or to test on."""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from pyro_vae.data.columns.arguments import Argument, order_arguments
from pyro_vae.data.columns.column import Column
from pyro_vae.data.description import shape_of
from pyro_vae.data.rows import Rows, row_numbers, select_names, subset
from pyro_vae.data.values import Encoding, ValueRange, filled_in, num_missing
from pyro_vae.errors import InputError
from pyro_vae.program.contract import Signature


class ModelInput(NamedTuple):
    """Hold an argument of a model as stored (N | event), and its encoding, if it has one."""

    rows: Rows
    encoding: Encoding | None


@dataclass(frozen=True, eq=False)
class Split:
    """Hold rows as they are stored, and how they become what a model sees.

    ``x`` (N | event) is a tensor (uint8 where that is exact, otherwise floats) or, where the set is too
    large for memory, rows that are read on access. Images are (C, H, W). ``labels`` (N,) are int64.
    ``values`` describes what the model sees, after ``encoding``. Missing values are NaN. ``places`` (N,)
    are the rows' places in their file, from 0; ``ids`` their names there, in a column ``id_name``. With
    ``arguments`` a model is given these columns of ``x``, otherwise ``x``, or ``x`` and ``labels``.
    ``factors`` (N, F), with their columns, are what the rows were drawn from, where that is known.

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
    factors: Tensor | None = None
    factor_columns: Sequence[Column] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return f"Split({len(self):,} rows of {shape_of(self.event_shape)}; {self.values})"

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
        """Whether each pass binarises the values by new draws."""
        return self.encoding.stochastic

    @property
    def location(self) -> Tensor | None:
        """The training rows' mean (| event), if the set is centred or standardised."""
        return self.encoding.location

    @property
    def scale(self) -> Tensor | None:
        """The training rows' standard deviation (| event) if the set is standardised; 1 if centred."""
        return self.encoding.scale

    @functools.cached_property
    def num_missing(self) -> int:
        """The number of missing values in all rows."""
        return num_missing(self.x)

    @functools.cached_property
    def fingerprint(self) -> str:
        """The sha256 of the stored rows, the labels and the encoding.

        Of lazy rows it takes the files' names and sizes in place of their contents.
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
        """Return the rows numbered ``indices``, in that order."""
        indices = row_numbers(indices, len(self), "indices")
        labels = None if self.labels is None else self.labels[indices]
        places = None if self.places is None else self.places[indices]
        ids = None if self.ids is None else select_names(self.ids, indices)
        factors = None if self.factors is None else self.factors[indices]
        x = subset(self.x, indices)
        return replace(self, x=x, labels=labels, places=places, ids=ids, factors=factors)

    def tensors(self, columns: int = 1) -> tuple[Rows, ...]:
        """Return the first ``columns`` of (x, labels), as stored.

        Raises:
            InputError: there are no labels, or ``columns`` is neither 1 nor 2.
        """
        if columns not in (1, 2):
            raise InputError(
                f"{columns} columns of a split are asked for",
                subject="columns",
                expected="1 for x, or 2 for x and labels",
            )
        if columns == 1:
            return (self.x,)
        if self.labels is None:
            raise InputError(
                "the data have no labels",
                subject="labels",
                remedy="name the label column (label=), or use a model that takes x alone",
            )
        return self.x, self.labels

    def inputs(self, takes: Signature | int | None = None) -> list[ModelInput]:
        """Return what a model is given of each row.

        Args:
            takes: the names that the model takes, or how many: x, or x and labels.

        Raises:
            InputError: the data lack one.
        """
        if self.arguments is not None:
            known = (
                order_arguments(self.arguments, takes)
                if isinstance(takes, Signature)
                else self.arguments
            )
            return [self.input(argument) for argument in known]
        number = takes.number if isinstance(takes, Signature) else takes
        x, *labels = self.tensors(number or 1)
        return [ModelInput(x, self.encoding), *(ModelInput(y, None) for y in labels)]

    @property
    def main_argument(self) -> Argument | None:
        """The argument ``x``, or the first if none has that name; None where all columns are x."""
        arguments = self.arguments or ()
        return next((a for a in arguments if a.name == "x"), next(iter(arguments), None))

    def columns_of(self, argument: Argument | None) -> tuple[Column, ...] | None:
        """Return the columns of a table, or of an argument."""
        if self.columns is None or argument is None:
            return self.columns
        return tuple(self.columns[place] for place in argument.places)

    def input(self, argument: Argument) -> ModelInput:
        """Return the columns of an argument, and their encoding."""
        x = argument.of(self.x[torch.arange(len(self))])
        if argument.is_category:
            return ModelInput((x / self.encoding.unit).round().long(), None)
        location, scale = (
            None if e is None else argument.of(e) for e in (self.location, self.scale)
        )
        return ModelInput(x, replace(self.encoding, location=location, scale=scale))

    def values_of(self, argument: Argument, indices: Tensor) -> Tensor:
        """Return an argument's values in the rows numbered ``indices``, in the units of the file."""
        rows, encoding = self.input(argument)
        x = rows[row_numbers(indices, len(self), "indices")]
        if encoding is None or x.dtype == torch.float64:  # which float32 could not hold
            return x
        return replace(encoding, location=None, scale=None)(x)

    def num_levels(self, argument: str) -> int | None:
        """Return the number of levels of an argument that is one category; None for others."""
        named = next((a for a in self.arguments or () if a.name == argument), None)
        columns = self.columns_of(named) if named and named.is_category else None
        return columns[0].num_categories if columns and len(columns) == 1 else None

    def filled_in(self, known: "Split") -> "Split":
        """Return the split with a value of some row of ``known`` in place of each missing one."""
        rows, others = (s.x[torch.arange(len(s))] for s in (self, known))
        return replace(self, x=filled_in(rows, others)) if self.num_missing else self

    def read(self, indices: Tensor | None = None) -> Tensor:
        """Return the rows numbered ``indices`` (None for all) as a model sees them: (B | event).

        Stochastic values are drawn from the global generator.
        """
        every = torch.arange(len(self))
        index = every if indices is None else row_numbers(indices, len(self), "indices")
        return self.encoding(self.x[index])

    def to_original(self, x: Tensor) -> Tensor:
        """Return a model's values (... | event) in the units of the data, without the standardisation.

        Grey images that were not standardised stay in [0, 1].
        """
        return self.encoding.invert(x)
