"""``pyro-vae posterior``: draw the latents of a run's data, and write them for ArviZ."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pyro_vae.cli.options.method import add_method_options, describe_methods, method_of
from pyro_vae.cli.output.console import note
from pyro_vae.cli.output.files import (
    TABLE,
    add_out,
    file_rows,
    in_file_order,
    out_path,
    row_keys,
    with_row_keys,
    write_table,
)
from pyro_vae.cli.run.trained import TrainedModel, open_trained, read_options, run_parser
from pyro_vae.inference.posterior.methods import POSTERIOR_METHODS, as_posterior_method
from pyro_vae.inference.posterior.posterior import posterior
from pyro_vae.inference.posterior.result import Posterior
from pyro_vae.program.site_layout import labels

DESCRIPTION = """\
Draw the latents given the data: of each row, or of all rows together where they
share latents. Prints mean, sd, 94% interval, Monte-Carlo error, effective
sample size and Pareto k. Methods:

{methods}

--out holds the draws, predictions, the log-likelihood and the data for ArviZ.
--csv holds the figures: a line for each row of the file (numbered from 0), or,
where rows share latents, a line for each number. Rows are those of the
training data, which a guide for shared latents was fitted to."""
EXAMPLES = (
    "pyro-vae posterior runs/vae --out posterior.nc",
    "pyro-vae posterior runs/answers --method ais --csv persons.csv",
    "pyro-vae posterior runs/answers --method nuts --num_chains 2 --num_warmup 200",
    "pyro-vae posterior runs/vae --split test --num_draws 4000 --out posterior.nc",
)
NETCDF = ".nc"
OF_UNITS = ("mean", "sd", "hdi_3%", "hdi_97%", "mcse")  # of each latent in a .csv of rows


def main(words: Sequence[str]) -> int:
    """Print the table, and write the files that the options name."""
    description = DESCRIPTION.format(methods=describe_methods(POSTERIOR_METHODS))
    parser = run_parser("posterior", description, EXAMPLES, split="train")
    add = parser.add_argument
    add("--num_draws", type=int, default=1000, help="draws of the latents")
    add("--num_particles", type=int | None, metavar="K", help="weighted draws that they are taken "
        "from; by default as many, or four times as many where rows share latents")  # fmt: skip
    add("--csv", type=str | None, help=f"the file for the figures ({TABLE})")
    add_out(parser, None, (NETCDF,), what="the file for the draws")
    add_method_options(parser, words, POSTERIOR_METHODS)
    options = read_options(parser, words)
    path = None if options.out is None else out_path(options, (NETCDF,))
    table = None if options.csv is None else out_path(options, (TABLE,), "csv")
    as_posterior_method(options.method)  # one that there is
    method = method_of(options, words, POSTERIOR_METHODS)
    if options.split is None and options.data is None:
        options.split = "train"
    trained = open_trained(options)
    found = posterior(
        trained.program,
        trained.split,
        method=method,
        num_draws=options.num_draws,
        num_particles=options.num_particles,
        seed=trained.seed,
        device=trained.device,
    )
    print(found.summary())
    if path is not None:
        found.to_netcdf(path, coords=_coords(found, trained), seed=trained.seed)
        note(str(path))
        if trained.split.scale is not None:
            note("the data were standardised for the fit, and the file has them so")
    if table is not None:
        write_figures(table, found, trained)
        note(str(table))
    return 0


def _coords(found: Posterior, trained: TrainedModel) -> dict[str, Any]:
    """Return the numbers of the rows in the file, where units are rows."""
    if not are_rows(found, trained):
        return {}
    index = torch.arange(len(trained.split))
    return {str(found.unit): file_rows(trained.split, index).numpy()}


def are_rows(found: Posterior, trained: TrainedModel) -> bool:
    """Return whether the units of a posterior are the rows of the data."""
    return found.unit is not None and found.log_weights.shape[1] == len(trained.split)


def write_figures(path: Path, found: Posterior, trained: TrainedModel) -> None:
    """Write the figures of each row, with its keys; of a joint posterior those of each number."""
    summary = found.summary()
    if not are_rows(found, trained):
        columns = [(name, list(values)) for name, values in summary.columns.items()]
        write_table(path, [("latent", list(summary.rows)), *columns])
        return
    index = torch.arange(len(trained.split))
    figures: dict[str, torch.Tensor] = {}
    for name in found.particles:
        of_site = found.summary([name])
        per_row = len(of_site.rows) // len(index)
        axis = found.layouts[name].axis(found.unit) or 1
        shape = list(found.particles[name].shape[1:])
        inner = found.layouts[name].within_unit(shape, found.unit)
        headings = _headings(name, inner, per_row)
        for heading in OF_UNITS:
            whole = torch.tensor(of_site.columns[heading]).double()
            # the places of a site's numbers, with the unit's moved to the front
            extra = per_row // max(1, torch.Size(inner).numel())
            grid = whole.reshape(*shape, extra).movedim(axis - 1, 0).reshape(len(index), per_row)
            figures |= {
                f"{label} {heading}": column for label, column in zip(headings, grid.T, strict=True)
            }
    figures |= {"ess": found.ess, "k": found.pareto_k}
    arrays = in_file_order(row_keys(trained.split, index) | figures)
    columns = [(name, arrays[name]) for name in figures]
    write_table(path, with_row_keys(arrays, columns, trained.label, trained.split.id_name))


def _headings(name: str, inner: Sequence[int], per_row: int) -> list[str]:
    """Return a heading for each number that a row has of a latent."""
    names = labels(name, inner)
    classes = per_row // len(names)
    return names if classes == 1 else [f"{x} = {k}" for x in names for k in range(classes)]
