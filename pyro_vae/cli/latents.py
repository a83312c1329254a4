"""``pyro-vae latents``: where each row of a run's data lies in the latent space."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyro_vae.cli.impute import concatenated
from pyro_vae.cli.options.method import add_method_options, describe_methods, method_of
from pyro_vae.cli.output.files import (
    ARRAYS,
    TABLE,
    add_out,
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
from pyro_vae.inference.evidence.draws import DrawsPosterior
from pyro_vae.inference.latent_space.latents import latents
from pyro_vae.inference.latent_space.of_rows import Latents
from pyro_vae.inference.posterior.methods import POSTERIOR_METHODS, as_posterior_method

DESCRIPTION = """\
Write the posterior mean, standard deviation and draws of each row's latents,
for all rows of the file in its order, or those of a --split. Methods:

{methods}

A .csv has a line for each row: its number in the file (from 0), its id, mean
and sd of each latent, the draws, the effective sample size and Pareto k of the
weights, and its class. An .npz holds arrays with the rows first: by latent z
"z_mean", "z_sd", "z_draws" (rows, draws, ...), of classes "k_probabilities"."""
EXAMPLES = (
    "pyro-vae latents runs/vae --out latents.csv",
    "pyro-vae latents runs/vae --split test --num_draws 100 --out latents.npz",
    "pyro-vae latents runs/answers --method ais --split train --out persons.csv",
)


def main(words: Sequence[str]) -> int:
    """Write a table or arrays of latents."""
    description = DESCRIPTION.format(methods=describe_methods(POSTERIOR_METHODS))
    parser = run_parser("latents", description, EXAMPLES, split=None)
    add = parser.add_argument
    add("--num_draws", type=int, default=1, help="draws to write of each row")
    add(
        "--num_particles",
        type=int,
        default=1000,
        metavar="K",
        help="draws that the figures come from",
    )
    add_out(parser, "latents.csv", (TABLE, ARRAYS))
    add_method_options(parser, words, POSTERIOR_METHODS)
    options = read_options(parser, words)
    path = out_path(options, (TABLE, ARRAYS))
    as_posterior_method(options.method)  # one that there is
    method = method_of(options, words, POSTERIOR_METHODS)
    trained = open_trained(options)
    of_all = options.split is None and options.data is None
    splits = list(trained.data.splits.values()) if of_all else [trained.split]
    sizes = options.num_draws, options.num_particles
    found = [of_split(trained, split, method, *sizes) for split in splits]
    _write(path, trained, found, splits)
    print(path)
    return 0


def of_split(
    trained: TrainedModel, split: Split, method: DrawsPosterior, num_draws: int, num_particles: int
) -> Latents:
    """Return the latents of a split's rows."""
    return latents(
        trained.program,
        split,
        method=method,
        num_draws=num_draws,
        num_particles=num_particles,
        seed=trained.seed,
        device=trained.device,
    )


def _write(
    path: Path, trained: TrainedModel, found: Sequence[Latents], splits: Sequence[Split]
) -> None:
    content = arrays if is_arrays(path) else columns
    parts = [
        {**row_keys(split, torch.arange(len(split))), **content(one)}
        for split, one in zip(splits, found, strict=True)
    ]
    whole = in_file_order(concatenated(parts))
    if is_arrays(path):
        write_arrays(path, whole)
        return
    table = [(name, whole[name]) for name in columns(found[0])]
    write_table(path, with_row_keys(whole, table, trained.label, trained.split.id_name))


def columns(found: Latents) -> dict[str, Tensor]:
    """Return the figures and draws of each row by heading."""
    return {**found.columns, **found.drawn_columns}


def arrays(found: Latents) -> Mapping[str, Any]:
    """Return the same as arrays, with the rows first."""
    return {
        **{f"{name}_mean": x for name, x in found.mean.items()},
        **{f"{name}_sd": x for name, x in found.sd.items()},
        **{f"{name}_draws": x.movedim(1, 0) for name, x in found.draws.items()},
        **{f"{name}_probabilities": x for name, x in found.probabilities.items()},
        "ess": found.ess,
        "pareto_k": found.pareto_k,
    }
