"""Schedules of inverse temperatures along a path."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from pyro_vae.errors import InputError, first_line

TemperatureSchedule = Callable[[int], Tensor]
"""T -> T + 1 inverse temperatures that rise from 0 to 1."""


def linear(num_temperatures: int) -> Tensor:
    """Return equally spaced inverse temperatures.

    >>> linear(4)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000], dtype=torch.float64)
    """
    return torch.linspace(0, 1, num_temperatures + 1, dtype=torch.float64)


def sigmoid(num_temperatures: int, sharpness: float = 4.0) -> Tensor:
    """Return a rescaled sigmoid from -``sharpness`` to ``sharpness``, dense at both ends.

    Source: R. B. Grosse, Z. Ghahramani, R. P. Adams, "Sandwiching the marginal likelihood using
    bidirectional Monte Carlo", 2015, https://arxiv.org/abs/1511.02543.

    >>> sigmoid(2)
    tensor([0.0000, 0.5000, 1.0000], dtype=torch.float64)
    """
    betas = ((2 * linear(num_temperatures) - 1) * sharpness).sigmoid()
    return (betas - betas[0]) / (betas[-1] - betas[0])


def inverse_temperatures(schedule: TemperatureSchedule, num_temperatures: int) -> tuple[float, ...]:
    """Return the schedule's values.

    Raises:
        InputError: they are not T + 1, or do not rise from 0 to 1.
    """
    try:
        values = torch.as_tensor(schedule(num_temperatures)).double()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"the schedule raised {type(error).__name__}: {first_line(error)}",
            subject="schedule",
            expected="a function of the number of temperatures",
            remedy="leave schedule out for the default",
        ) from error
    betas: list[float] = values.flatten().tolist()
    rises = all(one < other for one, other in pairwise(betas))
    if len(betas) != num_temperatures + 1 or betas[0] != 0 or betas[-1] != 1 or not rises:
        given = f", from {betas[0]:g} to {betas[-1]:g}" if betas else ""
        raise InputError(
            f"the schedule gives {len(betas)} inverse temperatures{given}",
            subject="schedule",
            expected=f"{num_temperatures + 1} that rise from 0 to 1",
        )
    return tuple(betas)
