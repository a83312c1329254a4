"""``pyro-vae report``: a run, or several side by side, as one HTML page."""

from collections.abc import Sequence

from pyro_vae.cli.options.parser import new_parser, parse, take_options
from pyro_vae.cli.output.files import add_out, out_path
from pyro_vae.cli.run.trained import OWN_CODE, check_has_run
from pyro_vae.cli.run.trust import CLASS_OPTIONS
from pyro_vae.reports.report import ENDING, write_report

DESCRIPTION = """\
Write a report on a run, or on several side by side, as one HTML file that
loads nothing and needs no script: what was fitted to what, learning curve,
plate diagram, samples, reconstructions, evidence, notes of the fit, versions,
and the command that repeats the fit.

It shows the evidence that lies in the run's folder, written by
`pyro-vae evidence RUN --out RUN/evidence.json`. --evidence estimates it from a
few draws, and compares several runs on the same data."""
EXAMPLES = (
    "pyro-vae report runs/vae --out report.html",
    "pyro-vae report runs/vae runs/flow --evidence --out report.html",
)


def main(words: Sequence[str]) -> int:
    """Write the page."""
    own_code, words = take_options(words, lambda name: name[2:].split(".")[0] in CLASS_OPTIONS)
    parser = new_parser("report", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("run", type=str, nargs="*", help="the folders of the runs")
    add(
        "--evidence",
        action="store_true",
        help="estimate the evidence of the runs, and compare them",
    )
    add("--seed", type=int, default=0, help="seed of all draws")
    add("--device", type=str, default="auto", help="cpu, cuda, cuda:1, ...")
    parser.add_argument_group("your own code", OWN_CODE)
    add_out(parser, f"report{ENDING}", (ENDING,))
    options = parse(parser, words)
    check_has_run(parser, options)
    path = out_path(options, (ENDING,))
    own = frozenset(name for _, name in own_code)
    write_report(options.run, path, own, options.evidence, options.seed, options.device)
    print(path)
    return 0
