"""``pyro-vae score``: which rows of the data a run's model finds strange."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace

from pyro_vae import plots
from pyro_vae.cli.output.console import note
from pyro_vae.cli.output.files import (
    TABLE,
    add_out,
    in_file_order,
    out_path,
    row_keys,
    with_row_keys,
    write_table,
)
from pyro_vae.cli.run.folder import open_run
from pyro_vae.cli.run.trained import TrainedModel, open_trained, read_options, run_parser
from pyro_vae.data import BlankDataSet, Split
from pyro_vae.errors import InputError, unknown
from pyro_vae.inference.checks.training_rows import remember_training_rows
from pyro_vae.inference.evidence.methods import METHODS
from pyro_vae.inference.scoring.background import Background
from pyro_vae.inference.scoring.common_draws import rows_of
from pyro_vae.inference.scoring.dose import DoSE
from pyro_vae.inference.scoring.input_complexity import InputComplexity
from pyro_vae.inference.scoring.plot import plot_scores, plot_strangest
from pyro_vae.inference.scoring.reconstruction import Reconstruction
from pyro_vae.inference.scoring.regret import Regret
from pyro_vae.inference.scoring.result import Scores
from pyro_vae.inference.scoring.score import score
from pyro_vae.inference.scoring.surprise import Surprise
from pyro_vae.inference.scoring.typicality import Typicality
from pyro_vae.program.contract import as_program

SCORES: dict[str, Any] = {
    "surprise": Surprise,
    "regret": Regret,
    "typicality": Typicality,
    "dose": DoSE,
    "complexity": InputComplexity,
    "reconstruction": Reconstruction,
}
BACKGROUND = "background"
DESCRIPTION = """\
Score rows by how strange the model of a run finds them, and print the
strangest. Scores, by which larger is stranger:

  surprise        -log p(x), by the evidence
  regret          what the ELBO gains where the guide is fitted to the row
  typicality      how far log p(x) is from that of normal rows, on either side
  dose            how unusual rate, distortion and log p(x) are
  complexity      surprise less what a compressor needs for the row
  background      log p0(x) - log p(x), with p0 the run of --background
  reconstruction  -E log p(x | z), for comparison

