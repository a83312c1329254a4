"""Values that are missing from the data: whether a model reads them, and what can stand in their place."""

from typing import Any

import torch
from torch import Tensor

from pyro_vae.cli.experiment import Experiment
from pyro_vae.cli.run_folder import rows_of
from pyro_vae.data import DataSet
from pyro_vae.errors import InputError
from pyro_vae.examination import examine
from pyro_vae.isolation import as_found, undisturbed
from pyro_vae.program import as_program

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
                examine(
                    target, *next(rows_of(target, whole, cpu, rows))
                )  # fails if that is not why
                experiment.load_data(missing=False)  # says where the first one is
                raise


def with_gaps(x: Tensor) -> Tensor:
    """The numbers of the rows of which something is missing."""
    return x.isnan().flatten(1).any(1).nonzero().squeeze(-1)
