"""Data cut into tiles of units, each with its own noise, so that memory never changes a figure."""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoGuide
from torch import Tensor
from tqdm import tqdm

from pyro_vae.data import Batches, batches
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.inference.call import Call
from pyro_vae.inference.onednn import linear_by_onednn
from pyro_vae.isolation import as_found, undisturbed
from pyro_vae.layout import examine
from pyro_vae.particles import draws_together, score_model
from pyro_vae.program import Program, as_program, num_arguments

UNITS = {"cpu": 64, "cuda": 2048}  # of a tile, where nobody says
FEW = 8  # rows that show what a program looks like


@dataclass(frozen=True)
class Tiles:
    """The calls of a program on some units each.

    ``few`` is the call on the first few units, or the only one, where the program cannot be cut: it was
    given arguments as they are, its evidence is joint, or its guide has parameters for each datum.
    """

    few: Call
    seed: int
    rows: Batches | None
    index: Sequence[Tensor]  # the numbers of each tile's rows

    @property
    def units(self) -> int:
        """Of all tiles together."""
        return sum(map(len, self.index))

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[Call]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Call:
        """One tile's call; the generators are set to where its noise begins."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        pyro.set_rng_seed((self.seed + 1_000_003 * number) % 2**32)
        few, index = self.few, self.index[number]
        if self.rows is None or not few.by_rows:
            return few
        try:
            call = _of_rows(few.program, self.rows, few.layout.unit, index, strict=False)
        except InputError as error:
            raise InputError(f"rows {int(index[0]):,} to {int(index[-1]):,}: {error}") from error
        return replace(call, together=few.together, by_rows=True)


@contextmanager
def tiled(
    program: Any,
    data: Any = None,
    unit: str | None = None,
    seed: int | None = None,
    device: str | torch.device = "auto",
    units: Mapping[str, int] = UNITS,
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> Iterator[Tiles]:
    """Opens a program on data, to be evaluated: checked, on its device, and left as it was.

    :param units: of a tile, at most, by kind of device.
    :param args: with ``kwargs``, what to call the program with, once, in place of data.
    """
    target = as_program(program)
    if (data is None) == (args is None and kwargs is None):
        raise InputError(
            "give either data, or args and kwargs to call the program with as they are"
        )
    rows = None if data is None else _rows(target, data, device)
    with undisturbed(target, seed), as_found(target.modules), torch.no_grad(), linear_by_onednn():
        if rows is None:
            few = _call(target, unit, args or (), kwargs or {}, by_rows=False)
        else:
            few = first_rows(target, rows, unit)
        base = int(torch.randint(2**31, ()))
        index: Sequence[Tensor] = [torch.arange(few.layout.num_units)]
        if rows is not None and few.by_rows:
            at_most = units.get(rows.device.type, units["cpu"])
            index = torch.arange(rows.num_units).tensor_split(-(-rows.num_units // at_most))
        with pyro.validation_enabled(False):
            together = draws_together(target, few.layout, *few.args, **few.kwargs)
            few = replace(few, together=together)
            check_units_are_apart(few)
            yield Tiles(few, base, rows, index)


def _rows(program: Program, data: Any, device: str | torch.device) -> Batches:
    place = resolve(device)
    for module in program.modules.values():
        module.to(place)
    return batches(data, place, num_arguments(program.model))


def _call(
    program: Program,
    unit: str | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    by_rows: bool = True,
    strict: bool = True,
) -> Call:
    layout = examine(program, *args, unit=unit, strict=strict, **kwargs)
    by_name = layout.unit is not None and not by_rows and layout.size != layout.num_units
    subsampled = (*layout.subsampled, *([layout.unit] if by_name else []))
    if subsampled:
        raise InputError(
            f"plate {subsampled[0]!r} takes a subsample, so what is scored is not the data: an "
            "evidence wants all of them, so leave subsample_size out"
        )
    return Call(program, layout, False, args, kwargs)


def first_rows(program: Program, rows: Batches, unit: str | None) -> Call:
    """The call on a few rows; on all of them, where the program takes no fewer.

    :raises InputError: the program does not fit the data.
    """
    everything = torch.arange(rows.num_units)
    count = rows.num_units if _is_yet_to_be_set_up(program) else min(rows.num_units, FEW)
    try:
        few = _of_rows(program, rows, unit, everything[:count])
    except InputError:
        if count == rows.num_units:
            raise
        with contextlib.suppress(InputError):
            return _of_rows(program, rows, unit, everything)
        raise
    if few.layout.unit is None:
        return few if count == rows.num_units else _of_rows(program, rows, unit, everything)
    return replace(few, by_rows=count < rows.num_units)


def _is_yet_to_be_set_up(program: Program) -> bool:
    """Whether a guide takes its parameters' shapes from the first data that it sees."""
    parts = (part for module in program.modules.values() for part in module.modules())
    return any(isinstance(part, AutoGuide) and part.prototype_trace is None for part in parts)


def check_units_are_apart(call: Call) -> None:
    """Refuses a model in which a datum's density depends on the other data of its batch.

    Of a batch, the second half is replaced by the first, and that one scored at the same latents.
    """
    units = call.layout.num_units
    if not call.by_rows or units < 2:
        return
    half = units // 2
    args = tuple(torch.cat([rows[:half], rows[: units - half]]) for rows in call.args)
    other = replace(
        _call(call.program, call.layout.unit, args, {}, strict=False), together=call.together
    )
    latents = call.guide(1)
    again = other.guide(1, lambda guide: poutine.replay(guide, latents))
    pairs = ((call, latents), (other, again))
    scores = [score_model(one.joint(1, trace), one.layout, 1) for one, trace in pairs]
    before, after = ((likelihood + prior)[0, :half] for likelihood, prior in scores)
    if not torch.allclose(before, after, rtol=1e-5, atol=1e-4, equal_nan=True):
        raise InputError(
            "the model's density of a datum depends on the other data of its batch (by up to "
            f"{float((before - after).abs().max()):.3g} nats, when these change), so there is no log p(x) "
            f"of a unit of plate {call.layout.unit!r}: leave statistics of the batch out of the model"
        )


def _of_rows(
    program: Program, rows: Batches, unit: str | None, index: Tensor, strict: bool = True
) -> Call:
    count = len(index)
    (args,) = rows.take(index, count)
    call = _call(program, unit, args, {}, strict=strict)
    layout = call.layout
    if layout.unit is not None and layout.num_units != count:
        raise InputError(
            f"plate {layout.unit!r} takes {layout.num_units} units of a batch of {count} rows: an "
            "evidence wants every unit, so let the plate be as long as the batch, not a subsample"
        )
    return call


def progress_bar(total: float, progress: bool | None, unit: str = "unit") -> tqdm:
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
