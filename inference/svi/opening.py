"""What a user gives, a program and data, as the program and the batches of a fit."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from pyro_vae.data import Batches, DataSet, OneCall, batches
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.guides.model_facts import without_guide
from pyro_vae.inference.svi.made_guide import has_guide, made_from_call, made_from_rows
from pyro_vae.program.call_arguments import call_arguments
from pyro_vae.program.contract import Program, as_program, signature

FUNCTIONS = "functions"


def opened(
    given: Any,
    data: Any,
    device: str | torch.device,
    args: tuple[Any, ...] | None,
    kwargs: Mapping[str, Any] | None,
    seed: int,
    validation: Any = None,
) -> tuple[Any, Program, Batches, torch.device]:
    """Return what is fitted (a pair, of a model alone), as a program, and its data: rows or one call.

    Args:
        given: a program, or a model alone, which gets a guide made from it.
        data: the rows.
        device: where to compute.
        args: with ``kwargs``, in place of ``data``.
        kwargs: see ``args``.
        seed: of a made guide's first weights.
        validation: goes with ``data`` only.

    Raises:
        InputError: these do not go together, or no guide can be made.
    """
    is_complete = has_guide(given)
    program = as_program(given) if is_complete else without_guide(given)
    if isinstance(data, DataSet):
        data = data.train
    if data is not None and args is None and kwargs is None:
        place = resolve(device)
        rows = batches(data, place, signature(program))
        if not is_complete:
            given = made_from_rows(program, rows, seed)
        return given, as_program(given), rows, place
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
    model, guide = (
        partial(function, *args, **kwargs) for function in (program.model, program.guide)
    )
    return given, replace(program, model=model, guide=guide), OneCall(place), place


def kind_of(given: Any) -> str:
    """Return the name of a program's class, which a checkpoint records; of functions "functions".

    >>> kind_of((lambda x: None, lambda x: None))
    'functions'
    """
    is_object = callable(getattr(given, "model", None))
    return type(given).__qualname__ if is_object else FUNCTIONS
