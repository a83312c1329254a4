"""Data-dependent initialization: units of the data, and parts that start from data."""

from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae.data import Batch, Batches, OneCall, filled_in
from pyro_vae.errors import InputError, first_line
from pyro_vae.program.contract import Program
from pyro_vae.program.examination import examine
from pyro_vae.program.generators import generators_as_found
from pyro_vae.program.isolation import undisturbed
from pyro_vae.scaling import LEARNING_ROWS, Scaling, parts_to_learn

GUIDE_ROWS = 1_000  # rows that a guide reads in a call


def initialize_from_data(program: Program, train: Batches, seed: int) -> None:
    """Initialize from some rows the parts that work in the data's units or start from data.

    A part that has learnt its units before keeps them.

    Raises:
        InputError: a part can learn nothing from such data.
    """
    modules = program.modules.values()
    scaling_learners = [part for module in modules for part in parts_to_learn(module)]
    starters = [part for module in modules for part in parts_to_learn(module, "start_from")]
    if not (scaling_learners or starters) or isinstance(train, OneCall):
        return
    generator = torch.Generator().manual_seed(seed)
    index = torch.randperm(train.num_units, generator=generator)[:LEARNING_ROWS]
    with generators_as_found():
        rows = next(train.take(index, len(index)))
        for part in scaling_learners:
            try:
                part.learn_scaling(_argument_of(part, rows))
            except Exception as error:
                with undisturbed(program), torch.no_grad():
                    examine(program, *rows)  # which explains data of a wrong shape
                raise InputError(
                    f"{type(part).__name__} cannot learn units from data of shape "
                    f"{tuple(_argument_of(part, rows).shape)}: {type(error).__name__}: {first_line(error)}",
                    subject=type(part).__name__,
                ) from error
        for part in starters:
            part.start_from(_guide_inputs(part.guide, program, *rows))


def _argument_of(part: nn.Module, rows: Batch) -> Tensor:
    """Return the argument whose units a part learns: the first of floats in their shape, or the first."""
    shapes = {scaling.shape for scaling in part.modules() if isinstance(scaling, Scaling)}
    fitting = (x for x in rows if x.is_floating_point() and tuple(x.shape[1:]) in shapes)
    return next(fitting, rows[0])


def _guide_inputs(guide: Any, program: Program, x: Tensor, *rest: Tensor) -> Tensor:
    """Return what a program's guide passes to the network ``guide`` for some rows, gaps filled in."""
    x = filled_in(x, x) if x.isnan().any() else x
    inputs: list[Tensor] = []
    hook = guide.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    with hook, undisturbed(program), torch.no_grad():
        for batch in zip(*(column.split(GUIDE_ROWS) for column in (x, *rest)), strict=True):
            program.guide(*batch)
    return torch.cat(inputs) if inputs else x
