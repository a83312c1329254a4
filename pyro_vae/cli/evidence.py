"""``pyro-vae evidence``: estimate log p(x) of held-out data under a run's model."""

import json
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import torch
from jsonargparse import ArgumentParser, Namespace
from torch import Tensor

from pyro_vae import plots
from pyro_vae.cli.options.estimate import add_estimate_options, estimate_options, proposal
from pyro_vae.cli.options.method import describe_methods
from pyro_vae.cli.output.console import command, note
from pyro_vae.cli.output.files import (
    ENDINGS,
    add_out,
    in_file_order,
    is_arrays,
    is_table,
    out_path,
    row_keys,
    with_row_keys,
    write_arrays,
    write_table,
)
from pyro_vae.cli.run.torchrun import is_main_process, local_device, process_group
from pyro_vae.cli.run.trained import (
    TrainedModel,
    joint_note,
    open_trained,
    read_options,
    run_parser,
)
from pyro_vae.data import Split
from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.estimate import Interrupted, log_evidence
from pyro_vae.inference.evidence.plots import plot_evidence
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.storage import write_text

DESCRIPTION = """\
Estimate log p(x) of each held-out datum, and print the mean in nats, with its
Monte-Carlo error and the error that sampling the data makes. Methods:

{methods}

Ctrl-C prints the evidence so far; the same command with --resume continues.
Under torchrun (torchrun --nproc_per_node 2 -m pyro_vae evidence RUN) the
processes share the data.

--out writes a picture, or for each datum its row in the file (from 0), log
p(x) in nats, its Monte-Carlo error, effective sample size and Pareto k, and
its class. A .json in the run's folder (evidence.json) is shown by
`pyro-vae report`."""
EXAMPLES = (
    "pyro-vae evidence runs/vae --num_particles 5000 --out evidence.png",
    "pyro-vae evidence runs/vae --out evidence.csv         a figure for each row",
    "pyro-vae evidence runs/vae --method ais --num_temperatures 500",
    "pyro-vae evidence runs/vae --method sandwich --split validation --json",
)
FIGURES = ".json"  # the ending of a file with what --json prints
UNIT_COLUMNS = ("log_evidence", "standard_error", "ess", "pareto_k")  # of a file with a row a unit


def main(words: Sequence[str]) -> int:
    options = read_options(evidence_parser(words), words)
    estimate = estimate_options(options, words)
    path = None if options.out is None else out_path(options, (*ENDINGS, FIGURES))
    options.device, code = local_device(options.device), 0
    with process_group(), redirect_stdout(sys.stderr):  # a model may print
        trained = open_trained(options)
        units = torch.arange(len(trained.split))
        try:
            evidence: Evidence | None = log_evidence(
                proposal(trained.program, options),
                trained.split,
                **estimate,
                seed=trained.seed,
                device=trained.device,
                checkpoint=tile_store_path(options),
            )
        except Interrupted as stop:
            if is_main_process():
                note(f"\ninterrupted{how_to_resume(options, words)}")
            evidence, units, code = stop.evidence, stop.units, 130
    if is_main_process() and evidence is not None:
        show(evidence, units, trained, options.json, path)
    return code


def evidence_parser(words: Sequence[str] = ()) -> ArgumentParser:
    """Return the parser of the verb; ``words`` name the method."""
    description = DESCRIPTION.format(methods=describe_methods())
    parser = run_parser("evidence", description, EXAMPLES)
    add = parser.add_argument
    add("--json", action="store_true", help="print one JSON object, in nats")
    add_out(
        parser,
        None,
        (*ENDINGS, FIGURES),
        "a picture, a figure for each row, or what --json prints, to write",
    )
    add("--resume", action="store_true", help="continue an interrupted estimate")
    add_estimate_options(parser, words)
    return parser


# --- the files, and the output ----------------------------------------------------------------


def _part_path(options: Namespace) -> Path:
    of = options.split or ("test" if options.data is None else f"of_{Path(options.data).stem}")
    settings = (of, options.method, options.num_particles or "default", options.seed)
    return Path(options.run, f"evidence-{'-'.join(map(str, settings))}.part")


def tile_store_path(options: Namespace) -> Path | None:
    """Return the file for finished tiles; None if the run's folder is not writable.

    Raises:
        InputError: an interrupted estimate is there, and --resume is not given.
    """
    folder, path = Path(options.run), _part_path(options)
    if options.resume and not path.exists() and is_main_process():
        note(
            f"no such estimate was interrupted (there is no {path}): this one starts from the beginning"
        )
    if path.exists() and not options.resume and is_main_process():
        raise InputError(
            f"{path} holds an interrupted estimate",
            subject=str(path),
            remedy="continue it by --resume, or remove the file",
        )
    if os.access(folder, os.W_OK):
        return path
    note(f"{folder} is not writable, so an interrupted estimate cannot be resumed")
    return None


def how_to_resume(options: Namespace, words: Sequence[str]) -> str:
    """Return the end of a message on an interrupted estimate."""
    if not _part_path(options).exists():
        return " before the first part of the data was done: nothing can be resumed"
    rest = [word for word in words if word != "--resume"]
    return f"; to go on: {command()} evidence {shlex.join(rest)} --resume"


def show(
    evidence: Evidence, units: Tensor, trained: TrainedModel, as_json: bool, path: Path | None
) -> None:
    """Write the file, if there is to be one, and print the evidence."""
    data = trained.split.subset(units[:0] if evidence.simulated else units)
    notes = (*evidence.notes, *joint_note(evidence, trained), *_scale_note(trained, data))
    evidence = replace(evidence, notes=notes)
    if path is not None:
        write(evidence, units, trained, path)
        note(str(path))
    print(json.dumps(evidence.to_dict()) if as_json else evidence.summary())


def write(evidence: Evidence, units: Tensor, trained: TrainedModel, path: Path) -> None:
    """Write a picture, or the figures of each unit, joined to its row where units are rows."""
    are_rows = (
        evidence.num_units == len(units) and evidence.unit is not None and not evidence.simulated
    )
    origin = row_keys(trained.split, units) if are_rows else {}
    arrays = origin | {name: getattr(evidence, name) for name in UNIT_COLUMNS}
    if are_rows:
        arrays = in_file_order(arrays)
    if path.suffix.lower() == FIGURES:
        write_text(path, json.dumps(evidence.to_dict(), indent=1) + "\n")
    elif is_arrays(path):
        write_arrays(path, arrays)
    elif is_table(path):
        columns = [(name, arrays[name]) for name in UNIT_COLUMNS]
        write_table(path, with_row_keys(arrays, columns, trained.label, trained.split.id_name))
    else:
        data = trained.split.subset(units) if are_rows else None
        plots.save(plot_evidence(evidence, data, origin.get("rows")), path)


def _scale_note(trained: TrainedModel, data: Split) -> tuple[str, ...]:
    """Return a note on the density of standardised data in their own units."""
    scale = data.scale
    if scale is None:
        return ()
    log_scale = scale.double().log() * trained.is_observed()
    shift, figures = float(log_scale.sum()), "the figure for each datum is"
    if data.num_missing:
        shift = float((log_scale * ~data.read().isnan()).sum() / len(data))
        figures = "the figures, each of the observed values of a datum, are on average"
    return (
        "the data were standardised for the fit, and this is the density of the standardised values; "
        f"in the data's own units {figures} {abs(shift):.3f} nats "
        f"{'lower' if shift > 0 else 'higher'}",
    )
