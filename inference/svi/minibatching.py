"""How a fit takes its rows: how many at a time, in which order, and how often a batch counts."""

import math
from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyro_vae.data import Batch
from pyro_vae.program.contract import Program

DEFAULT_BATCH_SIZE = 128
MAX_DEFAULT_BATCH_SIZE = 100_000  # where a batch is all rows by default


@dataclass(frozen=True)
class Minibatching:
    """Hold how a fit takes its rows.

    Attributes:
        num_rows: all rows.
        batch_size: rows a step.
        shuffle: whether each epoch has an order of its own.
        scaled_plates: the plates that hold a batch, of training or held-out rows, and stand for all rows.
        is_joint: whether figures are of all rows together, not of each.
        is_positional: whether a row's score depends on its position.
        positional_guide_sites: the guide's sites that have parameters for each row.
        notes: all of this in sentences.
    """

    num_rows: int
    batch_size: int
    shuffle: bool
    scaled_plates: frozenset[str] = frozenset()
    is_joint: bool = False
    is_positional: bool = False
    positional_guide_sites: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.num_rows / self.batch_size)

    def order(self, seed: int, epoch: int) -> Tensor:
        """Return the order of the data in an epoch, a function of (seed, epoch) alone."""
        if not self.shuffle:
            return torch.arange(self.num_rows)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        return torch.randperm(self.num_rows, generator=generator)

    def scaled(self, program: Program, batch: Batch) -> Program:
        """Return the program with the plates that hold the batch counting for all rows."""
        if not self.scaled_plates or not batch:
            return program
        factor = self.num_rows / len(batch[0])
        if factor == 1:
            return program
        model, guide = (
            ScalePlates(self.scaled_plates, factor)(part) for part in (program.model, program.guide)
        )
        return replace(program, model=model, guide=guide)


class ScalePlates(Messenger):
    """Scale the sites in some plates, as ``pyro.plate(name, size, subsample_size)`` does."""

    def __init__(self, plates: frozenset[str], factor: float) -> None:
        super().__init__()
        self.plates, self.factor = plates, factor

    def _process_message(self, msg: Any) -> None:
        if is_in_plates(msg, self.plates):
            msg["scale"] = msg["scale"] * self.factor


def is_in_plates(site: Any, plates: Container[str]) -> bool:
    """Return whether one of the plates holds a site."""
    return any(frame.name in plates for frame in site["cond_indep_stack"])
