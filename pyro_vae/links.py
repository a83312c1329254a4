"""A link function: it turns any output of a network into a positive parameter.

A network that reads data of any size, such as raw counts, starts with outputs of tens and hundreds; exp
turns these into infinity, 0, or 1e10 with a gradient from which training does not recover.
"""

from typing import Any

import torch
from torch import Tensor

LEAST = -15.0  # log 3e-7
SCALE = 3.0  # log 20: a posterior scale lies below the prior's, which is near 1 for most
RATE = 15.0  # log of 3 million counts


def log_link(raw: Tensor, bend: float) -> Tensor:
    """Return log f(raw), with f = exp between ``LEAST`` and ``bend``, and at most linear growth beyond.

    Above, f = exp(bend) (1 + raw - bend); below, 1 / f = exp(-LEAST) (1 + LEAST - raw).

    >>> log_link(torch.tensor([-10.0, 0.0, 2.0]), 0.0).exp()
    tensor([4.5400e-05, 1.0000e+00, 3.0000e+00])
    """
    return slowed(raw, LEAST, bend)


def slowed(x: Tensor, low: float, high: float) -> Tensor:
    """Return numbers between two bounds as they are; beyond, let them grow like a logarithm.

    The result is high + log(1 + x - high) above ``high``, and the same below ``low``.

    >>> slowed(torch.tensor([-2.0, 0.5, 1.0 + 1.7183]), 0.0, 1.0)
    tensor([-1.0986,  0.5000,  2.0000])
    """
    result: Tensor = _Slowed.apply(x, low, high)
    return result


class _Slowed(torch.autograd.Function):
    """Slow numbers down, with a gradient in three operations: autograd's takes fifteen."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, low: float, high: float) -> Tensor:
        within = x.clamp(low, high)
        beyond = x - within
        return within + beyond.abs().log1p().copysign(beyond)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.low, ctx.high = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _Slowed.jvp(ctx, *gradients), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        """Multiply by the slope, which backward and forward mode do alike."""
        (x,) = ctx.saved_tensors
        slowed_by: Tensor = 1 + (x - x.clamp(ctx.low, ctx.high)).abs()
        return tangents[0] / slowed_by
