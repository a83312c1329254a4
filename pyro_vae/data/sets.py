"""A data set in memory or on disk: its splits, and what there is to know about them."""

import functools
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyro_vae.data.arguments import Argument, in_order, in_words
from pyro_vae.data.columns import Column
from pyro_vae.data.rows import Rows, chosen, subset
from pyro_vae.data.values import Encoding, ValueRange, filled_in, num_missing
from pyro_vae.errors import InputError
from pyro_vae.program import Signature


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
        """The training rows' mean (| event), where the set is standardised."""
        return self.encoding.location

    @property
    def scale(self) -> Tensor | None:
        """The training rows' standard deviation (| event), where the set is standardised."""
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
        return x if encoding is None else replace(encoding, location=None, scale=None)(x)

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


MOST_CLASSES = 5  # that are named in one sentence
_BINARIZED = {
    "none": [],
    "threshold": ["1 where the grey value is above 1/2"],
    "stochastic": ["drawn from the grey values at every pass (validation and test: once)"],
    "fixed": ["drawn once from the grey values"],
}


def _kinds(columns: Sequence[Column]) -> str:
    """How many columns are of each kind."""
    counts = Counter(str(column.kind) for column in columns)
    return f"columns: {', '.join(f'{count:,} {kind}' for kind, count in counts.items())}"


@dataclass(frozen=True, eq=False)
class DataSet:
    """Training, validation and test rows, disjoint and alike; no ``validation`` is None."""

    name: str
    train: Split
    validation: Split | None
    test: Split
    binarize: str = "none"
    remarks: tuple[str, ...] = ()  # how a file was read, where it could be read otherwise
    pixels: bool | None = None  # whether whole numbers are grey levels; None where no array is read

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one row: (C, H, W) for images, (columns,) for tables."""
        return self.train.event_shape

    @property
    def values(self) -> ValueRange:
        """What values a model sees."""
        return self.train.values

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that have rows, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}

    @property
    def num_missing(self) -> int:
        """How many values are missing, of all splits together."""
        return sum(split.num_missing for split in self.splits.values())

    @property
    def num_classes(self) -> int | None:
        """How many classes the labels tell apart, None without labels."""
        if self.train.class_names is not None:
            return len(self.train.class_names)
        labels = [split.labels for split in self.splits.values() if split.labels is not None]
        return max(int(part.max()) for part in labels) + 1 if labels else None

    def with_labels_of(self, count: int, seed: int = 0) -> "DataSet":
        """The same with ``count`` labels of the training rows, taken at random; the others become -1.

        :raises InputError: there are no labels, or not so many.
        """
        labels = self.train.labels
        if labels is None:
            raise InputError(f"{self.name} has no labels to keep {count} of")
        seen = (labels >= 0).nonzero().squeeze(-1)
        if not 0 <= count <= len(seen):
            raise InputError(
                f"labels of {count:,} rows are asked for; {len(seen):,} training rows have one"
            )
        order = torch.randperm(len(seen), generator=torch.Generator().manual_seed(seed))
        kept = labels.clone()
        kept[seen[order[count:]]] = -1
        return replace(self, train=replace(self.train, labels=kept))

    def describe(self) -> str:
        """What the set is and how its values are treated; a line each for what was guessed of a file."""
        sizes = " / ".join(f"{len(split):,} {name}" for name, split in self.splits.items())
        facts = [f"{sizes} rows of {'x'.join(map(str, self.event_shape)) or 1}"]
        columns = self.train.columns or ()
        facts += [_kinds(columns)] if columns else []
        if len({column.kind for column in columns}) < 2:  # else a range of all means nothing
            facts.append(str(self.values))
        facts += _BINARIZED[self.binarize]
        if self.num_missing:
            total = sum(split.x.shape.numel() for split in self.splits.values())
            facts.append(f"{self.num_missing:,} of {total:,} values missing")
        if self.train.scale is not None:
            facts.append(
                f"{self._scaled()}standardised by the training rows' mean and standard deviation"
            )
        if self.num_classes is not None:
            facts.append(f"{self.num_classes} classes")
        if self.train.labels is not None and (self.train.labels < 0).any():
            facts.append(f"labels of {int((self.train.labels >= 0).sum()):,} training rows")
        lines = [*self.remarks, *self._on_classes()]
        if self.train.arguments is not None:
            lines = [
                f"arguments {in_words(self.train.arguments, self.train.columns or ())}",
                *lines,
            ]
        return "\n".join([f"{self.name}: {'; '.join(facts)}", *(f"  {line}" for line in lines)])

    def _on_classes(self) -> list[str]:
        """What is to be said of classes that no training row is of."""
        known = self.train.labels
        if known is None:
            return []
        held_out = [self.validation, self.test]
        others = [s.labels for s in held_out if s is not None and s.labels is not None]
        seen = {label for labels in others for label in labels.unique().tolist() if label >= 0}
        missing = sorted(seen - set(known.unique().tolist()))
        names = self.train.class_names
        words = [repr(names[label]) if names else str(label) for label in missing[:MOST_CLASSES]]
        more = f" and {len(missing) - MOST_CLASSES:,} more" if len(missing) > MOST_CLASSES else ""
        return [f"no training row is of the class {', '.join(words)}{more}"] if missing else []

    def _scaled(self) -> str:
        """The names of the columns that are standardised, if not all are."""
        scale = self.train.scale
        if self.train.columns is None or scale is None or bool((scale != 1).all()):
            return ""
        pairs = zip(self.train.columns, (scale != 1).tolist(), strict=True)
        return ", ".join(column.name for column, is_scaled in pairs if is_scaled) + " "

    def record(self) -> dict[str, Any]:
        """The facts that a run keeps, as JSON takes them; equal for equal data and treatment."""
        return {
            "name": self.name,
            "sizes": {name: len(split) for name, split in self.splits.items()},
            "event_shape": list(self.event_shape),
            "values": asdict(self.values),
            "binarize": self.binarize,
            "standardize": self.train.location is not None,
            "fingerprints": {name: split.fingerprint for name, split in self.splits.items()},
        }
