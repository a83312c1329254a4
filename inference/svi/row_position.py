"""Whether a row's score depends on its position in the batch."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace

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
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.examination import Examination
from pyro_vae.program.float64 import in_float64

MAX_BYTES = 2**24  # of all that a run on more rows may allocate
NOISE_RUNS = 4  # that show which sites change by themselves
PERTURBATION = 0.01  # of parameters, to tell apart those that start out equal


def position_dependence(
    examined: Examination,
    args: tuple[Tensor, ...],
    train: Batches,
    parameters: Mapping[str, Tensor],
    run_bytes: int,
) -> tuple[list[str], bool]:
    """Return the sites whose score of a row depends on its position, and whether units interact.

    Units interact where one depends on another's latents.

    More rows than a batch are tried, where the program takes them: positions may differ further on alone.
    Parameters for each row may all start out equal, so they are perturbed meanwhile; and float64 shows an
    order that hardly counts yet.

    Args:
        examined: the program, run on the first rows, ``args``.
        run_bytes: what that run allocates.
    """
    call = BoundProgram(examined.program, examined.structure, False, args, by_rows=True)
    traces = Traces(examined.guide, examined.model)
    attempts: list[Callable[[], tuple[list[str], bool]]] = [
        lambda: _dependence(_on_more_rows(call, train, run_bytes), None, fine=True),
        lambda: _dependence(call, None, fine=True),
        lambda: _dependence(call, traces, fine=False),
    ]
    for attempt in attempts:
        # a program may refuse float64, or so many rows
        with suppress(InputError, RuntimeError, IndexError), _perturbed(parameters):
            return attempt()
    return attempts[-1]()  # a parameter may not be perturbed


def _dependence(call: BoundProgram, first: Traces | None, fine: bool) -> tuple[list[str], bool]:
    """Return the same for one call; ``fine`` is in float64, and an InputError where that is refused."""
    with in_float64(call) if fine else nullcontext(call) as wide:
        here = drawn(wide) if first is None else again(wide, first)
        scores = here.scores(wide.structure).values()
        if fine and any(score.dtype != torch.float64 for score in scores):
            raise InputError("the program does not compute in float64")
        positional, interact = place_matters(wide, here, fine), meet(wide, here, fine)
        if positional or interact:  # a site that noise changes shows nothing
            runs = (again(wide, here, seed=OTHERS + i) for i in range(NOISE_RUNS))
            noisy = {name for run in runs for name in moved(here, run, wide.structure, fine)}
            positional = [name for name in positional if name not in noisy]
            interact = interact and not noisy
        return positional, interact


def _on_more_rows(call: BoundProgram, train: Batches, run_bytes: int) -> BoundProgram:
    """Return the call on as many rows as a moderate memory takes, if units are rows."""
    rows = len(call.args[0])
    is_joint = call.structure.unit is None
    if rows == train.num_units or not (is_joint or call.structure.num_units == rows):
        return call
    count = max(rows, min(train.num_units, MAX_BYTES * rows // max(1, run_bytes)))
    args = next(train.take(torch.arange(count), count))
    return replace(call, args=args, structure=call.structure.resized(count), examined=None)


@contextmanager
def _perturbed(parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """Add a hundredth of noise to parameters for a while."""
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        for parameter in parameters.values():
            if parameter.is_floating_point():
                size = parameter.data.abs()  # a scale keeps its sign
                size = torch.where(size > 0, size.clamp(max=1e30), 1.0)
                noise = torch.randn_like(parameter).clamp(-9, 9)
                parameter.data.add_(PERTURBATION * noise * size)
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data.copy_(before[name])
