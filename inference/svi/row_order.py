"""Whether what a row scores in a fit depends on where in its batch it stands."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress

import torch
from torch import Tensor

from pyro_vae.data import Batches
from pyro_vae.errors import InputError
from pyro_vae.inference.checks.independence import (
    OTHERS,
    Traces,
    again,
    drawn,
    meet,
    moved,
    place_matters,
)
from pyro_vae.inference.checks.many_rows import on_many_rows
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.examination import Examination
from pyro_vae.program.float64 import in_float64

NOISE_RUNS = 4  # to see what moves by itself
MOVED = 0.01  # what parameters are moved by, to tell apart those that start out equal


def look_for_places(
    examined: Examination,
    args: tuple[Tensor, ...],
    train: Batches,
    parameters: Mapping[str, Tensor],
    run_bytes: int,
) -> tuple[list[str], bool]:
    """The sites that score a row otherwise where it stands elsewhere, and whether units meet.

    Units meet where one depends on another's latents.

    More rows than a batch are looked at, where the program takes them: places may differ further on alone.
    Parameters for each row may all start out equal, so they are moved apart while it is tried; and an order
    that hardly counts yet is seen in float64.

    :param args: the rows that were examined, of those in ``train``.
    :param parameters: to be moved a little meanwhile.
    :param run_bytes: what a run on them takes.
    """
    call = BoundProgram(examined.program, examined.structure, False, args, by_rows=True)
    seen = Traces(examined.guide, examined.model)
    ways: list[Callable[[], tuple[list[str], bool]]] = [
        lambda: _tried(_of_many(call, train, run_bytes), None, fine=True),
        lambda: _tried(call, None, fine=True),
        lambda: _tried(call, seen, fine=False),
    ]
    for way in ways:
        # as where float64, or so many rows, are not taken
        with suppress(InputError, RuntimeError, IndexError), _moved_a_little(parameters):
            return way()
    return ways[-1]()  # a parameter may not be moved


def _tried(call: BoundProgram, first: Traces | None, fine: bool) -> tuple[list[str], bool]:
    """The sites for which place matters, and whether units depend on one another's latents.

    :raises InputError: the program does not compute in float64, where it is to."""
    with in_float64(call) if fine else nullcontext(call) as wide:
        here = drawn(wide) if first is None else again(wide, first)
        scores = here.scores(wide.structure).values()
        if fine and any(score.dtype != torch.float64 for score in scores):
            raise InputError("the program does not compute in float64")
        places, units_meet = place_matters(wide, here, fine), meet(wide, here, fine)
        if places or units_meet:  # what noise moves, says nothing
            runs = (again(wide, here, seed=OTHERS + i) for i in range(NOISE_RUNS))
            noisy = {name for run in runs for name in moved(here, run, wide.structure, fine)}
            places = [name for name in places if name not in noisy]
            units_meet = units_meet and not noisy
        return places, units_meet


def _of_many(call: BoundProgram, train: Batches, run_bytes: int) -> BoundProgram:
    """The call on as many rows as a moderate memory takes, unless units are no rows."""
    rows = len(call.args[0])
    is_whole = call.structure.unit is None
    if rows == train.num_units or not (is_whole or call.structure.num_units == rows):
        return call
    return on_many_rows(call, train, run_bytes)


@contextmanager
def _moved_a_little(parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """Adds a hundredth of noise to parameters for a while."""
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        for parameter in parameters.values():
            if parameter.is_floating_point():
                size = parameter.data.abs()  # a scale keeps its sign
                size = torch.where(size > 0, size.clamp(max=1e30), 1.0)
                parameter.data.add_(MOVED * torch.randn_like(parameter).clamp(-9, 9) * size)
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data.copy_(before[name])
