"""A data set in memory or on disk: its splits."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from pyro_vae.data.description import described
from pyro_vae.data.split import Split
from pyro_vae.data.values import ValueRange
from pyro_vae.errors import InputError


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
        return described(self)

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