P-values are against normal rows that the run was not fitted to: by default the
test rows for --data, else the validation rows. --out has a line for each row,
with its score, p, q and the part of each column; --plot is a picture of all
scores, --strangest one of the strangest rows."""
EXAMPLES = (
    "pyro-vae score runs/table --data new.csv --out scores.csv --plot scores.png",
    "pyro-vae score runs/vae --by regret --reference validation",
    "pyro-vae score runs/vae --data odd.npz --reference good.npz",
)


def main(words: Sequence[str]) -> int:
    """Print the strangest rows, and write the files that the options name."""
    options = read_options(score_parser(), words)
    table = None if options.out is None else out_path(options, (TABLE,))
    picture = None if options.plot is None else out_path(options, plots.ENDINGS, "plot")
    rows = None if options.strangest is None else out_path(options, plots.ENDINGS, "strangest")
    by = _score_named(options)
    if options.method is not None and options.method not in METHODS:
        raise unknown(
            f"there is no method {options.method!r}", options.method, METHODS, subject="--method"
        )
    trained = open_trained(options)
    found = score(
        trained.program,
        trained.split,
        by=by,
        reference=_reference(trained, options),
        false_alarms=options.false_alarms,
        method=options.method,
        num_particles=options.num_particles,
        seed=trained.seed,
        device=trained.device,
    )
    if table is not None:
        write_scores(table, found, trained)
        note(str(table))
    if picture is not None:
        plots.save(plot_scores(found), picture)
        note(str(picture))
    if rows is not None:
        data = trained.split.x[torch.arange(len(trained.split))]
        plots.save(plot_strangest(found, data), rows)
        note(str(rows))
    print(json.dumps(found.to_dict()) if options.json else found.summary())
    return 0


def score_parser() -> ArgumentParser:
    """Return the parser of the verb."""
    parser = run_parser("score", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    names = f"{{{','.join([*SCORES, BACKGROUND])}}}"
    add("--by", type=str, default="surprise", metavar=names, help="see above")
    add("--background", type=str | None, metavar="RUN", help="the run of p0, on the same data")
    add("--reference", type=str | None, metavar="ROWS", help="normal rows: validation, test, or a "
        "file; none for no p-values")  # fmt: skip
    add("--false_alarms", type=float, default=0.05, help="share of normal rows to flag")
    add("--method", type=str | None, help="of the evidence; by default exact where it is known, else "
        "importance")  # fmt: skip
    add("--num_particles", type=int | None, metavar="K", help="draws for each row")
    add("--json", action="store_true", help="print one JSON object")
    add("--plot", type=str | None, help=f"a picture of all scores ({', '.join(plots.ENDINGS)})")
    add("--strangest", type=str | None, help="a picture of the strangest rows")
    add_out(parser, None, (TABLE,), what="the table to write")
    return parser


def _score_named(options: Namespace) -> Any:
    """Return the score that the options name."""
    if options.by == BACKGROUND or options.background is not None:
        if options.background is None or options.by not in (BACKGROUND, "surprise"):
            raise InputError(
                "--by background compares with a second run",
                subject="--background",
                remedy="name its folder, as in --by background --background runs/other",
            )
        other = options.clone()
        other.run, other.data, other.split = options.background, None, None
        return Background(open_trained(other, rows_required=False).program)
    if options.by not in SCORES:
        raise unknown(
            f"there is no score {options.by!r}", options.by, [*SCORES, BACKGROUND], subject="--by"
        )
    return SCORES[options.by]()


def _reference(trained: TrainedModel, options: Namespace) -> Any:
    """Return the normal rows to compare with, or None."""
    named = options.reference
    if named == "none":
        return None
    splits = _own_splits(trained, options)
    if "train" in splits:
        program = as_program(trained.program)
        remember_training_rows(program, rows_of(program, splits["train"], "cpu"))
    if named is None:
        names = ("test", "validation") if options.data is not None else ("validation",)
        held_out = [splits[n] for n in names if n in splits and splits[n] is not trained.split]
        if not held_out:
            note(
                "there are no held-out rows to compare with, so no p-values; --reference names some"
            )
        return held_out[0] if held_out else None
    if named == "train":
        raise InputError(
            "the model finds its training rows less strange than new ones, so they calibrate no p-value",
            subject="--reference",
            expected="validation, test, or a file of other normal rows",
        )
    if named in ("validation", "test"):
        if named not in splits:
            raise unknown(f"the run has no {named} rows", named, splits, subject="--reference")
        if splits[named] is trained.split:
            raise InputError(
                f"the {named} rows are those to be scored",
                subject="--reference",
                remedy="name other normal rows, or score others by --split or --data",
            )
        return splits[named]
    other = options.clone()
    other.data, other.split = named, None
    return open_trained(other).split


def _own_splits(trained: TrainedModel, options: Namespace) -> dict[str, Split]:
    """Return the splits of the run's own data; none if the data are gone."""
    if not isinstance(trained.data, BlankDataSet):
        return trained.data.splits
    try:
        return open_run(options.run, options.own_code).load_data().splits
    except InputError as error:
        note(f"continuing without the run's data: {error}")
        return {}


def write_scores(path: Path, found: Scores, trained: TrainedModel) -> None:
    """Write a line for each row: its keys in the file, the figures, and the shares."""
    index = torch.arange(len(found))
    frame = found.to_frame()
    figures = {name: torch.from_numpy(frame[name].to_numpy(copy=True)) for name in frame}
    arrays = in_file_order(row_keys(trained.split, index) | figures)
    columns = [(name, arrays[name]) for name in figures]
    write_table(path, with_row_keys(arrays, columns, trained.label, trained.split.id_name))
