"""What every way to estimate an evidence has in common."""

import abc
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from pyro_vae.program.bound_program import BoundProgram

Figures = dict[str, Tensor]
"""Per unit, by the names of :class:`pyro_vae.inference.Evidence`'s fields; what a field holds
several of goes by ``field.key``."""

Tick = Callable[[float], object]
"""Takes the share of a tile's work that has just been done."""


class Sums(Protocol):
    """What has been drawn for the units of a tile so far."""

    @property
    def count(self) -> int:
        """Weights a unit has so far."""

    def figures(self) -> Figures: ...


Estimator = Callable[[BoundProgram, Tick], Iterator[Sums]]
"""Works off one tile; yields what it has after each part of the weights, and K of them in the end."""


@dataclass(frozen=True)
class Method(abc.ABC):
    """A way to estimate the evidence of each unit.

    A method is a frozen dataclass of its own options; the next one goes into a file of its own, and into
    ``METHODS`` in :mod:`pyro_vae.inference.evidence.estimate`.
    """

    num_particles: ClassVar[int]  # K, where nobody says
    tile: ClassVar[Mapping[str, int]]  # units that are worked off together, by kind of device
    is_unbiased: ClassVar[bool] = True
    is_exact: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def described(self) -> str:
        """What it is, as one would put it into a paper."""

    @abc.abstractmethod
    def estimator(
        self, example: BoundProgram, num_particles: int, max_memory: int | None
    ) -> Estimator:
        """What works off the tiles of one data set, of which ``example`` shows the first few units.

        :raises InputError: the method is not for this program.
        """

    def notes(self, figures: Figures, example: BoundProgram) -> tuple[str, ...]:
        """What one should know of the figures of all units, in sentences; ``example`` shows the program."""
        return ()


def memory(max_memory: int | None, device: torch.device, default: Mapping[str, int]) -> int:
    """The bytes to work with."""
    return max_memory or default.get(device.type, default["cpu"])


S = TypeVar("S", bound=Sums)


def complete(sums: Iterator[S]) -> S:
    """What an estimator has in the end."""
    return deque(sums, maxlen=1).pop()
