"""``pyro-vae compare``: compare the models of several runs by the evidence of the same data."""

import json
import math
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from pyro_vae import plots
from pyro_vae.cli.options.columns import ALL, FURTHER, chosen, further_columns
from pyro_vae.cli.options.estimate import add_estimate_options, estimate_options, proposal
from pyro_vae.cli.options.method import describe_methods
from pyro_vae.cli.output.console import note
from pyro_vae.cli.output.files import TABLE, add_out, out_path, write_table
from pyro_vae.cli.run.names import run_names
from pyro_vae.cli.run.refits import refits
from pyro_vae.cli.run.torchrun import is_main_process, local_device, process_group
from pyro_vae.cli.run.trained import (
    TrainedModel,
    joint_note,
    open_trained,
    read_options,
    run_parser,
)
from pyro_vae.data import Split
from pyro_vae.errors import InputError, at_least, at_least_1, unknown
from pyro_vae.inference.comparison.compare import COLUMNS, candidate_of, compared, model_seed
from pyro_vae.inference.comparison.evidences import LogEvidence
from pyro_vae.inference.comparison.lineup import Candidate
from pyro_vae.inference.comparison.over_seeds import OverSeeds
from pyro_vae.inference.comparison.plot import plot_comparison
from pyro_vae.inference.comparison.result import Comparison

DESCRIPTION = """\
Compare the models of two runs or more: estimate log p(data) of the same
held-out rows under each, and print the differences in nats, Bayes factors
against the best (or --reference) and posterior probabilities. Methods:

{methods}

Runs whose observed values differ are refused: other rows, or data that were
standardised in one run only. So are probabilities beside densities.

--columns adds some of these, with commas between:
{columns}.

--seeds N fits each run anew from N seeds in all, its own and the next ones, on
the same rows (in RUN/seeds, once), and gives means with their spread: who is
better beyond the noise of fits and rows, and who is not.

--out writes the figures, a line for each run, and --plot a picture."""
EXAMPLES = (
    "pyro-vae compare runs/vae runs/fa --num_particles 5000",
    "pyro-vae compare runs/a runs/b --method ais --out bf.csv --plot bf.png",
    "pyro-vae compare runs/null runs/b --split train --joint --loo",
    "pyro-vae compare runs/vae runs/fa --columns frechet_distance,mse,parameters",
    "pyro-vae compare runs/vae runs/fa --columns all --seeds 5",
)
PICTURE = "plot"  # the option


def main(words: Sequence[str]) -> int:
    """Print the table, and write the files that the options name."""
    parser = run_parser(
        "compare",
        DESCRIPTION.format(methods=describe_methods(), columns=_listed([*FURTHER, ALL])),
        EXAMPLES,
        takes_several=True,
    )
    add = parser.add_argument
    add("--reference", type=str | None, metavar="RUN", help="the run that the others are compared "
        "with; by default the best")  # fmt: skip
    add("--joint", action="store_true", help="compare log p(all data) also where only some of the "
        "models have a figure for each row")  # fmt: skip
    add("--loo", action="store_true", help="add leave-one-out cross-validation")
    add("--num_rows", type=int | None, metavar="N", help="estimate log p(data) of so many rows, drawn "
        "at random: other columns are of all")  # fmt: skip
    add("--columns", type=str | None, metavar="NAMES", help="further columns, with commas between")
    add("--seeds", type=int | None, metavar="N", help="fit each run anew, from N seeds in all, and "
        "compare the means: who is better beyond noise")  # fmt: skip
    add("--json", action="store_true", help="print one JSON object, in nats")
    add(f"--{PICTURE}", type=str | None, help=f"a picture to write ({', '.join(plots.ENDINGS)})")
    add_out(parser, None, (TABLE,), what="the table to write")
    add_estimate_options(parser, words)
    options = read_options(parser, words)
    estimate = estimate_options(options, words)
    names = run_names(options.run)
    if len(names) < 2:
        raise InputError(
            f"there is one run, {options.run[0]}",
            subject="run",
            expected="two runs or more",
            remedy="`pyro-vae evidence` has the figures of one run",
        )
    reference = None if options.reference is None else _reference(options.reference, names)
    table = None if options.out is None else out_path(options, (TABLE,))
    picture = None if options.plot is None else out_path(options, plots.ENDINGS, PICTURE)
    chosen(options.columns)
    options.device, options.seed_of_rows = local_device(options.device), options.seed
    if options.seeds is not None:
        check_seeds(options)
        with redirect_stdout(sys.stderr):
            over, notes = _over_seeds(names, options, estimate, reference)
        for text in dict.fromkeys(notes):
            note(text)
        _show(over, options.json, table, None)
        return 0
    folders = {name: folder for folder, name in names.items()}
    columns = (*COLUMNS, *further_columns(options.columns, folders, options.loo))
    with process_group(), redirect_stdout(sys.stderr):  # a model may print
        made = [
            _candidate(name, folder, options, estimate, 1 / len(names))
            for folder, name in names.items()
        ]
        found = compared([c for c, _ in made], columns, reference, options.joint)
    if is_main_process():
        for text in dict.fromkeys(text for _, notes in made for text in notes):
            note(text)
        _show(found, options.json, table, picture)
    return 0


