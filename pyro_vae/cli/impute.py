"""``pyro-vae impute``: fill in the missing values of a run's data."""

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
from pyro_vae.inference.posterior.impute import Imputation
from pyro_vae.inference.posterior.posterior import posterior
from pyro_vae.program.prior_guide import require_guide

DESCRIPTION = """\
Fill in the missing values of a run's data from the observed values of the same
row and the model: p(x_missing | x_observed), by importance sampling. The rows
are those of the file, all of them and in its order; of a --split, with their
numbers in the file, from 0. A .csv has one value in each gap, and the class in
its last column. An .npz holds the rows' numbers, the data, and of each value
the posterior mean, its standard deviation (scale), the most probable value
(mode), quantiles (5, 50 and 95%) and draws; ess is the effective sample size
of each row's weights."""
EXAMPLES = (
    "pyro-vae impute runs/table --out filled.csv",
    "pyro-vae impute runs/table --split test --num_particles 10000 --out filled.npz",
)
MIN_ESS = 10  # of figures that can be trusted


def main(words: Sequence[str]) -> int:
    parser = run_parser("impute", DESCRIPTION, EXAMPLES, split=None)
    add = parser.add_argument
    add("--num_particles", type=int, default=1000, help="draws from the guide for each row")
    add("--num_draws", type=int, default=20, help="draws of each row's values in an .npz")
    add("--fill", type=Literal["mean", "median", "draw"], default="mean", help="a .csv's gaps with "
        "the posterior mean, median or a draw; words with the most probable one or a draw")  # fmt: skip
    add_out(parser, "imputed.csv", (TABLE, ARRAYS))
    options = read_options(parser, words)
    path = out_path(options, (TABLE, ARRAYS))
    trained = open_trained(options)
    require_guide(trained.program, "fit a model with a guide to fill in gaps, such as VAE")
    if trained.arguments:
        raise InputError(
            "impute fills in the gaps of a model's one x, and the run's model takes columns by name",
            subject="--arguments",
            remedy="fit a model of all columns (or of --columns), without --arguments",
        )
    of_all = options.split is None and options.data is None
    splits = list(trained.data.splits.values()) if of_all else [trained.split]
    if not any(split.num_missing for split in splits):
        name = options.data or trained.data.name
        raise InputError(f"no value of {name} is missing: nothing to fill in", subject=str(name))
    if not is_arrays(path) and len(trained.data.event_shape) != 1:
        raise InputError(
            f"{path} cannot hold data that are not a table", subject=str(path), expected=f"{ARRAYS}"
        )
    parts = [filled(trained, split, options.num_particles, options.num_draws) for split in splits]
    arrays = in_file_order(concatenated(parts))
    num_poor = int((arrays["ess"] < MIN_ESS).sum())
    if num_poor:
        note(
            f"of {num_poor:,} rows the effective sample size is below {MIN_ESS}: more --num_particles help"
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
    """Write a table with one value in each gap; with the rows' numbers only if it lacks some rows."""
    split = trained.split
    columns = columns_of(split, values_for(split, arrays, fill))
    names = {"ids", "labels", "classes", *(["rows"] if with_rows else [])}
    origin = {name: x for name, x in arrays.items() if name in names}
    joined = with_row_keys(origin, columns, trained.label, split.id_name)
    write_table(path, joined, header=split.column_names is not None or bool(origin))


def filled(
    trained: TrainedModel, split: Split, num_particles: int, num_draws: int
) -> dict[str, Any]:
    """Return the imputation in the data's units, with the rows first."""
    found = posterior(
        trained.program,
        split,
        num_particles=num_particles,
        num_draws=num_draws,
        seed=trained.seed,
        device=trained.device,
    )
    imputation: Imputation = found.impute(seed=trained.seed)
    data = split.x[torch.arange(len(split))]
    gaps = data.isnan()

    def in_units(values: Tensor) -> Tensor:  # observed values stay, to the last digit
        return torch.where(gaps, split.to_original(values.cpu()), data)

    scale = imputation.scale.cpu()
    return {
        **row_keys(split, torch.arange(len(split))),
        "data": data,
        "mean": in_units(imputation.mean),
        "scale": scale if split.scale is None else scale * split.scale,
        "mode": in_units(imputation.mode),
        "quantiles": in_units(imputation.quantiles).movedim(1, 0),
        "draws": in_units(imputation.draws).movedim(1, 0),
        "ess": imputation.ess.cpu(),
    }


def values_for(split: Split, arrays: Mapping[str, Tensor], fill: str) -> Tensor:
    """Return one value for each gap; of words, which have neither mean nor median, the most probable."""
    if fill == "draw":
        return arrays["draws"][:, 0]
    values = arrays["mean"] if fill == "mean" else arrays["quantiles"][:, 1]
    words = torch.tensor([not column.is_number for column in split.columns or ()])
    return torch.where(words, arrays["mode"], values) if words.any() else values


def concatenated(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the rows of all parts."""
    first = parts[0]
    return {
        name: torch.cat([part[name] for part in parts])
        if isinstance(first[name], Tensor)
        else [item for part in parts for item in part[name]]
        for name in first
    }
