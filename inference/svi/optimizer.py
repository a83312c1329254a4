"""The optimizer of a fit, made from the parameters."""

import inspect
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor
from torch.optim import Optimizer

from pyro_vae.errors import InputError

OptimizerFactory = Callable[[Iterable[Tensor]], Optimizer]


def make_optimizer(factory: OptimizerFactory, parameters: Mapping[str, Tensor]) -> Optimizer:
    """Return an optimizer of parameters, with torch's one-kernel update where it has one.

    Raises:
        InputError: the optimizer cannot be made, or evaluates the loss several times a step.
    """
    try:
        optimizer = fused(factory(list(parameters.values())))
    except (ValueError, TypeError) as error:
        raise InputError(f"the optimizer cannot be made: {error}", subject="optimizer") from error
    if needs_closure(optimizer):
        raise InputError(
            f"optimizer {type(optimizer).__name__} evaluates the loss several times a step, each time with "
            "other noise",
            subject="optimizer",
            remedy="use a first-order optimizer such as Adam",
        )
    return optimizer


def fused(optimizer: Optimizer) -> Optimizer:
    """Turn on the one-kernel update where nothing else was chosen."""
    for group in optimizer.param_groups:
        if "fused" in group and not any(group.get(k) for k in ("fused", "foreach", "capturable")):
            group["fused"] = all(p.is_floating_point() for p in group["params"])
    return optimizer


def needs_closure(optimizer: Optimizer) -> bool:
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty
