"""The example: a program on the first few rows of its data."""

from collections.abc import Collection
from dataclasses import replace

import pyro
import torch

from pyro_vae.data import Batches
from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.binding import bind_rows
from pyro_vae.program.autoguide import has_unset_autoguide
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import Program
from pyro_vae.program.isolation import as_found
from pyro_vae.program.one_datum import OneDatum
from pyro_vae.program.param_store import forget

EXAMPLE_ROWS = 8


def bind_example(
    program: Program, rows: Batches, unit: str | None, initial: as_found
) -> BoundProgram:
    """Bind a program to a few rows; to all of them, where it takes no fewer.

    Args:
        program: the model and guide.
        rows: all data.
        unit: the plate of the units, or None for the outermost that holds every site.
        initial: the program's state before any call, restored before a call of another size.

    Raises:
        InputError: the program does not fit the data.
    """
    all_rows, params_before = torch.arange(rows.num_units), set(pyro.get_param_store().keys())
    count = rows.num_units if has_unset_autoguide(program) else min(rows.num_units, EXAMPLE_ROWS)

    def bind_all() -> BoundProgram:
        initial.restore()
        return bind_rows(program, rows, unit, all_rows)

    try:
        example = bind_rows(program, rows, unit, all_rows[:count])
    except InputError as error:
        if count == rows.num_units:
            raise
        try:
            return bind_all()
        except OneDatum:
            raise
        except InputError:  # the refusal of the few rows says more
            raise error from error.__cause__
    if count == rows.num_units:
        return replace(example, by_rows=False)
    if count > 1 and _makes_parameters_of_rows(program, rows, unit, params_before):
        return bind_all()
    if example.structure.unit is None or example.structure.num_units != count:
        return bind_all()
    return replace(example, by_rows=True)


def _makes_parameters_of_rows(
    program: Program, rows: Batches, unit: str | None, before: Collection[str]
) -> bool:
    """Return whether a parameter that is not in ``before`` is as long as the example has rows.

    A run on one row less shows it. The parameters are then removed from Pyro's store.
    """
    store = pyro.get_param_store()

    def new_shapes() -> dict[str, torch.Size]:
        named = store.named_parameters()
        return {name: value.shape for name, value in named if name not in before}

    shapes, state = new_shapes(), store.get_state()
    if not any(EXAMPLE_ROWS in shape for shape in shapes.values()):
        return False
    forget(shapes)
    bind_rows(program, rows, unit, torch.arange(EXAMPLE_ROWS - 1))
    changes = new_shapes() != shapes
    forget(shapes)
    if not changes:
        store.set_state(state)
    return changes
