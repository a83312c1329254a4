"""``pyro-vae parameters``: standard errors of what a run has learnt by maximum likelihood."""

from collections.abc import Sequence

from pyro_vae.cli.output.console import note
from pyro_vae.cli.output.files import TABLE, add_out, out_path, write_table
from pyro_vae.cli.run.trained import open_trained, read_options, run_parser
from pyro_vae.inference.parameters.standard_errors import standard_errors

DESCRIPTION = """\
Print the model's parameters, which the fit has learnt by maximum likelihood,
with standard errors, robust errors and 95% intervals, and AIC and BIC. The
latents are integrated out. The parameters of the guide are none of these.

--out holds the table, a line for each number: of ItemResponse the
discrimination a, the threshold d and the difficulty b = d / a of each item.
Rows are those of the training data, which the parameters were fitted to."""
EXAMPLES = (
    "pyro-vae parameters runs/answers --out items.csv",
    "pyro-vae parameters runs/vae --num_particles 4000",
)


def main(words: Sequence[str]) -> int:
    """Print the table, and write the file that the options name."""
    parser = run_parser("parameters", DESCRIPTION, EXAMPLES, split="train")
    parser.add_argument("--num_particles", type=int, default=1000, metavar="K", help="draws of each unit, "
        "where the likelihood is estimated")  # fmt: skip
    add_out(parser, None, (TABLE,), what="the file for the table")
    options = read_options(parser, words)
    path = None if options.out is None else out_path(options, (TABLE,))
    if options.split is None and options.data is None:
        options.split = "train"
    trained = open_trained(options)
    found = standard_errors(
        trained.program,
        trained.split,
        num_particles=options.num_particles,
        seed=trained.seed,
        device=trained.device,
    )
    print(found)
    if trained.split.scale is not None:
        note("the data were standardised for the fit, and so are the parameters")
    if path is not None:
        write_table(path, [("parameter", list(found.names)), *found.columns().items()])
        note(str(path))
    return 0
