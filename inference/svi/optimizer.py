"""The optimizer of a fit, made from the parameters, and its learning-rate schedule."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pyro_vae.checkpoint import OBJECTIVE_PREFIX
from pyro_vae.errors import InputError, unknown

OptimizerFactory = Callable[[Iterable[Tensor]], Optimizer]
LRScheduleFactory = Callable[[Optimizer], LRScheduler]
ADAM: OptimizerFactory = partial(Adam, lr=1e-3)
PASS_OPTIMIZER = "pass a factory such as partial(Adam, lr=1e-3)"
PASS_LR_SCHEDULE = "pass a factory such as partial(StepLR, step_size=10)"


def make_optimizer(
    factory: OptimizerFactory,
    parameters: Mapping[str, Tensor],
    own_options: Mapping[str, Any] = MappingProxyType({}),
) -> Optimizer:
    """Return an optimizer of parameters, with torch's one-kernel update where it has one.

    Args:
        factory: makes it.
        parameters: all of them, by name.
        own_options: for those that belong to the objective, which then have a group of their own.

    Raises:
        InputError: the optimizer cannot be made, or evaluates the loss several times a step.
    """
    try:
        optimizer = fused(factory(_groups(parameters, own_options)))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"the optimizer cannot be made: {error}",
            subject="optimizer",
            remedy=PASS_OPTIMIZER,
        ) from error
    strange = own_options.keys() - optimizer.defaults.keys()
    if strange:
        kind = type(optimizer).__name__
        problem = f"{kind} has no such option"
        raise unknown(problem, min(strange), optimizer.defaults, subject="discriminator_options")
    if needs_closure(optimizer):
        raise InputError(
            f"optimizer {type(optimizer).__name__} evaluates the loss several times a step, each time with "
            "other noise",
            subject="optimizer",
            remedy="use a first-order optimizer such as Adam",
        )
    return optimizer


def _groups(parameters: Mapping[str, Tensor], own_options: Mapping[str, Any]) -> list[Any]:
    """Return parameters, or two groups of them if the objective's own have other options."""
    if not own_options:
        return list(parameters.values())
    own = [p for name, p in parameters.items() if name.startswith(OBJECTIVE_PREFIX)]
    rest = [p for name, p in parameters.items() if not name.startswith(OBJECTIVE_PREFIX)]
    return [*([{"params": rest}] if rest else []), {"params": own, **own_options}]


def make_lr_schedule(factory: LRScheduleFactory | None, optimizer: Optimizer) -> LRScheduler | None:
    """Return the learning-rate schedule of an optimizer, if there is one.

    Raises:
        InputError: the schedule cannot be made, or is not a schedule of torch.
    """
    if factory is None:
        return None
    if isinstance(factory, LRScheduler):
        raise InputError(
            "lr_schedule is made already", subject="lr_schedule", remedy=PASS_LR_SCHEDULE
        )
    try:
        schedule = factory(optimizer)
    except (ValueError, TypeError) as error:
        problem = f"the lr_schedule cannot be made: {error}"
        raise InputError(problem, subject="lr_schedule", remedy=PASS_LR_SCHEDULE) from error
    if not isinstance(schedule, LRScheduler):
        problem = f"lr_schedule returns a {type(schedule).__name__}"
        raise InputError(
            problem, subject="lr_schedule", expected="an LRScheduler", remedy=PASS_LR_SCHEDULE
        )
    return schedule


def fused(optimizer: Optimizer) -> Optimizer:
    """Turn on the one-kernel update where nothing else was chosen."""
    for group in optimizer.param_groups:
        if "fused" in group and not any(group.get(k) for k in ("fused", "foreach", "capturable")):
            group["fused"] = all(p.is_floating_point() for p in group["params"])
    return optimizer


def needs_closure(optimizer: Optimizer) -> bool:
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty
