"""What a fit is of: a program, and rows or the arguments of one call."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from pyro_vae import argument_checks as checks
from pyro_vae.data import Batches, DataSet, OneCall, batches
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.guides.model_facts import without_guide
from pyro_vae.inference.svi.made_guide import has_guide, made_from_call, made_from_rows
from pyro_vae.program.call_arguments import call_arguments
from pyro_vae.program.contract import Program, as_program, held_program, signature
from pyro_vae.program.prior_guide import with_prior_as_guide

FUNCTIONS = "functions"


@dataclass(frozen=True)
class Opened:
    """Hold what a fit is of.

    Attributes:
        given: the program as the user knows it; a pair (model, guide) where the guide was made.
        program: the same, bound to the arguments of the call if there are any.
        train: the rows, or one call.
        held_out: those for validation.
        device: where all of them are.
        kind: what a checkpoint says about the program.
    """

    given: Any
    program: Program
    train: Batches
    held_out: Batches | None
    device: torch.device
    kind: str


def open_fit(
    given: Any,
    data: Any,
    validation: Any,
    device: str | torch.device,
    args: tuple[Any, ...] | None,
    kwargs: Mapping[str, Any] | None,
    seed: int,
    makes_guide: bool = True,
) -> Opened:
    """Return a program, with a guide made from the model if it has none, and its data, on their device.

    Unless it ``makes_guide``, the prior takes a guide's place, and the program as the user knows it stays.

    Raises:
        InputError: the program or the data are none, or do not go together.
    """
    given = held_program(given)
    kind, is_complete = kind_of(given), has_guide(given)
    program = as_program(given) if is_complete else without_guide(given)
    if not (is_complete or makes_guide):
        is_complete, program = True, as_program(with_prior_as_guide(given, sums_out=False))
    held_out: Batches | None = None
    if isinstance(data, DataSet):
        validation = data.validation if validation is None else validation
        data = data.train
    if data is not None and args is None and kwargs is None:
        place = resolve(device)
        train: Batches = batches(data, place, signature(program))
        if not is_complete:
            given = made_from_rows(program, train, seed)
            program = as_program(given)
        with checks.naming("validation"):
            if validation is not None:
                held_out = batches(validation, place, signature(program))
    else:
        args, kwargs = call_arguments(data, args, kwargs)
        if validation is not None:
            raise InputError(
                "validation goes with data, not with args and kwargs",
                subject="validation",
                remedy="pass the rows as data",
            )
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)]
        place = tensors[0].device if tensors and device == "auto" else resolve(device)
        if not is_complete:
            given = made_from_call(program, args, kwargs, seed)
            program = as_program(given)
        model, guide = (partial(part, *args, **kwargs) for part in (program.model, program.guide))
        program, train = replace(program, model=model, guide=guide), OneCall(place)
    for module in program.modules.values():
        module.to(place)
    return Opened(given, program, train, held_out, place, kind)


def kind_of(given: Any) -> str:
    """Return the name of a program's class, which a checkpoint records; of functions "functions".

    >>> kind_of((lambda x: None, lambda x: None))
    'functions'
    """
    is_object = callable(getattr(given, "model", None))
    return type(given).__qualname__ if is_object else FUNCTIONS
