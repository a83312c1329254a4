"""A call on many rows, which shows what a few rows do not."""

from dataclasses import replace

import torch

from pyro_vae.data import Batches
from pyro_vae.device import for_device
from pyro_vae.program.bound_program import BoundProgram

MAX_BYTES = {"cpu": 2**24, "cuda": 2**28}  # of all tensors of a run on these rows


def on_many_rows(bound_program: BoundProgram, rows: Batches, run_bytes: int) -> BoundProgram:
    """Return the call on as many of the first rows as a moderate memory takes, on all if possible.

    Args:
        bound_program: on some rows, which are its units or all belong to one figure.
        rows: all of them.
        run_bytes: the tensors of a run of ``bound_program``.
    """
    at_least = len(bound_program.args[0])
    max_bytes = for_device(MAX_BYTES, rows.device)
    count = min(rows.num_units, max(at_least, max_bytes * at_least // max(1, run_bytes)))
    (args,) = rows.take(torch.arange(count), count)
    structure = bound_program.structure.resized(count)
    return replace(bound_program, args=args, structure=structure, examined=None, pair=None)
