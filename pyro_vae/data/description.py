"""A data set in words."""

from collections import Counter
from collections.abc import Sequence
from textwrap import shorten
from typing import TYPE_CHECKING

from torch import Tensor

from pyro_vae.data.columns.arguments import describe_arguments
from pyro_vae.data.columns.column import Column
from pyro_vae.notebook import table

if TYPE_CHECKING:
    from pyro_vae.data.data_set import DataSet
    from pyro_vae.data.split import Split

MOST_CLASSES = 5  # in one remark
MOST_COLUMNS = 30  # in a table for a notebook
_BINARIZED = {
    "none": [],
    "threshold": ["1 where the grey value is above 1/2"],
    "stochastic": ["drawn from the grey values at every pass (validation and test: once)"],
    "fixed": ["drawn once from the grey values"],
}


def _kinds(columns: Sequence[Column]) -> str:
    """Return how many columns are of each kind."""
    counts = Counter(str(column.kind) for column in columns)
    return f"columns: {', '.join(f'{count:,} {kind}' for kind, count in counts.items())}"


def describe_data_set(data: "DataSet") -> str:
    """Describe the set and its preprocessing, with a line for each guess about a file."""
    sizes = " / ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
    facts = [f"{sizes} rows of {shape_of(data.event_shape)}", *_facts(data)]
    return "\n".join([f"{data.name}: {'; '.join(facts)}", *(f"  {line}" for line in _lines(data))])


def html_of_data_set(data: "DataSet") -> str:
    """Return the same for a notebook: the splits, the facts, and the columns of a table."""
    splits = data.splits
    counts: dict[str, list[int]] = {"rows": [len(split) for split in splits.values()]}
    if data.num_missing:
        counts["missing values"] = [split.num_missing for split in splits.values()]
    if data.train.labels is not None:
        counts["labelled rows"] = [_num_labelled(split) for split in splits.values()]
    rows = [
        (name, *(f"{column[i]:,}" for column in counts.values())) for i, name in enumerate(splits)
    ]
    caption = f"{data.name}: rows of {shape_of(data.event_shape)}"
    shown = table(rows, ("split", *counts), caption, ["; ".join(_facts(data)), *_lines(data)])
    columns = data.train.columns or ()
    if not columns:
        return shown
    kinds = [
        (c.name, str(c.kind), shorten(", ".join(c.categories or ()), 60, placeholder=" ..."))
        for c in columns[:MOST_COLUMNS]
    ]
    more = len(columns) - MOST_COLUMNS
    notes = [f"and {more:,} columns more"] if more > 0 else []
    return shown + table(kinds, ("column", "kind", "categories"), notes=notes)


def shape_of(event_shape: Sequence[int]) -> str:
    """Return the shape of a row in a word: 1x8x8."""
    return "x".join(map(str, event_shape)) or "1"


def _num_labelled(split: "Split") -> int:
    return 0 if split.labels is None else int((split.labels >= 0).sum())


def _facts(data: "DataSet") -> list[str]:
    """Return facts about the values and the labels, in phrases."""
    facts: list[str] = []
    columns = data.train.columns or ()
    facts += [_kinds(columns)] if columns else []
    if len({column.kind for column in columns}) < 2:  # else a range of all means nothing
        facts.append(str(data.values))
    facts += _BINARIZED[data.binarize]
    if data.num_missing:
        total = sum(split.x.shape.numel() for split in data.splits.values())
        facts.append(f"{data.num_missing:,} of {total:,} values missing")
    facts += _scaled(data)
    if data.num_classes is not None:
        facts.append(f"{data.num_classes} classes")
    if data.train.labels is not None and (data.train.labels < 0).any():
        facts.append(f"labels of {int((data.train.labels >= 0).sum()):,} training rows")
    return facts


def _lines(data: "DataSet") -> list[str]:
    """Return a line for each guess about a file."""
    lines = [*data.remarks, *_remark_on_classes(data)]
    if data.train.arguments is not None:
        lines = [
            f"arguments {describe_arguments(data.train.arguments, data.train.columns or ())}",
            *lines,
        ]
    return lines


def _remark_on_classes(data: "DataSet") -> list[str]:
    """Return a remark on classes that have no training row."""
    known = data.train.labels
    if known is None:
        return []
    held_out = [data.validation, data.test]
    others = [s.labels for s in held_out if s is not None and s.labels is not None]
    held_out_classes = {
        label for labels in others for label in labels.unique().tolist() if label >= 0
    }
    missing = sorted(held_out_classes - set(known.unique().tolist()))
    names = data.train.class_names
    words = [repr(names[label]) if names else str(label) for label in missing[:MOST_CLASSES]]
    more = f" and {len(missing) - MOST_CLASSES:,} more" if len(missing) > MOST_CLASSES else ""
    return [f"no training row has the class {', '.join(words)}{more}"] if missing else []


def _scaled(data: "DataSet") -> list[str]:
    """Return how columns are centred or standardised, with their names unless all are."""
    location, scale = data.train.location, data.train.scale
    if location is None or scale is None:
        return []
    is_scaled, is_moved = scale != 1, (location != 0) | (scale != 1)
    sentences = (
        (is_moved & ~is_scaled, "centred at the training rows' mean"),
        (is_scaled, "standardised by the training rows' mean and standard deviation"),
    )
    return [f"{_names_of(data, which)}{what}" for which, what in sentences if which.any()]


def _names_of(data: "DataSet", which: Tensor) -> str:
    if data.train.columns is None or which.all():
        return ""
    pairs = zip(data.train.columns, which.tolist(), strict=True)
    return ", ".join(column.name for column, is_so in pairs if is_so) + " "
