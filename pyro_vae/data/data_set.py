"""A data set: its splits, and how they were read."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from pyro_vae.data.description import describe_data_set, html_of_data_set
from pyro_vae.data.split import Split
from pyro_vae.data.values import ValueRange
from pyro_vae.errors import InputError


@dataclass(frozen=True, eq=False)
class DataSet:
    """Hold disjoint training, validation (or None) and test rows of one form."""

    name: str
    train: Split
    validation: Split | None
    test: Split
    binarize: str = "none"
    remarks: tuple[str, ...] = ()  # how a file was read, where another way is possible
    pixels: bool | None = None  # whether whole numbers are grey levels; None without arrays

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one row: (C, H, W) for images, (columns,) for tables."""
        return self.train.event_shape

    @property
    def values(self) -> ValueRange:
        """The range of the values that a model sees."""
        return self.train.values

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that have rows, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}

    @property
    def num_missing(self) -> int:
        """The number of missing values in all splits."""
        return sum(split.num_missing for split in self.splits.values())

    @property
    def num_classes(self) -> int | None:
        """The number of classes, None without labels."""
        if self.train.class_names is not None:
            return len(self.train.class_names)
        labels = [split.labels for split in self.splits.values() if split.labels is not None]
        return max(int(part.max()) for part in labels) + 1 if labels else None

    def with_labels_of(self, count: int, seed: int = 0) -> "DataSet":
        """Return the set with ``count`` labels of the training rows, drawn at random; the others become -1.

        Raises:
            InputError: there are no labels, or fewer.
        """
        labels = self.train.labels
        if labels is None:
            raise InputError(
                f"{self.name} has no labels, so {count} of them cannot be kept",
                subject="labels",
                remedy="name the labels by --label (label=)",
            )
        labelled = (labels >= 0).nonzero().squeeze(-1)
        if not 0 <= count <= len(labelled):
            raise InputError(
                f"labels of {count:,} rows are asked for, but {len(labelled):,} training rows have one",
                subject="labels",
                expected=f"a number from 0 to {len(labelled)}",
            )
        order = torch.randperm(len(labelled), generator=torch.Generator().manual_seed(seed))
        kept = labels.clone()
        kept[labelled[order[count:]]] = -1
        return replace(self, train=replace(self.train, labels=kept))

    def describe(self) -> str:
        """Describe the set and its preprocessing, with a line for each guess about a file."""
        return describe_data_set(self)

    def __repr__(self) -> str:
        return f"DataSet({self.describe().splitlines()[0]})"

    def _repr_html_(self) -> str:
        return html_of_data_set(self)

    def record(self) -> dict[str, Any]:
        """Return what a run records, for JSON; equal for equal data and preprocessing."""
        return {
            "name": self.name,
            "sizes": {name: len(split) for name, split in self.splits.items()},
            "event_shape": list(self.event_shape),
            "values": asdict(self.values),
            "binarize": self.binarize,
            "standardize": self.train.location is not None,
            "fingerprints": {name: split.fingerprint for name, split in self.splits.items()},
        }
