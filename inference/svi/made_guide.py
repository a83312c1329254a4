"""A guide for a model that has none."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pyro
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from pyro_vae.data import Batches
from pyro_vae.errors import report_user_errors
from pyro_vae.guides import AutoAmortized
from pyro_vae.program.contract import Program
from pyro_vae.program.generators import generators_as_found

ROWS = 1_000  # with which the model is examined


def has_guide(program: Any) -> bool:
    """Return whether something is a program, or else a model alone."""
    return isinstance(program, tuple) or callable(getattr(program, "guide", None))


def made_from_rows(target: Program, rows: Batches, seed: int) -> tuple[Any, AutoAmortized]:
    """Return a model, and a guide made from it and the first rows.

    Args:
        target: the model, without a guide.
        rows: the data.
        seed: of the guide's first weights.

    Raises:
        InputError: no guide can be made for this model.
    """
    for module in target.modules.values():
        module.to(rows.device)
    count = min(rows.num_units, ROWS)
    return made_from_call(target, next(rows.take(torch.arange(count), count)), {}, seed)


def made_from_call(
    target: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any], seed: int
) -> tuple[Any, AutoAmortized]:
    """Return a model, and a guide made from it and the arguments of a call.

    Raises:
        InputError: no guide can be made for this model.
    """
    with generators_as_found(), report_user_errors():
        pyro.set_rng_seed(seed)
        return target.model, AutoAmortized(target.model, *args, **kwargs)


def default_lr_schedule(
    program: Program, epochs: int
) -> Callable[[Optimizer], LRScheduler] | None:
    """Return the schedule of the learning rate for a guide that was made from the model; else None.

    Its shared latents have to go from the prior to a posterior that may be a thousand times narrower: at a
    constant rate the last steps are as long as the first, and the noise that they leave costs nats.
    """
    if not any(isinstance(module, AutoAmortized) for module in program.modules.values()):
        return None
    return partial(CosineAnnealingLR, T_max=epochs)
