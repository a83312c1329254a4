"""A program bound to the arguments of one call, examined."""

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import pyro
from torch import Tensor

from pyro_vae.data import Batches
from pyro_vae.errors import InputError
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import Program
from pyro_vae.program.examination import Examination, examine
from pyro_vae.program.generators import rng_state, set_rng_state
from pyro_vae.program.one_datum import OneDatum
from pyro_vae.program.particles import read_particles


def bind(
    program: Program,
    unit: str | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    by_rows: bool = True,
    strict: bool = True,
    known: Examination | None = None,
) -> BoundProgram:
    """Examine a program on the arguments of a call, all of which it must score.

    Args:
        program: the model and guide.
        unit: the plate of the units, or None for the outermost that holds every site.
        args: positional arguments.
        kwargs: named arguments.
        by_rows: whether the first argument has a row for each unit.
        strict: whether the examination refuses values that a later tile may hold.
        known: the examination of another call, whose findings hold here.

    Raises:
        InputError: the program does not fit the arguments, or takes a subsample of them.
    """
    num_rows = len(args[0]) if by_rows else None
    examined = _examine(program, unit, args, kwargs, strict, known, num_rows)
    structure = examined.structure
    is_part = structure.unit is not None and not by_rows and structure.size != structure.num_units
    subsampled = (*structure.subsampled, *([structure.unit] if is_part else []))
    if subsampled:
        raise InputError(
            f"plate {subsampled[0]!r} takes a subsample, so the program does not score all data",
            subject=subsampled[0],
            remedy="leave subsample_size out, because an evidence needs all data",
        )
    return BoundProgram(examined.program, structure, False, args, kwargs, examined=examined)


def bind_rows(
    program: Program,
    rows: Batches,
    unit: str | None,
    index: Tensor,
    strict: bool = True,
    known: Examination | None = None,
) -> BoundProgram:
    """Examine a program on some rows, by number; see :func:`bind`."""
    count = len(index)
    (args,) = rows.take(index, count)
    bound_program = bind(program, unit, args, {}, strict=strict, known=known)
    if bound_program.structure.unit is None or bound_program.structure.num_units == count:
        return bound_program
    # the units are not rows: they are in all rows together, or a subsample, which is refused
    return bind(program, unit, args, {}, by_rows=False, strict=strict)


def _examine(
    program: Program,
    unit: str | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    strict: bool,
    known: Examination | None,
    num_rows: int | None,
) -> Examination:
    """Examine a program; some units, but not all, may have useless weights."""
    state = rng_state()
    options: dict[str, Any] = {"unit": unit, "known": known, "num_rows": num_rows, **kwargs}
    try:
        return examine(program, *args, strict=strict, **options)
    except OneDatum:
        raise
    except InputError:
        set_rng_state(state)
        with contextlib.suppress(Exception):  # the refusal above says more
            examined = examine(program, *args, strict=False, **options)
            if _some_weights_are_useful(examined):
                return examined
        raise


def _some_weights_are_useful(examined: Examination) -> bool:
    with pyro.validation_enabled(False):
        particles = read_particles(examined.model, examined.guide, examined.structure, 1)
    weights = particles.log_weights
    useless = weights.isnan() | (weights == -math.inf)  # by a draw at infinity, say
    return bool(useless.any() and not useless.all() and not (weights == math.inf).any())
