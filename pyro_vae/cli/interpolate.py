"""``pyro-vae interpolate``: go from one row of the data to another through the latent space."""

from collections.abc import Sequence
from pathlib import Path

import torch

from pyro_vae import plots
from pyro_vae.cli.output.files import (
    add_out,
    is_arrays,
    is_table,
    out_path,
    write_arrays,
    write_table,
)
from pyro_vae.cli.run.rows_in_file import find_rows
from pyro_vae.cli.run.trained import open_trained, read_options, run_parser
from pyro_vae.errors import InputError, unknown
from pyro_vae.inference.latent_space.interpolate import interpolate
from pyro_vae.inference.latent_space.interpolation import Interpolation
from pyro_vae.inference.latent_space.paths import PATHS

DESCRIPTION = """\
Go from one row's latents to another's, and show what the model makes of each
step: the mean of p(x | z), log p(z), and the evidence log p(x') of data that
are drawn there. Rows have their numbers in the file, from 0. The path is
straight; spherical, about the centre of a Normal prior or on a sphere; or it
keeps to where the prior is dense. Prints a table. A picture shows images, or
the columns of a table as curves; a .csv has a line for each step, in the file's
columns and units; an .npz holds the latents, means and figures."""
EXAMPLES = (
    "pyro-vae interpolate runs/vae --from 3 --to 17 --out path.png",
    "pyro-vae interpolate runs/table --from 0 --to 9 --along spherical -o path.csv",
)


def main(words: Sequence[str]) -> int:
    """Print the steps, and write them."""
    parser = run_parser("interpolate", DESCRIPTION, EXAMPLES, split=None)
    add = parser.add_argument
    add("--from", type=int | None, metavar="I", help="the first row's number in the file, from 0")
    add("--to", type=int | None, metavar="J", help="that of the second")
    add("--along", type=str, default="straight", help=f"the path: {', '.join(PATHS)}")
    add("--num_steps", type=int, default=9, help="steps, with both ends")
    add("--evidence", type=bool, default=True, help="whether to weigh the steps")
    add("--num_draws", type=int, default=20, help="data drawn at each step for its evidence")
    add("--num_particles", type=int, default=200, metavar="K", help="draws of the guide for each")
    add_out(parser, "interpolation.png")
    options = read_options(parser, words)
    path = out_path(options)
    if options.along not in PATHS:
        raise unknown(
            f"there is no path {options.along!r}", options.along, PATHS, subject="--along"
        )
    rows = {"--from": options["from"], "--to": options["to"]}
    for option, row in rows.items():
        if row is None:
            raise InputError(
                f"{option} names no row", subject=option, remedy=f"pass {option} 0, say"
            )
    trained = open_trained(options)
    one_split = options.split is not None or options.data is not None
    split, places = find_rows(trained, rows, one_split)
    found = interpolate(
        trained.program,
        split,
        *places,
        along=PATHS[options.along](),
        num_steps=options.num_steps,
        evidence=options.evidence,
        num_draws=options.num_draws,
        num_particles=options.num_particles,
        seed=trained.seed,
        device=trained.device,
    ).renamed((rows["--from"], rows["--to"]))
    _write(path, found)  # before the table, as a reader such as head may close the pipe
    print(found)
    print(path)
    return 0


def _write(path: Path, found: Interpolation) -> None:
    if is_table(path):
        write_table(path, list(found.columns.items()))
    elif is_arrays(path):
        write_arrays(path, arrays_of(found))
    else:
        plots.save(found.plot(), path)


def arrays_of(found: Interpolation) -> dict[str, object]:
    """Return what an .npz holds."""
    figures = {
        "log_evidence": found.log_evidence,
        "standard_error": found.standard_error,
        "log_prior": found.log_prior,
    }
    means = {f"{name}_mean": mean for name, mean in found.means.items()}
    known = {name: x for name, x in figures.items() if x is not None}
    return {"rows": torch.tensor(found.rows), **found.latents, **means, **known}
