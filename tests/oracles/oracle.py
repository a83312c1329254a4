"""What an oracle is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_vae.inference.evidence.result import Evidence, mean_error

Parts = tuple[Any, tuple[Tensor, ...], Tensor]  # program, data, exact log p(x) of each unit
ORACLES: "list[Oracle]" = []


@dataclass(frozen=True, eq=False)
class Oracle:
    """A program, its data, and log p(x) of each unit in nats, ``units |``, float64.

    Attributes:
        continuous: whether the latents are, once those marked for it are summed out: annealing moves no
            others.
        starts: what annealing may set out from; a narrow guide is nothing to start from.
        temperatures: how many it takes from the prior to get there with some hundred chains.
        narrow: whether its guide is too narrow on purpose, to be flagged.
        together: whether it takes a dimension for particles; else each is a call of its own.
        options: what the call needs besides, as ``unit``.
    """

    name: str
    program: Any
    args: tuple[Tensor, ...]
    exact: Tensor
    continuous: bool = True
    starts: tuple[str, ...] = ("guide", "prior")
    temperatures: int = 12
    narrow: bool = False
    vectorized: bool = True
    options: dict[str, Any] = field(default_factory=dict)


def oracle(**marks: Any) -> Callable[[Callable[[], Parts]], Oracle]:
    """Makes an oracle of a function that gives its parts, with data that are the same each time."""

    def made(parts: Callable[[], Parts]) -> Oracle:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(7)
            program, args, exact = parts()
            pyro.clear_param_store()
        ORACLES.append(Oracle(parts.__name__, program, args, exact.detach().double(), **marks))
        return ORACLES[-1]

    return made


def agrees(
    estimate: Callable[[int], Evidence], num_particles: int, exact: Tensor, least: float = 1e-5
) -> bool:
    """Whether estimates are off by less than 4 of their errors, of each unit and of the mean.

    Of thousands of estimates some are off by more, and some have no error, by chance; a wrong one is off
    at any number of particles. So many more decide before it is called wrong.

    Args:
        estimate: makes an estimate of so many particles.
        num_particles: how many, at first.
        exact: log p(x) of each unit.
        least: the least error that the arithmetic has.
    """
    return any(
        bool((errors_off(estimate(count), exact, least) < 4).all())
        for count in (num_particles, 16 * num_particles)
    )


def errors_off(evidence: Evidence, exact: Tensor, least: float = 1e-5) -> Tensor:
    """How many of its own standard errors an evidence is off, of each unit and, last, of the mean.

    Units that have no honest error are left out. What is summed out or filtered exactly has one of 0, and
    log-densities of some tens of nats add up in float32 to 1e-5 at best; so that is the least error there
    can be.
    """
    known = ~evidence.without_error
    off, errors = (evidence.log_evidence - exact)[known], evidence.standard_error[known]
    mean_off = abs(float(off.mean())) / max(mean_error(errors), least)
    return torch.cat(
        [off.abs() / errors.clamp(min=least), torch.tensor([mean_off], dtype=off.dtype)]
    )
