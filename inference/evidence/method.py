"""What all methods to estimate an evidence have in common."""

import abc
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import torch

from pyro_vae.device import for_device
from pyro_vae.inference.compiling.inductor import Compile
from pyro_vae.inference.evidence.missed_copies import Missed
from pyro_vae.inference.evidence.unit_estimates import UnitEstimates as UnitEstimates
from pyro_vae.program.bound_program import BoundProgram

Advance = Callable[[float], object]
"""Takes the share of a tile's work that has just been done."""


class PartialEstimate(Protocol):
    """The sums over the weights of a tile so far."""

    @property
    def count(self) -> int:
        """The number of weights of each unit so far."""

    def unit_estimates(self) -> UnitEstimates:
        """Return the estimates from the weights so far."""


Estimator = Callable[[BoundProgram, Advance], Iterator[PartialEstimate]]
"""Estimates one tile; yields after each part of the weights, the last time with all K."""


@dataclass(frozen=True)
class Workload:
    """Hold what is to be estimated, and by which means.

    Attributes:
        num_particles: K.
        tile_sizes: the number of units of each tile.
        max_memory: bytes to work with, or None for the method's default.
        compile: whether compiled code takes Python's place: where it is worth it, always or never.
        together: how many particles are drawn together at most; by default as many as the memory suits.
    """

    num_particles: int
    tile_sizes: tuple[int, ...]
    max_memory: int | None = None
    compile: Compile = "auto"
    together: int | None = None

    def compiles(self, is_worth_it: bool) -> bool:
        """Return whether to compile what is, or is not, worth it."""
        return self.compile == "on" or (self.compile == "auto" and is_worth_it)

    def memory(self, device: torch.device, default: Mapping[str, int]) -> int:
        """Return the bytes to work with."""
        return self.max_memory or for_device(default, device)


@dataclass(frozen=True)
class Method(abc.ABC):
    """A way to estimate the evidence of each unit.

    A method is a frozen dataclass of its own options, in a file of its own, with an entry in ``METHODS``
    (:mod:`pyro_vae.inference.evidence.methods`). The command line takes its options from the fields, and
    its help from the docstring.
    """

    num_particles: ClassVar[int]  # the default of K
    times_jointly: ClassVar[int] = 1  # as many by default where one figure is of all data together
    is_unbiased: ClassVar[bool] = True
    is_exact: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def description(self) -> str:
        """The method and its options in a phrase, for a paper."""

    @abc.abstractmethod
    def estimator(self, example: BoundProgram, work: Workload) -> Estimator:
        """Return a function that estimates the tiles of one data set.

        Args:
            example: the program on the first few units.
            work: how much there is to estimate.

        Raises:
            InputError: the method does not suit this program.
        """

    def program(self, program: Any) -> Any:
        """Return the program to weigh: with another guide where the method uses none."""
        return program

    def missed(self, example: BoundProgram, num_particles: int) -> Missed | None:
        """Return by how much K draws that hold a part of the symmetric copies make a figure too low."""
        return None

    def notes(self, estimates: UnitEstimates, example: BoundProgram) -> tuple[str, ...]:
        """Return further sentences that the reader of the estimates of all units should know."""
        return ()


def part_size(total: int, most: int) -> int:
    """Return how many of ``total`` to take at a time: a divisor where one is near ``most``, or ``most``.

    With a divisor all parts have one size, which one compiled code serves.

    >>> part_size(1000, 512), part_size(1009, 512), part_size(100, 512)
    (500, 512, 100)
    """
    divisors = (size for size in range(min(total, most), most // 2, -1) if total % size == 0)
    return next(divisors, min(total, most))


P = TypeVar("P", bound=PartialEstimate)


def last(partial_estimates: Iterator[P]) -> P:
    """Return the last estimate, which has all K weights."""
    return deque(partial_estimates, maxlen=1).pop()
