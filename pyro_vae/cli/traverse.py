"""``pyro-vae traverse``: move one latent of a row at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pyro_vae import plots
from pyro_vae.cli.output.files import (
    add_out,
    file_rows,
    is_arrays,
    is_table,
    out_path,
    write_arrays,
    write_table,
)
from pyro_vae.cli.run.rows_in_file import find_rows
from pyro_vae.cli.run.trained import open_trained, read_options, run_parser
from pyro_vae.inference.latent_space.latents import latents
from pyro_vae.inference.latent_space.traversal import Traversal
from pyro_vae.inference.latent_space.traverse import traverse
from pyro_vae.inference.posterior.guide_mean import GuideMean
from pyro_vae.program.prior_guide import require_guide

DESCRIPTION = """\
Move one latent of a row at a time through its posterior quantiles over all
rows, and show the mean of p(x | z). With --attributes the row also moves along
directions: the mean latents of a class less the mean of all others. They come
first, then the latents that change the data most. Prints a table. A picture
shows images, or the columns of a table as curves; a .csv has a line for each
step of each move, in the file's columns and units; an .npz holds the means and
figures."""
EXAMPLES = (
    "pyro-vae traverse runs/vae --out traverse.png",
    "pyro-vae traverse runs/vae --row 12 --attributes 3 8 --out moves.csv",
)


def main(words: Sequence[str]) -> int:
    """Print the moves, and write them."""
    parser = run_parser("traverse", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--row", type=int | None, help="the row's number in the file, from 0; by default the first")
    add(
        "--sites", type=str, nargs="+", metavar="LATENT", help="the latents to move; by default all"
    )
    add("--attributes", type=str, nargs="+", metavar="CLASS", help="classes to move towards")
    add("--num_steps", type=int, default=7, help="steps of each move")
    add("--probability", type=float, default=0.9, help="between the lowest and highest quantile")
    add_out(parser, "traverse.png")
    options = read_options(parser, words)
    path = out_path(options)
    trained = open_trained(options)
    split, place = trained.split, 0
    if options.row is not None:
        one_split = options.split is not None or options.data is not None
        split, (place,) = find_rows(trained, {"--row": options.row}, one_split)
    known: dict[str, Any] = {"seed": trained.seed, "device": trained.device}
    directions = []
    if options.attributes:
        require_guide(trained.program, "leave --attributes out")
        of_rows = latents(
            trained.program, split, method=GuideMean(), num_draws=1, num_particles=1, **known
        )
        directions = [of_rows.direction(name) for name in options.attributes]
    found = traverse(
        trained.program,
        split,
        place,
        sites=options.sites,
        directions=directions,
        num_steps=options.num_steps,
        probability=options.probability,
        **known,
    ).renamed(int(file_rows(split, torch.tensor([place]))[0]))
    _write(path, found)  # before the table, as a reader such as head may close the pipe
    print(found)
    print(path)
    return 0


def _write(path: Path, found: Traversal) -> None:
    if is_table(path):
        write_table(path, list(found.columns.items()))
    elif is_arrays(path):
        means = {f"{name}_mean": mean for name, mean in found.means.items()}
        figures = {"values": found.values, "levels": found.levels, "change": found.change}
        write_arrays(path, {"moves": list(found.moves), **figures, **means})
    else:
        plots.save(found.plot(), path)
