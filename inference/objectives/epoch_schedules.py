"""Numbers as functions of the epoch: a weight of the KL term, a capacity."""

import abc
from typing import Any

from pyro_vae import argument_checks as checks
from pyro_vae.errors import must_be, positive


class Schedule(abc.ABC):
    """Give a number as a function of the epochs done at the end of a step, in fractions.

    It depends on nothing else, so that a resumed run goes on as it would have. Subclass it for your own.
    """

    @abc.abstractmethod
    def __call__(self, epochs: float) -> float: ...


def _check_part(name: str, part: Any) -> None:
    if not 0 < checks.number(name, part) <= 1:
        raise must_be(name, "a part in (0, 1]", part)


LINEAR: dict[str, checks.Check] = {
    "start": checks.not_negative,
    "end": checks.not_negative,
    "epochs": positive,
}
CYCLICAL: dict[str, checks.Check] = {
    "end": checks.not_negative,
    "epochs": positive,
    "rising": _check_part,
}


class Linear(Schedule):
    """Go from ``start`` to ``end`` in equal steps over some epochs, and stay at ``end``.

    Source: S. R. Bowman et al., "Generating sentences from a continuous space", 2015,
    https://arxiv.org/abs/1511.06349 (a KL weight that grows from 0).

    Args:
        start: before the first step.
        end: from the last of the epochs on.
        epochs: how long it takes.

    >>> [Linear(0, 4, epochs=2)(e) for e in (0.5, 1, 2, 3)]
    [1.0, 2.0, 4.0, 4.0]
    """

    def __init__(self, start: float = 0.0, end: float = 1.0, epochs: float = 10.0) -> None:
        checks.check_arguments(LINEAR, locals())
        self.start, self.end, self.epochs = start, end, epochs

    def __call__(self, epochs: float) -> float:
        return self.start + (self.end - self.start) * min(1.0, epochs / self.epochs)


class Cyclical(Schedule):
    """Rise from 0 to ``end`` over the first part of each cycle, and stay at ``end`` for the rest of it.

    Source: H. Fu et al., "Cyclical annealing schedule: a simple approach to mitigating KL vanishing",
    2019, https://arxiv.org/abs/1903.10145.

    Args:
        end: the largest value.
        epochs: length of a cycle.
        rising: the part of a cycle, in (0, 1], in which it rises.

    >>> [Cyclical(1.0, epochs=4)(e) for e in (1, 2, 3, 4, 5)]
    [0.5, 1.0, 1.0, 1.0, 0.5]
    """

    def __init__(self, end: float = 1.0, epochs: float = 10.0, rising: float = 0.5) -> None:
        checks.check_arguments(CYCLICAL, locals())
        self.end, self.epochs, self.rising = end, epochs, rising

    def __call__(self, epochs: float) -> float:
        done = epochs % self.epochs or self.epochs  # the last step of a cycle still belongs to it
        return self.end * min(1.0, done / (self.rising * self.epochs))
