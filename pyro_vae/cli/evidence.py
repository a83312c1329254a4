"""``pyro-vae evidence``: estimate log p(x) of held-out data under a run's model."""

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace

from pyro_vae.cli.run_verb import Trained, open_trained, read_options, run_parser
from pyro_vae.inference.estimate import log_evidence

DESCRIPTION = """\
Estimates log p(x) of each held-out datum by importance sampling with the run's guide, and prints
the mean in nats, with its Monte-Carlo error and the error that sampling the data makes."""
EXAMPLES = (
    "pyro-vae evidence runs/vae --num_particles 1000",
    "pyro-vae evidence runs/vae --num_particles 5000 --split validation --json",
)


def main(words: Sequence[str]) -> int:
    parser = run_parser("evidence", DESCRIPTION, EXAMPLES)
    parser.add_argument("--num_particles", type=int, default=1000, help="draws for each datum, K")
    parser.add_argument("--json", action="store_true", help="print one JSON object, in nats")
    options = read_options(parser, words)
    with redirect_stdout(sys.stderr):  # a model may print; standard output is for the result
        trained = open_trained(options)
        evidence = log_evidence(
            trained.program,
            trained.split,
            num_particles=options.num_particles,
            seed=trained.seed,
            device=trained.device,
        )
    evidence = replace(evidence, notes=(*evidence.notes, *_units_of(trained)))
    print(json.dumps(evidence.to_dict()) if options.json else evidence.summary())
    return 0


def _units_of(trained: Trained) -> tuple[str, ...]:
    """Says of standardised data what their own units would make of a density."""
    scale = trained.split.scale
    if scale is None:
        return ()
    shift = float(scale.double().log().sum())
    return (
        "the data were standardised for the fit, and this is the density of the standardised values; "
        f"in the data's own units the figure for each datum is {abs(shift):.3f} nats "
        f"{'lower' if shift > 0 else 'higher'}",
    )
