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
from typing import Any, Literal

import torch
from jsonargparse import ArgumentParser, Namespace
from torch import Tensor

from pyro_vae import plots
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
from pyro_vae.inference.evidence.annealed import Annealed
from pyro_vae.inference.evidence.auto import Auto
from pyro_vae.inference.evidence.bidirectional import Bidirectional, Sandwich
from pyro_vae.inference.evidence.estimate import METHODS, Interrupted, log_evidence
from pyro_vae.inference.evidence.exact import Exact
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.method import Method
from pyro_vae.inference.evidence.plots import picture
from pyro_vae.inference.evidence.proposals import refined, wider
from pyro_vae.inference.evidence.result import Evidence

DESCRIPTION = """\
Estimates log p(x) of each held-out datum, and prints the mean in nats, with its Monte-Carlo error and
the error that sampling the data makes. Methods:

  importance     draws from the run's guide, K of them for each datum (by default 1,000)
  ais            annealed importance sampling: K chains (16) that walk from the guide to the posterior
  auto           importance sampling, and ais for the data whose weights cannot be trusted
  sandwich       ais, and an estimate from above
  bidirectional  ais, and a bound from above, on data that the model itself draws
  exact          in closed form, where the model has one

Ctrl-C prints what is known by then; the same command with --resume goes on. Under torchrun
(torchrun --nproc_per_node 2 -m pyro_vae evidence RUN) the data are shared out.

--out writes a picture, or for each datum its row in the file (from 0), log p(x) in nats, its Monte-Carlo
error, effective sample size and Pareto k, and its class."""
EXAMPLES = (
    "pyro-vae evidence runs/vae --num_particles 5000 --out evidence.png",
    "pyro-vae evidence runs/vae --out evidence.csv         a figure for each row",
    "pyro-vae evidence runs/vae --method ais --num_temperatures 500 --max_memory 2GB",
    "pyro-vae evidence runs/vae --method sandwich --split validation --json",
)
WEIGHING, ANNEALING = ("prior_share",), ("num_temperatures", "num_leapfrog", "start")
EACH = ("log_evidence", "standard_error", "ess", "pareto_k")  # what is written of each unit
UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def main(words: Sequence[str]) -> int:
    options = read_options(evidence_parser(), words)
    method = method_of(options)
    memory = None if options.max_memory is None else in_bytes(options.max_memory)
    path = None if options.out is None else out_path(options)
    options.device, code = local_device(options.device), 0
    with process_group(), redirect_stdout(sys.stderr):  # a model may print
        trained = open_trained(options)
        units = torch.arange(len(trained.split))
        try:
            found: Evidence | None = log_evidence(
                proposal(trained.program, options),
                trained.split,
                method=method,
                num_particles=options.num_particles,
                max_memory=memory,
                seed=trained.seed,
                device=trained.device,
                keep=kept_at(options),
            )
        except Interrupted as stop:
            if is_main_process():
                note(f"\ninterrupted{what_now(options, words)}")
            found, units, code = stop.evidence, stop.units, 130
    if is_main_process() and found is not None:
        show(found, units, trained, options.json, path)
    return code


def evidence_parser() -> ArgumentParser:
    parser = run_parser("evidence", DESCRIPTION, EXAMPLES)
    names = Literal[*METHODS]  # type: ignore[valid-type]
    parser.add_argument("--method", type=names, default="importance", help="one of those above")
    parser.add_argument("--num_particles", type=int | None, help="draws or chains a datum, K")
    parser.add_argument("--max_memory", type=str | None, help="to compute with, as in 2GB")
    parser.add_argument("--num_temperatures", type=int | None, help="of ais (100)")
    parser.add_argument("--num_leapfrog", type=int | None, help="of ais: gradients a step (10)")
    parser.add_argument("--start", type=str | None, help="of ais: guide (the default) or prior")
    parser.add_argument(
        "--prior_share", type=float | None, help="of importance: draws from the prior"
    )
    parser.add_argument("--widen", type=float | None, help="spread the guide by a factor")
    parser.add_argument("--refine", type=int | None, help="fit the guide to each datum, by steps")
    parser.add_argument("--json", action="store_true", help="print one JSON object, in nats")
    add_out(parser, None, what="a picture, or a figure for each row, to write")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted estimate")
    return parser


def method_of(options: Namespace) -> Method:
    """The method that the options describe.

    :raises InputError: an option that is none of the method's.
    """
    takes = {
        **dict.fromkeys(WEIGHING, ("importance", "auto")),
        **dict.fromkeys(ANNEALING, ("ais", "auto", "sandwich", "bidirectional")),
        **dict.fromkeys(("widen", "refine"), tuple(name for name in METHODS if name != "exact")),
    }
    given = {name: options[name] for name in takes if options[name] is not None}
    for name in given:
        if options.method not in takes[name]:
            raise InputError(
                f"--{name} is an option of --method {' or '.join(takes[name])}, not of {options.method}"
            )
    weighing = {name: given[name] for name in WEIGHING if name in given}
    annealing = {name: given[name] for name in ANNEALING if name in given}
    weighed, annealed = Importance(**weighing), Annealed(**annealing)
    methods: dict[str, Method] = {
        "importance": weighed,
        "ais": annealed,
        "auto": Auto(weighed, annealed),
        "sandwich": Sandwich(annealed),
        "bidirectional": Bidirectional(annealed),
        "exact": Exact(),
    }
    return methods[options.method]


