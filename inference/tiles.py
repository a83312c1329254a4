"""A data set cut into tiles of units, each with its own noise, so that memory never changes a figure."""

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from tqdm import tqdm

from pyro_vae.data import Batches, batches
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.inference.paths import Call
from pyro_vae.isolation import undisturbed
from pyro_vae.particles import draws_together
from pyro_vae.program import (
    Layout,
    Program,
    as_program,
    examine,
    num_arguments,
    run,
    sample_sites,
)

UNITS = {"cpu": 256, "cuda": 2048}  # of a tile, at most
FEW = 8  # rows that show what a program looks like
ROWS = {"cpu": 2**14, "cuda": 2**17}  # chains x units that move together


@dataclass(frozen=True)
class Tiles:
    """The calls of a program on some units each, in order."""

    rows: Batches
    few: Call  # on the first few units
    seed: int
    at_most: int  # units of a tile

    @property
    def units(self) -> int:
        """Rows of data a tile has."""
        if self.few.layout.unit is None or len(self.few.args[0]) > FEW:
            return self.rows.num_units
        return min(self.rows.num_units, self.at_most)

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
    program: Any,
    data: Any,
    unit: str | None,
    seed: int | None,
    device: str | torch.device,
    units: int | None = None,
) -> Iterator[Tiles]:
    """Opens a program on data, to be evaluated: checked, on its device, and left as it was.

    :param units: of a tile, at most; by default what a device works off well at once.
    """
    target, place = as_program(program), resolve(device)
    for module in target.modules.values():
        module.to(place)
    rows = batches(data, place, num_arguments(target.model))
    with undisturbed(target, seed), torch.no_grad():
        few, layout = first_rows(target, rows, unit)
        base = int(torch.randint(2**31, ()))
        together = draws_together(target, layout, *few)
        with pyro.validation_enabled(False):
            at_most = units or UNITS.get(place.type, UNITS["cpu"])
            yield Tiles(rows, Call(target, layout, together, few), base, at_most)


def first_rows(
    program: Program, rows: Batches, unit: str | None
) -> tuple[tuple[Tensor, ...], Layout]:
    """A few rows, and what the program looks like on them; all rows where it takes no fewer.

    That is so for a guide with parameters of its own for each datum, as AutoGuides have them.

    :raises InputError: the program does not fit the data.
    """
    try:
        return _examined(program, rows, unit, min(rows.num_units, FEW))
    except InputError:
        if rows.num_units > FEW:
            with contextlib.suppress(InputError):
                return _examined(program, rows, unit, rows.num_units)
        raise


def _examined(
    program: Program, rows: Batches, unit: str | None, count: int
) -> tuple[tuple[Tensor, ...], Layout]:
    (few,) = rows.take(torch.arange(count), count)
    layout = examine(program, *few, unit=unit)
    check_rows(layout, count)
    return few, layout


def check_guide_spreads(call: Call) -> None:
    """:raises InputError: the guide puts a latent at a single point, so no weight can be formed."""
    sites = sample_sites(run("guide", call.program.guide, call.args, {}))
    if any(site["infer"].get("is_auxiliary") for site in sites.values()):
        return  # an AutoGuide that draws elsewhere and transforms
    for name in call.layout.latents:
        if name in sites and isinstance(_base(sites[name]["fn"]), dist.Delta):
            raise InputError(
                f"the guide puts {name!r} at a single point (Delta), as AutoDelta does: that finds a "
                "mode, and proposes nothing that could be weighted into an evidence"
            )


def _base(fn: Any) -> Any:
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return fn


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
