"""The data as a model takes them, and checks that it can take them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import pyro_vae.models
from pyro_vae.data import DataSet, Split, batches
from pyro_vae.data.columns.arguments import order_arguments
from pyro_vae.errors import InputError
from pyro_vae.program.contract import as_program, num_arguments, signature
from pyro_vae.program.examination import examine
from pyro_vae.program.isolation import as_found, undisturbed

TRIED_ROWS = 256  # of each split, on which a model is tried


def rows_of(program: Any, split: Split, device: torch.device, index: Tensor) -> Any:
    """Yield the rows of a split numbered ``index``, as the program takes them."""
    return batches(split, device, signature(program)).take(index, len(index))


# --- by the model's class, before it is made ------------------------------------------------


def check_takes_arguments(model: type, data: DataSet) -> None:
    """Check that the model and guide of a class have the arguments of the data."""
    methods = [getattr(model, name, None) for name in ("model", "guide")]
    if data.train.arguments is None or not callable(methods[0]):
        return
    bound = [partial(m, None) if callable(m) else lambda *args: None for m in methods]
    order_arguments(data.train.arguments, signature((bound[0], bound[1])))


def takes_labels(model: type) -> bool | None:
    """Return whether a class's model takes labels, or None if its signature does not show it."""
    count = num_arguments(model.model) if hasattr(model, "model") else None  # with self
    return None if count is None else count > 2


def check_takes_labels(model: type) -> None:
    """Check that a model can use the labels that ``--labelled`` keeps."""
    if takes_labels(model) is False:
        raise InputError(
            f"--labelled keeps the labels of some rows, and {model.__name__} takes no labels",
            subject="--labelled",
            remedy="leave it out, or use SemiSupervisedVAE",
        )


def check_labels_are_known(model: type, data: DataSet) -> None:
    """Check that every row has a label, unless the model allows for unknown ones."""
    if getattr(model, "labels_may_be_unseen", True):
        return
    for name, split in data.splits.items():
        unknown = 0 if split.labels is None else int((split.labels < 0).sum())
        if unknown:
            raise InputError(
                f"{unknown:,} {name} rows of {data.name} have no label, and {model.__name__} requires all",
                subject=data.name,
                remedy="leave these rows out, or use SemiSupervisedVAE",
            )


def unbounded_density_note(model: type, data: DataSet) -> str | None:
    """Return a warning if a density of real values is to be fitted to data on levels."""
    levels, train = data.values.levels, data.train
    if levels is None and train.x.dtype == torch.uint8:  # they are standardised
        levels = round(train.encoding.unit) + 1
    if not issubclass(model, pyro_vae.models.FlowDensity) or levels is None:
        return None
    without = " (without --standardize)" if data.values.levels is None else ""
    return (
        f"x takes {levels} levels, so a density of it can grow without bound: --model DequantizedFlow "
        f"gives their probabilities{without}"
    )


# --- by running it --------------------------------------------------------------------------


def check_reads_missing(program: Any, data: DataSet, seed: int, reload: Callable[[], Any]) -> None:
    """Check that a model runs on rows with missing values, where the data have some.

    Args:
        program: the model and guide, on the CPU.
        data: the data, of which some values may be missing.
        seed: seed of the draws.
        reload: loads the data and refuses missing values: its error names the first one.

    Raises:
        InputError: values are missing, and the model requires all.
    """
    target, cpu = as_program(program), torch.device("cpu")
    for split in data.splits.values():
        if not split.num_missing:
            continue
        rows = _incomplete_rows(split.read())[:TRIED_ROWS]
        with undisturbed(target, seed), as_found(target.modules):
            try:
                examine(target, *next(rows_of(target, split, cpu, rows)))
            except InputError:
                complete = split.filled_in(data.train)
                examine(
                    target, *next(rows_of(target, complete, cpu, rows))
                )  # may be the true cause
                reload()
                raise


def check_reads_missing_in_new_rows(
    program: Any, rows: Split, name: str, device: torch.device, seed: int
) -> None:
    """Check that the model of a run can take new rows, of which some values may be missing."""
    if not rows.num_missing:
        return
    target, incomplete = as_program(program), _incomplete_rows(rows.read())
    with undisturbed(target, seed), as_found(target.modules):
        batch = next(rows_of(target, rows, device, incomplete[:TRIED_ROWS]))
        try:
            examine(target, *batch)
        except InputError as error:
            first, columns = int(incomplete[0]), rows.columns
            place = rows.read(incomplete[:1])[0].isnan().nonzero()[0].tolist()
            where = f"column {columns[place[0]].name!r}" if columns else f"at index {tuple(place)}"
            raise InputError(
                f"{name} has no value in row {first + 1}, {where} ({len(incomplete):,} such rows), and the "
                "run's model requires all values",
                subject=name,
                remedy="leave these rows out, fill them in, or fit a model to data with missing values",
            ) from error


def _incomplete_rows(x: Tensor) -> Tensor:
    """Return the numbers of the rows with a missing value."""
    return x.isnan().flatten(1).any(1).nonzero().squeeze(-1)
