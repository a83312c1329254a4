"""``pyro-vae evidence``: estimate log p(x) of held-out data under a run's model."""

import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace
from torch import Tensor

from pyro_vae import plots
from pyro_vae.cli.options.method import (
    add_method_options,
    check_method_takes,
    describe_methods,
    describe_particles,
    method_of,
)
from pyro_vae.cli.output.console import command, note
from pyro_vae.cli.output.files import (
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
from pyro_vae.cli.run.trained import TrainedModel, open_trained, read_options, run_parser
from pyro_vae.data import Split
from pyro_vae.errors import InputError
from pyro_vae.inference.compiling.inductor import Compile
from pyro_vae.inference.evidence.estimate import Interrupted, log_evidence
from pyro_vae.inference.evidence.methods import METHODS, as_method
from pyro_vae.inference.evidence.plots import plot_evidence
from pyro_vae.inference.evidence.proposals import refined, wider
from pyro_vae.inference.evidence.result import Evidence

DESCRIPTION = """\
Estimate log p(x) of each held-out datum, and print the mean in nats, with its
Monte-Carlo error and the error that sampling the data makes. Methods:

{methods}

Ctrl-C prints the evidence so far; the same command with --resume continues.
Under torchrun (torchrun --nproc_per_node 2 -m pyro_vae evidence RUN) the
processes share the data.

--out writes a picture, or for each datum its row in the file (from 0), log
p(x) in nats, its Monte-Carlo error, effective sample size and Pareto k, and
its class."""
EXAMPLES = (
    "pyro-vae evidence runs/vae --num_particles 5000 --out evidence.png",
    "pyro-vae evidence runs/vae --out evidence.csv         a figure for each row",
    "pyro-vae evidence runs/vae --method ais --num_temperatures 500",
    "pyro-vae evidence runs/vae --method sandwich --split validation --json",
)
UNIT_COLUMNS = ("log_evidence", "standard_error", "ess", "pareto_k")  # of a file with a row a unit
BYTES = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def main(words: Sequence[str]) -> int:
    options = read_options(evidence_parser(words), words)
    as_method(options.method)  # one that there is
    method = method_of(options, words)
    check_proposal_options(options)
    memory = None if options.max_memory is None else in_bytes(options.max_memory)
    path = None if options.out is None else out_path(options)
    options.device, code = local_device(options.device), 0
    with process_group(), redirect_stdout(sys.stderr):  # a model may print
        trained = open_trained(options)
        units = torch.arange(len(trained.split))
        try:
            evidence: Evidence | None = log_evidence(
                proposal(trained.program, options),
                trained.split,
                method=method,
                num_particles=options.num_particles,
                max_memory=memory,
                compile=options.compile,
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
    add("--num_particles", type=int | None, metavar="K", help="draws or chains for each datum; "
        f"by default {describe_particles()}")  # fmt: skip
    add("--max_memory", type=str | None, metavar="SIZE", help="memory to compute with, such as 2GB")
    add("--compile", type=Compile, default="auto", help="compile draws, weights and gradients")
    add("--widen", type=float | None, help="spread the guide about its mean by this factor")
    add("--refine", type=int | None, help="fit the guide to each datum, by so many steps")
    add("--json", action="store_true", help="print one JSON object, in nats")
    add_out(parser, None, what="a picture, or a figure for each row, to write")
    add("--resume", action="store_true", help="continue an interrupted estimate")
    add_method_options(parser, words)
    return parser


def check_proposal_options(options: Namespace) -> None:
    """Raise InputError where a proposal is asked for, but the method draws nothing."""
    estimating = [name for name, method in METHODS.items() if not method.is_exact]
    for name in ("widen", "refine"):
        if options[name] is not None:
            check_method_takes(name, options.method, estimating)


def proposal(program: Any, options: Namespace) -> Any:
    """Return the program with the guide that the options ask for."""
    if options.refine is not None:
        program = refined(program, steps=options.refine)
    return program if options.widen is None else wider(program, options.widen)


def in_bytes(text: str) -> int:
    """Return a size of memory in bytes.

    >>> in_bytes("2GB"), in_bytes("1.5 MiB")
    (2000000000, 1572864)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]*)", text.strip().lower())
    size = 0.0 if match is None else float(match[1]) * BYTES.get(match[2], 0)
    if size < 1:
        raise InputError(
            f"--max_memory is {text}",
            subject="--max_memory",
            expected="a size such as 500MB, 2GB or 2GiB",
        )
    return int(size)


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
    notes = (*evidence.notes, *_joint_note(evidence, trained), *_scale_note(trained, data))
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
    if is_arrays(path):
        write_arrays(path, arrays)
    elif is_table(path):
        columns = [(name, arrays[name]) for name in UNIT_COLUMNS]
        write_table(path, with_row_keys(arrays, columns, trained.label, trained.split.id_name))
    else:
        data = trained.split.subset(units) if are_rows else None
        plots.save(plot_evidence(evidence, data, origin.get("rows")), path)


def _joint_note(evidence: Evidence, trained: TrainedModel) -> tuple[str, ...]:
    """Return a note on a joint figure of rows that the guide was not fitted to."""
    if evidence.unit is not None or evidence.simulated or trained.split is trained.data.train:
        return ()
    return (
        "the guide approximates the posterior given the training rows, which share the latents; for other "
        "rows alone it is a poor proposal: --split train has the evidence that it was fitted to",
    )


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
