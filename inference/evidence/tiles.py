"""Data cut into tiles of units, each with its own noise, so that memory never changes a figure."""

import contextlib
import inspect
import math
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyro
import torch
from pyro.infer.autoguide import AutoGuide
from torch import Tensor
from tqdm import tqdm

from pyro_vae.data import Batches, batches
from pyro_vae.device import resolve
from pyro_vae.errors import InputError, report_user_errors
from pyro_vae.inference.checks.independence import check_data_are_independent, coupled
from pyro_vae.inference.checks.noise import noise
from pyro_vae.inference.checks.row_order import place_matters
from pyro_vae.inference.checks.spread import check_every_value_is_drawn
from pyro_vae.inference.compiling.onednn import linear_by_onednn
from pyro_vae.inference.evidence.importance import Allocated
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import Program, as_program, signature
from pyro_vae.program.examination import Examination, examine
from pyro_vae.program.isolation import (
    as_found,
    modules_of,
    rng_state,
    seed_all,
    set_rng_state,
    undisturbed,
)
from pyro_vae.program.one_datum import OneDatum
from pyro_vae.program.param_store import forget
from pyro_vae.program.particles import read_particles, score_model
from pyro_vae.program.probe import PROBE_SEED, examined_traces
from pyro_vae.program.trace import drawn_sites
from pyro_vae.program.vectorization import with_fastest_chains

UNITS = {"cpu": 64, "cuda": 2048}  # of a tile, where nobody says
MANY_BYTES = {"cpu": 2**24, "cuda": 2**28}  # of all that is computed to see whether places matter
FIRST_ROWS = 8  # rows that show what a program looks like


@dataclass(frozen=True)
class Tiles:
    """The calls of a program on some units each.

    ``example`` is the call on the first few units, or the only one, where the program cannot be cut: it was
    given arguments as they are, its evidence is joint, or its guide has parameters for each datum.
    """

    example: BoundProgram
    seed: int
    rows: Batches | None
    index: Sequence[Tensor]  # the numbers of each tile's rows
    found: as_found  # the program as it was found, for calls of other sizes
    why_whole: str = ""  # why all rows are one tile, if there is more to say than the layout does
    notes: tuple[str, ...] = ()  # what else there is to be said of the program

    @property
    def units(self) -> int:
        """Of all tiles together."""
        return sum(map(len, self.index))

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[BoundProgram]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> BoundProgram:
        """One tile's call; the generators are set to where its noise begins."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        seed_all((self.seed + 1_000_003 * number) % 2**32)
        example, index = self.example, self.index[number]
        if self.rows is None or not example.by_rows:
            return example
        if len(index) != example.structure.num_units:
            self.found.restore()  # what a guide keeps of a call may be of its size
        try:
            unit, known = example.structure.unit, example.examined
            call = _of_rows(example.program, self.rows, unit, index, strict=False, known=known)
        except InputError as error:
            raise error.at(f"rows {int(index[0]):,} to {int(index[-1]):,}") from error
        return replace(
            example,
            structure=call.structure,
            args=call.args,
            examined=call.examined,
            pair=None,
            program=call.program,
        )


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
    rows, given, named = None, tuple[Any, ...](), dict[str, Any]()
    if data is not None and args is None and kwargs is None:
        rows = _rows(target, data, device)
    else:
        given, named = call_arguments(data, args, kwargs)
        if named.keys() & inspect.signature(examine).parameters.keys():  # a name that is taken
            model, guide = (partial(f, **named) for f in (target.model, target.guide))
            target, named = replace(target, model=model, guide=guide), {}
    found = as_found(target.modules, target.model, target.guide)
    with undisturbed(target, seed), found, torch.no_grad(), linear_by_onednn():
        with report_user_errors():
            if rows is None:
                example = _call(target, unit, given, named, by_rows=False)
            else:
                example = first_rows(target, rows, unit, found)
            base = int(torch.randint(2**31, ()))
            example, why, notes = _looked_at(example, rows, unit, found)
        with pyro.validation_enabled(False):
            index: Sequence[Tensor] = [torch.arange(example.structure.num_units)]
            if rows is not None and example.by_rows:
                at_most = units.get(rows.device.type, units["cpu"])
                index = torch.arange(rows.num_units).tensor_split(-(-rows.num_units // at_most))
            yield Tiles(example, base, rows, index, found, why, notes)


def _looked_at(
    example: BoundProgram, rows: Batches | None, unit: str | None, found: as_found
) -> tuple[BoundProgram, str, tuple[str, ...]]:
    """The call as it is to be worked off, why all rows are one tile, and what else is to be said."""
    with pyro.validation_enabled(False):
        check_every_value_is_drawn(examined_traces(example))
        example = with_fastest_chains(replace(example, noise=noise(example)))
        why = ""
        if example.noise is None:  # else nothing can be told by running it again
            example, why = _settled(example, rows, unit, found)
        return example, why, _notes(example)


def call_arguments(data: Any, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the one call that stands in place of data.

    :raises InputError: there are data, too, or nothing at all; they are not a tuple and a mapping, or
        hold no data.
    """
    if data is not None or (args is None and kwargs is None):
        raise InputError(
            "give either data, or args and kwargs to call the program with as they are (args=() where it "
            "takes none)"
        )
    if args is not None and not isinstance(args, tuple | list):
        raise InputError(
            f"args must be a tuple of the program's arguments, not {type(args).__name__}: args=(x,)"
        )
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise InputError(
            f"kwargs must be a mapping of names to arguments, not {type(kwargs).__name__}: "
            'kwargs={"x": x}'
        )
    args, kwargs = tuple(args or ()), dict(kwargs or {})
    tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
    if tensors and not any(tensor.numel() for tensor in tensors):
        raise InputError(f"the data hold no values: their shape is {tuple(tensors[0].shape)}")
    return args, kwargs


