"""``pyro-vae impute``: fill in what is missing from the data of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pyro_vae.cli.output.console import note
from pyro_vae.cli.output.files import (
    ARRAYS,
    TABLE,
    add_out,
    categories_of,
    columns_of,
    in_file_order,
    is_arrays,
    out_path,
    row_keys,
    with_row_keys,
    write_arrays,
    write_table,
)
from pyro_vae.cli.run.trained import TrainedModel, open_trained, read_options, run_parser
from pyro_vae.data import Split
from pyro_vae.errors import InputError
from pyro_vae.inference.posterior.impute import Imputation, impute

DESCRIPTION = """\
Fills in the values that are missing from a run's data, by what is observed of the same row and the
model: p(x_missing | x_observed), by importance sampling. The rows are those of the file, all of them
and in its order; of a --split, with their numbers in the file, from 0. A .csv has one value in each gap,
and the class in its last column. An .npz holds the rows' numbers, the data, and of each value the
posterior mean, its standard deviation (scale), the most probable value (mode), quantiles (5, 50 and 95%)
and draws; ess is the effective sample size of each row's weights."""
EXAMPLES = (
    "pyro-vae impute runs/table --out filled.csv",
    "pyro-vae impute runs/table --split test --num_particles 10000 --out filled.npz",
)
FEW = 10  # effective draws: with fewer the figures are not to be trusted


def main(words: Sequence[str]) -> int:
    parser = run_parser("impute", DESCRIPTION, EXAMPLES, split=None)
    add = parser.add_argument
    add("--num_particles", type=int, default=1000, help="draws from the guide for each row")
    add("--num_draws", type=int, default=20, help="draws of each row's values in an .npz")
    add("--fill", type=Literal["mean", "median", "draw"], default="mean", help="a .csv's gaps with "
        "the posterior mean or median, or a draw; all but the mean are values that can be; of words, the "
        "most probable one or a draw")  # fmt: skip
    add_out(parser, "imputed.csv", (TABLE, ARRAYS))
    options = read_options(parser, words)
    path = out_path(options, (TABLE, ARRAYS))
    trained = open_trained(options)
    if trained.arguments:
        raise InputError(
            "impute fills in the gaps of a model's one x, and the run's model is given columns by name: "
            "fit a model of all columns (or of --columns), without --arguments"
        )
    of_all = options.split is None and options.data is None
    splits = list(trained.data.splits.values()) if of_all else [trained.split]
    if not any(split.num_missing for split in splits):
        raise InputError(
            f"there is nothing to fill in: no value of {options.data or trained.data.name} is missing"
        )
    if not is_arrays(path) and len(trained.data.event_shape) != 1:
        raise InputError(f"data that are no table are written as {ARRAYS}, not as {path}")
    arrays = in_file_order(
        vectorized(
            [filled(trained, split, options.num_particles, options.num_draws) for split in splits]
        )
    )
    poor = int((arrays["ess"] < FEW).sum())
    if poor:
        note(
            f"of {poor:,} rows the effective sample size is below {FEW}: more --num_particles help"
        )
    if is_arrays(path):
        write_arrays(path, arrays | categories_of(trained.split))
    else:
        write_filled(path, trained, arrays, options.fill, with_rows=options.split is not None)
    print(path)
    return 0


def write_filled(
    path: Path, trained: TrainedModel, arrays: Mapping[str, Any], fill: str, with_rows: bool
) -> None:
    """Writes a table with one value in each gap; the rows' numbers only where some rows are left out."""
    split = trained.split
    columns = columns_of(split, values_for(split, arrays, fill))
    kept = {"ids", "labels", "classes", *(["rows"] if with_rows else [])}
    known = {name: x for name, x in arrays.items() if name in kept}
    table = with_row_keys(known, columns, trained.label, split.id_name)
    write_table(path, table, header=split.column_names is not None or bool(known))


def filled(
    trained: TrainedModel, split: Split, num_particles: int, num_draws: int
) -> dict[str, Any]:
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
        **row_keys(split, torch.arange(len(split))),
        "data": data,
        "mean": in_units(found.mean),
        "scale": scale if split.scale is None else scale * split.scale,
        "mode": in_units(found.mode),
        "quantiles": in_units(found.quantiles).movedim(1, 0),
        "draws": in_units(found.draws).movedim(1, 0),
        "ess": found.ess.cpu(),
    }


def values_for(split: Split, arrays: Mapping[str, Tensor], fill: str) -> Tensor:
    """One value for each gap; of words, which have neither mean nor median, the most probable."""
    if fill == "draw":
        return arrays["draws"][:, 0]
    values = arrays["mean"] if fill == "mean" else arrays["quantiles"][:, 1]
    words = torch.tensor([not column.is_number for column in split.columns or ()])
    return torch.where(words, arrays["mode"], values) if words.any() else values


def vectorized(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The rows of all parts."""
    first = parts[0]
    return {
        name: torch.cat([part[name] for part in parts])
        if isinstance(first[name], Tensor)
        else [item for part in parts for item in part[name]]
        for name in first
    }
