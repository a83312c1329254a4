"""``pyro-vae impute``: fill in what is missing from the data of a run."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pyro_vae.cli.console import note
from pyro_vae.cli.output import ARRAYS, free_path, is_arrays, write_arrays
from pyro_vae.cli.run_verb import Trained, open_trained, read_options, run_parser
from pyro_vae.data import Split
from pyro_vae.errors import InputError
from pyro_vae.files import replacing
from pyro_vae.inference.impute import Imputation, impute

DESCRIPTION = """\
Fills in the values that are missing from a run's data, by what is observed of the same row and the
model: p(x_missing | x_observed), by importance sampling. The rows are those of the file, all of them
and in its order, but for a label. A .csv has one value in each gap. An .npz holds the data, and of each
value the posterior mean, its standard deviation (scale), quantiles (5, 50 and 95%) and draws; ess is
the effective sample size of each row's weights."""
EXAMPLES = (
    "pyro-vae impute runs/table --out filled.csv",
    "pyro-vae impute runs/table --split test --num_particles 10000 --out filled.npz",
)
TABLE = ".csv"
FEW = 10  # effective draws: with fewer the figures are not to be trusted


def main(words: Sequence[str]) -> int:
    parser = run_parser("impute", DESCRIPTION, EXAMPLES, split=None)
    add = parser.add_argument
    add("--num_particles", type=int, default=1000, help="draws from the guide for each row")
    add("--num_draws", type=int, default=20, help="draws of each row's values in an .npz")
    add("--fill", type=Literal["mean", "median", "draw"], default="mean", help="a .csv's gaps with "
        "the posterior mean or median, or a draw; all but the mean are values that can be")  # fmt: skip
    add("--out", type=str, default="imputed.csv", help=f"the file to write ({TABLE}, {ARRAYS})")
    add("--overwrite", action="store_true", help="replace the file if it is there")
    options = read_options(parser, words)
    path = free_path(Path(options.out), options.overwrite, (TABLE, ARRAYS))
    trained = open_trained(options)
    splits = list(trained.data.splits.values()) if options.split is None else [trained.split]
    if not any(split.num_missing for split in splits):
        raise InputError(f"there is nothing to fill in: no value of {trained.data.name} is missing")
    if not is_arrays(path) and len(trained.data.event_shape) != 1:
        raise InputError(f"data that are no table are written as {ARRAYS}, not as {path}")
    arrays = in_order(
        [filled(trained, split, options.num_particles, options.num_draws) for split in splits],
        splits,
    )
    poor = int((arrays["ess"] < FEW).sum())
    if poor:
        note(
            f"of {poor:,} rows the effective sample size is below {FEW}: more --num_particles help"
        )
    if is_arrays(path):
        write_arrays(path, arrays)
    else:
        chosen = {
            "mean": arrays["mean"],
            "median": arrays["quantiles"][:, 1],
            "draw": arrays["draws"][:, 0],
        }
        write_table(path, trained.split.column_names, chosen[options.fill])
    print(path)
    return 0


def filled(trained: Trained, split: Split, num_particles: int, num_draws: int) -> dict[str, Tensor]:
    """What :func:`pyro_vae.impute` finds, in the data's units and with the rows first."""
    found: Imputation = impute(
        trained.program,
        split,
        num_particles=num_particles,
        num_draws=num_draws,
        seed=trained.seed,
        device=trained.device,
    )
    data = split.x[torch.arange(len(split))]
    gaps = data.isnan()

    def in_units(values: Tensor) -> Tensor:  # what was observed stays, to the last digit
        return torch.where(gaps, split.to_original(values.cpu()), data)

    scale = found.scale.cpu()
    return {
        "data": data,
        "mean": in_units(found.mean),
        "scale": scale if split.scale is None else scale * split.scale,
        "quantiles": in_units(found.quantiles).movedim(1, 0),
        "draws": in_units(found.draws).movedim(1, 0),
        "ess": found.ess.cpu(),
    }


def in_order(parts: Sequence[dict[str, Tensor]], splits: Sequence[Split]) -> dict[str, Tensor]:
    """The rows of all parts in the order of their file."""
    places = [torch.arange(len(s)) if s.places is None else s.places for s in splits]
    order = torch.cat(places).argsort()
    return {name: torch.cat([part[name] for part in parts])[order] for name in parts[0]}


def write_table(path: Path, columns: Sequence[str] | None, values: Tensor) -> None:
    """A line for each row, below one of the columns' names where they have some."""
    with replacing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if columns is not None:
            writer.writerow(columns)
        for row in values.numpy():
            writer.writerow([np.format_float_positional(value, trim="-") for value in row])
