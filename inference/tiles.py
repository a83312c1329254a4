"""A data set cut into tiles of units, each with its own noise, so that memory never changes a figure."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from tqdm import tqdm

from pyro_vae.data import Batches, batches
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.inference.paths import Call
from pyro_vae.isolation import undisturbed
from pyro_vae.particles import draws_together
from pyro_vae.program import Layout, as_program, examine, num_arguments

UNITS = {"cpu": 256, "cuda": 2048}  # of a tile, at most
ROWS = {"cpu": 2**14, "cuda": 2**17}  # chains x units that move together


@dataclass(frozen=True)
class Tiles:
    """The calls of a program on some units each, in order."""

    rows: Batches
    few: Call  # on the first few units
    seed: int

    @property
    def units(self) -> int:
        """Rows of data a tile has."""
        if self.few.layout.unit is None:
            return self.rows.num_units
        return min(self.rows.num_units, UNITS.get(self.rows.device.type, UNITS["cpu"]))

    @property
    def chains(self) -> int:
        """How many chains of a tile move together."""
        return max(1, ROWS.get(self.rows.device.type, ROWS["cpu"]) // self.units)

    def __iter__(self) -> Iterator[Call]:
        few = self.few
        for number, some in enumerate(torch.arange(self.rows.num_units).split(self.units)):
            pyro.set_rng_seed((self.seed + 1_000_003 * number) % 2**32)
            (batch,) = self.rows.take(some, self.units)
            yield Call(few.program, few.layout.resized(len(batch[0])), few.together, batch)


@contextmanager
def tiled(
    program: Any, data: Any, unit: str | None, seed: int | None, device: str | torch.device
) -> Iterator[Tiles]:
    """Opens a program on data, to be evaluated: checked, on its device, and left as it was."""
    target, place = as_program(program), resolve(device)
    for module in target.modules.values():
        module.to(place)
    rows = batches(data, place, num_arguments(target.model))
    with undisturbed(target, seed), torch.no_grad():
        few = next(rows.take(torch.arange(min(rows.num_units, 8)), 8))
        layout = examine(target, *few, unit=unit)
        check_rows(layout, len(few[0]))
        base = int(torch.randint(2**31, ()))
        together = draws_together(target, layout, *few)
        with pyro.validation_enabled(False):
            yield Tiles(rows, Call(target, layout, together, few), base)


def check_rows(layout: Layout, rows: int) -> None:
    """:raises InputError: the unit plate holds other units than a batch's rows."""
    if layout.unit is not None and layout.num_units != rows:
        raise InputError(
            f"plate {layout.unit!r} takes {layout.num_units} units of a batch of {rows} rows: an "
            "evidence wants every unit, so let the plate be as long as the batch, not a subsample"
        )


def joint_note(layout: Layout) -> tuple[str, ...]:
    """What is to be said where the evidence does not factorise."""
    if layout.unit is not None:
        return ()
    outside = ", ".join(map(repr, layout.outside)) or "some site"
    return (
        f"one joint figure of all data: {outside} lies outside every plate that the other sites "
        "share, so the evidence does not factorise over data",
    )


def progress_bar(total: int, progress: bool | None, unit: str = "step") -> tqdm:
    """A bar on standard error, where that is a terminal or it is asked for."""
    shown = sys.stderr.isatty() if progress is None else progress
    return tqdm(
        total=total,
        disable=not shown,
        unit=f" {unit}",
        unit_scale=True,
        delay=1,
        dynamic_ncols=True,
    )