def _rows(program: Program, data: Any, device: str | torch.device) -> Batches:
    for tensor in data if isinstance(data, tuple) else (data,):
        if isinstance(tensor, Tensor) and tensor.layout != torch.strided:
            raise InputError(f"the data are a {tensor.layout} tensor: pass data.to_dense()")
    place = resolve(device)
    for module in program.modules.values():
        module.to(place)
    return batches(data, place, signature(program))


def _call(
    program: Program,
    unit: str | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    by_rows: bool = True,
    strict: bool = True,
    known: Examination | None = None,
) -> BoundProgram:
    num_rows = len(args[0]) if by_rows else None
    examined = _examined(program, unit, args, kwargs, strict, known, num_rows)
    structure = examined.structure
    by_name = structure.unit is not None and not by_rows and structure.size != structure.num_units
    subsampled = (*structure.subsampled, *([structure.unit] if by_name else []))
    if subsampled:
        raise InputError(
            f"plate {subsampled[0]!r} takes a subsample, so what is scored is not the data: an "
            "evidence wants all of them, so leave subsample_size out"
        )
    return BoundProgram(examined.program, structure, False, args, kwargs, examined=examined)


def _examined(
    program: Program,
    unit: str | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    strict: bool,
    known: Examination | None,
    num_rows: int | None,
) -> Examination:
    """What :func:`examine` says; but NaN in some units are their affair, wherever in the data these are."""
    state = rng_state()
    try:
        return examine(
            program, *args, unit=unit, strict=strict, known=known, num_rows=num_rows, **kwargs
        )
    except OneDatum:
        raise
    except InputError:
        set_rng_state(state)
        with contextlib.suppress(Exception):  # the refusal says it better
            examined = examine(
                program, *args, unit=unit, strict=False, known=known, num_rows=num_rows, **kwargs
            )
            with pyro.validation_enabled(False):
                structure = examined.structure
                weights = read_particles(examined.model, examined.guide, structure, 1).log_weights
            useless = weights.isnan() | (weights == -math.inf)  # by a draw at infinity, say
            if useless.any() and not useless.all() and not (weights == math.inf).any():
                return examined
        raise


def first_rows(program: Program, rows: Batches, unit: str | None, found: as_found) -> BoundProgram:
    """The call on a few rows; on all of them, where the program takes no fewer.

    :param found: the program as it was found, to which it is brought back before another number of rows.
    :raises InputError: the program does not fit the data.
    """
    everything, before = torch.arange(rows.num_units), set(pyro.get_param_store().keys())
    count = rows.num_units if is_yet_to_be_set_up(program) else min(rows.num_units, FIRST_ROWS)
    try:
        example = _of_rows(program, rows, unit, everything[:count])
    except InputError as error:
        if count == rows.num_units:
            raise
        found.restore()
        try:
            return _of_rows(program, rows, unit, everything)
        except OneDatum:
            raise
        except InputError:  # the few rows' refusal says it better
            raise error from error.__cause__
    if 1 < count < rows.num_units and _makes_parameters_of_rows(program, rows, unit, before):
        found.restore()
        return _of_rows(program, rows, unit, everything)
    are_rows = example.structure.unit is not None and example.structure.num_units == count
    if not are_rows and count < rows.num_units:
        found.restore()
        return _of_rows(program, rows, unit, everything)
    return replace(example, by_rows=are_rows and count < rows.num_units)