def _over_seeds(
    names: Mapping[str, str], options: Namespace, estimate: dict[str, Any], reference: str | None
) -> tuple[OverSeeds, tuple[str, ...]]:
    """Return the runs compared over several fits of each, and notes on their data."""
    fits = {name: refits(folder, options.seeds, options.own_code) for folder, name in names.items()}
    by_seed, notes = [], list[str]()
    for place in range(options.seeds):
        folders = {name: found[place] for name, found in fits.items()}
        own = options.clone()
        own.seed = options.seed + place
        made = [_candidate(n, f, own, estimate, 1 / len(names)) for n, f in folders.items()]
        by_seed.append(([candidate for candidate, _ in made], folders))
        notes += [text for _, texts in made for text in texts]
    totals = {c.name: 0.0 for c in by_seed[0][0]}
    for candidates, _ in by_seed:
        for candidate in candidates:
            totals[candidate.name] += candidate.total
    known = {name: total for name, total in totals.items() if not math.isnan(total)} or totals
    against = reference or max(known, key=lambda name: known[name])
    return OverSeeds(
        [
            compared(
                candidates,
                (LogEvidence(), *further_columns(options.columns, folders, options.loo)),
                against,
                options.joint,
                sort=False,
            )
            for candidates, folders in by_seed
        ]
    ), tuple(notes)


def _reference(run: str, names: dict[str, str]) -> str:
    """Return the name of the run that is named as a folder, or by its name."""
    if run in names:
        return names[run]
    if run in names.values():
        return run
    raise unknown(
        f"--reference {run} is none of the runs", run, names.values(), subject="--reference"
    )


def _candidate(
    name: str, folder: str, options: Namespace, estimate: dict[str, Any], prior: float
) -> tuple[Candidate, tuple[str, ...]]:
    """Return a run's model with its evidence, and notes on its data."""
    own = options.clone()
    own.run = folder
    trained = open_trained(own)
    program = proposal(trained.program, options)
    seed = model_seed(trained.seed, name)
    settings = {**estimate, "seed": seed, "device": trained.device}
    rows = _weighed(trained, options)
    found = candidate_of(name, None, (program, rows), settings, prior)
    found = replace(found, data=trained.split)
    joint = () if found.lacks else joint_note(found.evidence, trained)
    return found, (*joint, *_scale_note(trained), *_rows_note(rows, trained.split))


def _weighed(trained: TrainedModel, options: Namespace) -> Split:
    """Return the rows whose evidence is estimated, the same of each model and each fit."""
    number = options.num_rows
    if number is None or at_least_1("--num_rows", number) >= len(trained.split):
        return trained.split
    chosen = replace(trained, seed=options.seed_of_rows).random_rows(number)
    return trained.split.subset(chosen.sort().values)


def _rows_note(weighed: Split, rows: Split) -> tuple[str, ...]:
    if len(weighed) == len(rows):
        return ()
    return (
        f"log p(data) is that of {len(weighed):,} of the {len(rows):,} rows, drawn at random; the other "
        "columns are of all",
    )


def _scale_note(trained: TrainedModel) -> tuple[str, ...]:
    if trained.split.scale is None:
        return ()
    return (
        "the data were standardised for the fit, and the densities are those of the standardised values; "
        "differences and Bayes factors are the same in the data's own units",
    )


def _listed(names: Iterable[str]) -> str:
    return textwrap.fill(", ".join(names), 72)


def check_seeds(options: Namespace) -> None:
    """Check that the runs can be fitted anew as the options say.

    Raises:
        InputError: there is one seed, or a picture is asked for.
    """
    at_least(2, "--seeds", options.seeds)
    if options.plot is not None:
        raise InputError(
            "there is no picture over seeds", subject="--plot", remedy="leave --plot or --seeds out"
        )


def _show(
    found: Comparison | OverSeeds, as_json: bool, table: Path | None, picture: Path | None
) -> None:
    if table is not None:
        frame = found.to_frame()
        write_table(table, [("model", list(frame.index)), *((n, list(frame[n])) for n in frame)])
        note(str(table))
    if picture is not None and isinstance(found, Comparison):
        plots.save(plot_comparison(found), picture)
        note(str(picture))
    print(json.dumps(found.to_dict()) if as_json else str(found))
