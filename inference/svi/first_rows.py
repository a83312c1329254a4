"""What parts of a program learn from rows before a first fit: units, and where pseudo-inputs start."""

from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae.data import Batch, Batches, OneCall, filled_in
from pyro_vae.errors import InputError
from pyro_vae.program.contract import Program
from pyro_vae.program.examination import examine
from pyro_vae.program.isolation import rng_state, set_rng_state, undisturbed
from pyro_vae.program.trace import first_line
from pyro_vae.units import MAX_ROWS, Units, parts_to_learn

AT_ONCE = 1_000  # rows that a guide reads


def show_rows(program: Program, train: Batches, seed: int) -> None:
    """Shows some rows to the parts that work in the data's units or start from data, unless they have.

    :raises InputError: a part can learn nothing from such data.
    """
    modules = program.modules.values()
    units = [part for module in modules for part in parts_to_learn(module)]
    starts = [part for module in modules for part in parts_to_learn(module, "start_from")]
    if not (units or starts) or isinstance(train, OneCall):
        return
    before = rng_state()
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(train.num_units, generator=generator)[:MAX_ROWS]
    rows = next(train.take(some, len(some)))
    for part in units:
        try:
            part.learn_units(_shown_to(part, rows))
        except Exception as error:
            with undisturbed(program), torch.no_grad():
                examine(program, *rows)  # which says of data of another shape what is wrong
            raise InputError(
                f"{type(part).__name__} cannot learn units from data of shape "
                f"{tuple(_shown_to(part, rows).shape)}: {type(error).__name__}: {first_line(error)}"
            ) from error
    for part in starts:
        part.start_from(_read_by(part.guide, program, *rows))
    set_rng_state(before)


def _shown_to(part: nn.Module, rows: Batch) -> Tensor:
    """The argument that a part learns its units of: the first of numbers in their shape, or the first."""
    shapes = {units.shape for units in part.modules() if isinstance(units, Units)}
    fits = (x for x in rows if x.is_floating_point() and tuple(x.shape[1:]) in shapes)
    return next(fits, rows[0])


def _read_by(guide: Any, program: Program, x: Tensor, *rest: Tensor) -> Tensor:
    """What a program's guide hands to the network ``guide`` of some rows; their gaps are filled in."""
    x = filled_in(x, x) if x.isnan().any() else x
    read: list[Tensor] = []
    hook = guide.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    with hook, undisturbed(program), torch.no_grad():
        for batch in zip(*(column.split(AT_ONCE) for column in (x, *rest)), strict=True):
            program.guide(*batch)
    return torch.cat(read) if read else x