def _makes_parameters_of_rows(
    program: Program, rows: Batches, unit: str | None, before: Collection[str]
) -> bool:
    """Whether a parameter that the store did not hold ``before`` has been made as long as the few rows.

    A run on one row less tells; what was made goes, if so.
    """
    store = pyro.get_param_store()

    def made() -> dict[str, torch.Size]:
        named = store.named_parameters()
        return {name: value.shape for name, value in named if name not in before}

    shapes, held = made(), store.get_state()
    if not any(FIRST_ROWS in shape for shape in shapes.values()):
        return False
    forget(shapes)
    _of_rows(program, rows, unit, torch.arange(FIRST_ROWS - 1))
    changes = made() != shapes
    forget(shapes)
    if not changes:
        store.set_state(held)
    return changes


def is_yet_to_be_set_up(program: Program) -> bool:
    """Whether a guide takes its parameters' shapes from the first data that it sees."""
    parts = modules_of(program)
    return any(isinstance(part, AutoGuide) and part.prototype_trace is None for part in parts)


def _settled(
    example: BoundProgram, rows: Batches | None, unit: str | None, found: as_found
) -> tuple[BoundProgram, str]:
    """The call on a few units, where the data can be cut into units; else that on all; and why."""
    if coupled(example):
        plate = example.structure.unit
        if unit is not None:
            raise InputError(
                f"the density of a unit of plate {unit!r} depends on the latents of other units, in model "
                "or guide, so there is no evidence of each: leave `unit` out for one joint figure of all"
            )
        whole = _whole(example, rows, found)
        return replace(whole, structure=whole.structure.joined(), examined=None, pair=None), (
            f"one joint figure of all data: the density of a unit of plate {plate!r} depends on the "
            "latents of other units, in model or guide, so the evidence does not factorise over them"
        )
    if rows is None or not example.by_rows:
        return example, ""
    if check_data_are_independent(example):
        try:
            if not place_matters(_many(example, rows, found)):
                return example, ""
        except InputError:  # of rows further on, which their tile will name
            return example, ""
    return _whole(example, rows, found), (
        "what a row says depends on its place among the data, as where a model indexes something of its "
        f"own by the plate's indices: all {rows.num_units:,} rows were taken in one piece, in their order. "
        "Pass what is indexed as a second tensor of the data to have them taken in tiles"
    )


def _notes(example: BoundProgram) -> tuple[str, ...]:
    examined = example.examined.notes if example.examined else ()
    return (*examined, *unmoved(example))


UNMOVED = (
    "no latent of the guide moves the likelihood: log p(x) here is that of the observed sites as they are, "
    "whatever the latents. Where that is not meant (a model that integrates its latents itself, as "
    "contrib.gp's VariationalGP does), the figure is no evidence of that model"
)


def unmoved(example: BoundProgram) -> tuple[str, ...]:
    """A note where two draws of the guide give the data one likelihood."""
    structure, examined = example.structure, example.examined
    latents = [name for name in structure.latents if name not in structure.enumerated]
    if not latents or not structure.observed or examined is None or structure.enumerated:
        return ()
    seed_all(PROBE_SEED)
    other = example.pair.particles(structure) if example.pair else example.draw(1)
    changed = all(
        name in other.latents and bool((other.latents[name][0] != site["value"]).all())
        for name, site in drawn_sites(examined.guide).items()
        if name in latents
    )
    first = score_model(examined.model, structure, 1)[0]
    finite = first.isfinite() & (first != 0)  # an indicator of what the latent rules out says 0
    same = first == other.log_likelihood[:1]
    return (UNMOVED,) if changed and bool(finite.any()) and bool(same[finite].all()) else ()


def _whole(example: BoundProgram, rows: Batches | None, found: as_found) -> BoundProgram:
    if rows is None or not example.by_rows:
        return example
    everything = torch.arange(rows.num_units)
    found.restore()
    whole = _of_rows(example.program, rows, example.structure.unit, everything, strict=False)
    return with_fastest_chains(whole)


def _many(example: BoundProgram, rows: Batches, found: as_found) -> BoundProgram:
    """The call on as many rows as a moderate memory takes, all if possible."""
    with Allocated() as allocated:
        example.draw(1)
    most = MANY_BYTES.get(rows.device.type, MANY_BYTES["cpu"]) * example.structure.num_units
    count = min(rows.num_units, max(example.structure.num_units, most // max(1, allocated.bytes)))
    (args,) = rows.take(torch.arange(count), count)
    if count != example.structure.num_units:
        found.restore()
    structure = example.structure.resized(count)
    return replace(example, args=args, structure=structure, examined=None, pair=None)


def _of_rows(
    program: Program,
    rows: Batches,
    unit: str | None,
    index: Tensor,
    strict: bool = True,
    known: Examination | None = None,
) -> BoundProgram:
    count = len(index)
    (args,) = rows.take(index, count)
    call = _call(program, unit, args, {}, strict=strict, known=known)
    if call.structure.unit is None or call.structure.num_units == count:
        return call
    # units that are no rows: of all rows, or of a subsample, which is refused
    return _call(program, unit, args, {}, by_rows=False, strict=strict)


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
