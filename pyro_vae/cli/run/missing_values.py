"""Values that are missing from the data: whether a model reads them, and what can stand in their place."""

from typing import Any

import torch
from torch import Tensor

from pyro_vae.cli.run.config import Experiment
from pyro_vae.cli.run.folder import rows_of
from pyro_vae.data import DataSet, Split
from pyro_vae.errors import InputError
from pyro_vae.program.contract import as_program
from pyro_vae.program.examination import examine
from pyro_vae.program.isolation import as_found, undisturbed

ROWS = 256  # of each split, that a model is tried on


def check_reads_gaps(experiment: Experiment, program: Any, data: DataSet) -> None:
    """:raises InputError: values are missing, and the model needs all; it names the first one's place."""
    target, cpu = as_program(program), torch.device("cpu")
    for split in data.splits.values():
        if not split.num_missing:
            continue
        rows = with_gaps(split.read())[:ROWS]
        with undisturbed(target, experiment.options.seed), as_found(target.modules):
            try:
                examine(target, *next(rows_of(target, split, cpu, rows)))
            except InputError:
                whole = split.filled_in(data.train)
                batch = next(rows_of(target, whole, cpu, rows))
                examine(target, *batch)  # fails if that is not why
                experiment.load_data(missing=False)  # says where the first one is
                raise


def check_reads_new_gaps(
    program: Any, rows: Split, name: str, device: torch.device, seed: int
) -> None:
    """:raises InputError: values are missing from other data, and the model of a run needs all."""
    if not rows.num_missing:
        return
    target, some = as_program(program), with_gaps(rows.read())
    with undisturbed(target, seed), as_found(target.modules):
        batch = next(rows_of(target, rows, device, some[:ROWS]))
        try:
            examine(target, *batch)
        except InputError as error:
            first, columns = int(some[0]), rows.columns
            gap = rows.read(some[:1])[0].isnan().nonzero()[0].tolist()
            where = f"column {columns[gap[0]].name!r}" if columns else f"at index {tuple(gap)}"
            raise InputError(
                f"{name} has no value in row {first + 1}, {where} ({len(some):,} such rows), and the run's "
                "model needs all: leave these rows out, fill them in, or fit to data that have gaps"
            ) from error


def with_gaps(x: Tensor) -> Tensor:
    """The numbers of the rows of which something is missing."""
    return x.isnan().flatten(1).any(1).nonzero().squeeze(-1)
