"""``pyro-vae disentanglement``: whether each latent of a run holds one factor of its data."""

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyro_vae.cli.output.files import file_rows
from pyro_vae.cli.run.trained import TrainedModel, open_trained, read_options, run_parser
from pyro_vae.data import Column, load
from pyro_vae.errors import InputError
from pyro_vae.inference.latent_space.latents import latents
from pyro_vae.inference.posterior.guide_mean import GuideMean
from pyro_vae.metrics import Disentanglement, disentanglement
from pyro_vae.program.prior_guide import require_guide

DESCRIPTION = """\
Measure how well the latents of a run separate the factors that its data were
made from: MIG, DCI, SAP, the FactorVAE score and MCC of the guide's means, with
errors. Each is 1 for a code that is the factors. The named set `sprites`
has factors; of other data --factors names a .csv file with a line for each row
of the data's file, in its order, and a column for each factor."""
EXAMPLES = (
    "pyro-vae disentanglement runs/sprites",
    "pyro-vae disentanglement runs/mine --factors factors.csv --split train",
)


def main(words: Sequence[str]) -> int:
    """Print the scores."""
    parser = run_parser("disentanglement", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--factors", type=str | None, help="a .csv with the factors of each row of the data's file")
    add("--num_splits", type=int, default=20, help="random halves of the rows, for the errors")
    add("--json", action="store_true", help="print the scores as JSON")
    options = read_options(parser, words)
    trained = open_trained(options)
    require_guide(trained.program, "fit a model with a guide, such as VAE")
    factors, columns = factors_of(trained, options.factors)
    found = latents(
        trained.program,
        trained.split,
        method=GuideMean(),
        num_draws=1,
        num_particles=1,
        seed=trained.seed,
        device=trained.device,
    )
    scores = disentanglement(
        found.code(),
        factors,
        is_class=[column.categories is not None for column in columns],
        num_splits=options.num_splits,
        seed=trained.seed,
    )
    if options.json:
        print(json.dumps(to_dict(scores)))
        return 0
    names = ", ".join(column.name for column in columns)
    print(f"{len(found):,} rows, {found.code().shape[1]} latents, factors {names}\n\n{scores}")
    return 0


def factors_of(trained: TrainedModel, path: str | None) -> tuple[Tensor, Sequence[Column]]:
    """Return the factors of the split's rows, (N, F), and their columns.

    Raises:
        InputError: the data have none, or the file has another number of rows.
    """
    split = trained.split
    if path is not None:
        return _from_file(trained, path)
    if split.factors is None or split.factor_columns is None:
        raise InputError(
            f"nothing says which factors {trained.data.name} was made from",
            subject="--factors",
            remedy="name a .csv file with the factors of each row by --factors",
        )
    return split.factors, split.factor_columns


def _from_file(trained: TrainedModel, path: str) -> tuple[Tensor, Sequence[Column]]:
    table = load(path, standardize=False)
    parts = table.splits.values()
    places = torch.cat([file_rows(part, torch.arange(len(part))) for part in parts])
    values = torch.cat([part.read().double() for part in parts])[places.argsort()]
    rows = file_rows(trained.split, torch.arange(len(trained.split)))
    if int(rows.max()) >= len(values):
        raise InputError(
            f"{path} has {len(values):,} rows, and the data have a row {int(rows.max()):,}",
            subject="--factors",
            expected="a line for each row of the data's file, in its order",
        )
    columns = table.train.columns
    if columns is None:
        raise InputError(f"{path} is not a table", subject="--factors", expected="a .csv file")
    return values[rows], columns


def to_dict(scores: Disentanglement) -> dict[str, Any]:
    """Return the scores as JSON takes them."""
    return {
        name: {"score": score.value, "standard_error": score.standard_error}
        for name, score in scores.scores.items()
    }
