"""The contract as a battery of checks, for the models of the shelf and for anybody's own.

A check is a function of a :class:`Case`. It returns a remark (or ""), raises ``InputError`` with one
sentence that names what is wrong, or ``NotApplicable`` with the reason. Its name is the function's, its
docstring says what holds. A new one is a line in ``CHECKS``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyro
import torch

from pyro_vae.data import batches
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.program.contract import as_program, signature
from pyro_vae.program.isolation import (
    as_found,
    checked_seed,
    tensors_as_found,
    undisturbed,
)
from pyro_vae.testing import figures, structure, training
from pyro_vae.testing.case import Case, NotApplicable

__all__ = [
    "CHECKS",
    "BrokenContract",
    "Case",
    "Check",
    "NotApplicable",
    "Outcome",
    "Report",
    "check_program",
]

Check = Callable[[Case], str]

FOUNDATIONS: tuple[Check, ...] = (
    structure.runs,
    structure.sites,
    structure.plates,
    figures.prior,
)
CHECKS: tuple[Check, ...] = (
    structure.density,
    structure.hidden_state,
    structure.factorises,
    structure.particles,
    training.trains,
    training.gradients,
    training.saves,
    training.captured_step,
    figures.evidence,
    figures.graph,
    figures.device,
)


@dataclass(frozen=True)
class Outcome:
    """What one check came to, and why, or a remark."""

    check: str
    outcome: Literal["ok", "failed", "not applicable"]
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """The outcomes of all checks, in their order; prints as a table.

    >>> print(Report((Outcome("runs", "ok"), Outcome("graph", "failed", "there is none"))))
    runs   ok
    graph  failed          there is none
    """

    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(each for each in self.outcomes if each.outcome == "failed")

    def __str__(self) -> str:
        width = max((len(each.check) for each in self.outcomes), default=0)
        rows = (f"{e.check:<{width}}  {e.outcome:<14}  {e.reason}" for e in self.outcomes)
        return "\n".join(map(str.rstrip, rows))


class BrokenContract(InputError, AssertionError):
    """A program fails some checks: a line each. ``report`` holds the outcomes of all."""

    def __init__(self, report: Report) -> None:
        lines = (f"  {each.check}: {each.reason}" for each in report.failed)
        super().__init__("\n".join(["the program breaks the contract:", *lines]))
        self.report = report


def check_program(
    program: Any,
    data: Any,
    *,
    num_particles: int = 500,
    unit: str | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    checks: Sequence[Check] = CHECKS,
) -> Report:
    """Puts a program to the contract on the first few rows of data; takes seconds, changes nothing.

    That guide and model run, have the same sites, declare their plates and can draw data comes first;
    if it does not hold, nothing else is tried.

    Args:
        program: a model and guide.
        data: a tensor, a tuple of tensors of equal length, a Dataset, a DataLoader or a split.
        num_particles: K of the evidence.
        unit: the plate to give figures for; by default the outermost that holds every site.
        seed: of all noise.
        device: where to compute; the modules stay there.
        checks: what to check after that, in this order; ``(*CHECKS, mine)`` adds one.

    :raises BrokenContract: a check failed; it is an AssertionError and an InputError.
    :raises InputError: ``program`` is no program, or ``data`` no data.

    >>> from pyro_vae.models import FactorAnalysis
    >>> report = check_program(FactorAnalysis((3,), 2), torch.randn(6, 3))
    >>> report.outcomes[2]
    Outcome(check='plates', outcome='ok', reason="the unit is 'data'")
    """
    target, place = as_program(program), resolve(device)
    if num_particles < 2:
        raise InputError(f"num_particles must be at least 2, not {num_particles}")
    for module in target.modules.values():
        module.to(place)
    rows = batches(data, place, signature(target))
    case = Case(target, rows, unit, num_particles, checked_seed(seed))
    outcomes: list[Outcome] = []
    with undisturbed(target, seed), as_found(target.modules):
        for check in FOUNDATIONS:
            outcomes.append(_outcome(check, case))
            if outcomes[-1].outcome == "failed":
                raise BrokenContract(Report(tuple(outcomes)))
        held = {id(t): t for t in (*case.parameters.values(), *case.learnt.values(), *case.args)}
        for check in checks:
            with as_found(target.modules), tensors_as_found(held.values()):
                outcomes.append(_outcome(check, case))
    report = Report(tuple(outcomes))
    if report.failed:
        raise BrokenContract(report)
    return report


def _outcome(check: Check, case: Case) -> Outcome:
    name = check.__name__.replace("_", " ")
    pyro.set_rng_seed(case.seed)
    try:
        return Outcome(name, "ok", check(case))
    except NotApplicable as reason:
        return Outcome(name, "not applicable", str(reason))
    except InputError as error:
        return Outcome(name, "failed", str(error))
    except Exception as error:  # of the program's own making: to be told, not to end the battery
        first = (str(error).strip().splitlines() or [""])[0]
        return Outcome(name, "failed", f"{type(error).__name__}: {first}")
