"""The audit of one subject on fake CUDA tensors."""

import json
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import torch
from device_audit.fakes import FAKES
from device_audit.subjects import SUBJECTS, Run
from device_audit.watch import Watch

from pyro_vae.errors import InputError

ANSWERS = {"pyro_vae/inference/evidence/proposals.py is_rebuilt": False}  # no score moves


def audit(prepare: Callable[[], Run], in_training: bool) -> dict[str, Any]:
    """Return where a run waits, what it misplaces and its error; or why it does not apply."""
    with pyro.validation_enabled(False), torch.set_grad_enabled(in_training):
        try:
            run = prepare()
        except InputError as refusal:
            return {"refused": str(refusal)}
        error = ""
        with FAKES, Watch(ANSWERS) as watch:
            try:
                run()
            except Exception as raised:
                error = cause(raised)
    return {"waits": watch.waits, "misplaced": watch.misplaced, "error": error}


def cause(error: BaseException) -> str:
    """Return the first error of a chain, and the lines that led to it."""
    while error.__cause__ is not None:
        error = error.__cause__
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/torch/" not in f.filename]
    where = "; ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames[-5:-1])
    return f"{type(error).__name__}: {error} ({where})"


def main(group: str, names: list[str]) -> None:
    """Print the audit of a group's subjects as JSON."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    subjects, in_training = SUBJECTS[group], group not in ("weights", "annealing")
    print(json.dumps({n: audit(subjects[n], in_training) for n in names or subjects}))