def proposal(program: Any, options: Namespace) -> Any:
    """The program with the guide that the options ask for."""
    if options.refine is not None:
        program = refined(program, steps=options.refine)
    return program if options.widen is None else wider(program, options.widen)


def in_bytes(text: str) -> int:
    """
    >>> in_bytes("2GB"), in_bytes("1.5 MiB")
    (2000000000, 1572864)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]*)", text.strip().lower())
    unit = "" if found is None else found[2]
    if found is None or unit not in UNITS or float(found[1]) * UNITS[unit] < 1:
        raise InputError(f"--max_memory {text} is no size: write it as 500MB, 2GB or 2GiB")
    return int(float(found[1]) * UNITS[unit])


# --- what is kept, and what is shown ----------------------------------------------------------


def kept_path(options: Namespace) -> Path:
    of = options.split or ("test" if options.data is None else f"of_{Path(options.data).stem}")
    settings = (of, options.method, options.num_particles or "default", options.seed)
    return Path(options.run, f"evidence-{'-'.join(map(str, settings))}.part")


def kept_at(options: Namespace) -> Path | None:
    """Where finished tiles are kept; nowhere, if the run's folder cannot be written to.

    :raises InputError: an interrupted estimate is there, and nobody said that it is to go on.
    """
    folder, path = Path(options.run), kept_path(options)
    if options.resume and not path.exists() and is_main_process():
        note(f"nothing is kept of such an estimate (there is no {path}): it begins anew")
    if path.exists() and not options.resume and is_main_process():
        raise InputError(
            f"{path} holds an interrupted estimate: go on with it by --resume, or remove the file"
        )
    if os.access(folder, os.W_OK):
        return path
    note(f"{folder} cannot be written to, so nothing is kept of an interrupted estimate")
    return None


def what_now(options: Namespace, words: Sequence[str]) -> str:
    if not kept_path(options).exists():
        return " before the first part of the data was done, so nothing is kept"
    rest = [word for word in words if word != "--resume"]
    return f"; to go on: {command()} evidence {shlex.join(rest)} --resume"


def show(
    evidence: Evidence, units: Tensor, trained: TrainedModel, as_json: bool, path: Path | None
) -> None:
    of_data = trained.split.subset(units[:0] if evidence.simulated else units)
    notes = (*evidence.notes, *_whose(evidence, trained), *_units_of(trained, of_data))
    evidence = replace(evidence, notes=notes)
    if path is not None:
        write(evidence, units, trained, path)
        note(str(path))
    print(json.dumps(evidence.to_dict()) if as_json else evidence.summary())


def write(evidence: Evidence, units: Tensor, trained: TrainedModel, path: Path) -> None:
    """A picture, or what there is to know of each unit, joined to its row where units are rows."""
    are_rows = evidence.units == len(units) and evidence.unit is not None and not evidence.simulated
    known = row_keys(trained.split, units) if are_rows else {}
    arrays = known | {name: getattr(evidence, name) for name in EACH}
    if are_rows:
        arrays = in_file_order(arrays)
    if is_arrays(path):
        write_arrays(path, arrays)
    elif is_table(path):
        write_table(
            path,
            with_row_keys(
                arrays, [(n, arrays[n]) for n in EACH], trained.label, trained.split.id_name
            ),
        )
    else:
        data = trained.split.subset(units) if are_rows else None
        plots.save(picture(evidence, data, known.get("rows")), path)


def _whose(evidence: Evidence, trained: TrainedModel) -> tuple[str, ...]:
    """Says of one figure of other rows that the guide is not for these."""
    if evidence.unit is not None or evidence.simulated or trained.split is trained.data.train:
        return ()
    return (
        "the guide stands for the posterior given the training rows, whose latents they share; of other "
        "rows by themselves it is a poor proposal: --split train has the evidence that it was fitted to",
    )


def _units_of(trained: TrainedModel, data: Split) -> tuple[str, ...]:
    """Says of standardised data what their own units would make of a density."""
    scale = data.scale
    if scale is None:
        return ()
    log_scale = scale.double().log() * trained.is_observed()
    shift, whose = float(log_scale.sum()), "the figure for each datum is"
    if data.num_missing:
        shift = float((log_scale * ~data.read().isnan()).sum() / len(data))
        whose = "the figures, each of what was observed of a datum, are on average"
    return (
        "the data were standardised for the fit, and this is the density of the standardised values; "
        f"in the data's own units {whose} {abs(shift):.3f} nats "
        f"{'lower' if shift > 0 else 'higher'}",
    )
