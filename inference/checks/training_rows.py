"""Which rows a program was fitted to, as hashes: rows to calibrate a score on must be others."""

import weakref
from typing import Any

import torch
from torch import Tensor

from pyro_vae.data import Batches
from pyro_vae.data.batching.batches import ResidentBatches
from pyro_vae.program.contract import Program

AT_ONCE = 4096  # rows
_HASHES: "weakref.WeakKeyDictionary[Any, Tensor]" = weakref.WeakKeyDictionary()


def remember_training_rows(program: Program, rows: Batches) -> None:
    """Remember the rows that a program is fitted to, 8 bytes each, as long as the program lives.

    Rows that are read from a disk on access are not remembered: that would take a pass over them.
    """
    key = _key(program)
    if key is not None and isinstance(rows, ResidentBatches):
        _HASHES[key] = hashes_of(rows).sort().values


def num_training_rows(program: Program, rows: Batches) -> int:
    """Return how many rows are training rows of the program, beyond those that equal one by chance.

    Rows that came twice in the training data, such as a table of few values has them, may be new rows.
    """
    key = _key(program)
    known = None if key is None else _HASHES.get(key)
    if known is None or not len(known):
        return 0
    place = torch.searchsorted(known, (hashes := hashes_of(rows))).clamp(max=len(known) - 1)
    matches = int((known[place] == hashes).sum())
    twice = torch.zeros(len(known), dtype=torch.bool)
    twice[1:] |= known[1:] == known[:-1]
    twice[:-1] |= known[:-1] == known[1:]
    share, count = float(twice.double().mean()), len(hashes)
    by_chance = count * share + 3 * (count * share * (1 - share)) ** 0.5
    return matches if matches > by_chance else 0


def hashes_of(rows: Batches) -> Tensor:
    """Return a hash of each row, int64."""
    parts = []
    order = torch.arange(rows.num_units)
    for batch in rows.take(order, AT_ONCE):
        total = torch.zeros(len(batch[0]), dtype=torch.int64)
        for number, column in enumerate(batch):
            flat = column.detach().cpu().reshape(len(column), -1).double().contiguous()
            bits = (flat + 0.0).view(torch.int64)  # -0 becomes 0
            generator = torch.Generator().manual_seed(number)
            odd = torch.randint(2**62, (flat.shape[1],), generator=generator) * 2 + 1
            total = total + ((bits ^ (bits >> 29)) * odd).sum(1) * (2 * number + 1)
        parts.append(total)
    return torch.cat(parts)


def _key(program: Program) -> Any:
    """Return the object that a program's parameters belong to: a module, or the model itself."""
    module = next(iter(program.modules.values()), None)
    return program.model if module is None else module
