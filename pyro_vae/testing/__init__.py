"""The contract as a series of checks, for the models of pyro_vae and for your own.

A check is a function of a :class:`Case`. It returns a remark (or ""), raises ``InputError`` to say what is
wrong, or ``NotApplicable`` with the reason. Its function's name is its name, and its docstring says what
must hold. A new one is a function here and a line in ``CHECKS``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pyro
import torch

from pyro_vae import argument_checks
from pyro_vae.data import batches
from pyro_vae.device import resolve
from pyro_vae.errors import InputError, first_line
from pyro_vae.program.contract import as_program, signature
from pyro_vae.program.isolation import as_found, tensors_as_found, undisturbed
from pyro_vae.testing import evidence, gradients, state, structure, training
from pyro_vae.testing.case import Case, NotApplicable
from pyro_vae.testing.report import BrokenContract, Outcome, Report

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

FOUNDATIONS: tuple[Check, ...] = (  # if one fails, the others make no sense
    structure.runs,
    structure.sites,
    structure.plates,
    evidence.prior,
)
CHECKS: tuple[Check, ...] = (
    state.density,
    state.hidden_state,
    structure.factorises,
    structure.particles,
    training.trains,
    gradients.gradients,
    state.saves,
    training.captured_step,
    evidence.evidence,
    structure.graph,
    state.device,
)


ARGUMENT_CHECKS: dict[str, argument_checks.Check] = {
    "num_particles": argument_checks.at_least_2,
    "unit": argument_checks.optional(argument_checks.plate),
    "seed": argument_checks.seed,
    "checks": argument_checks.each(argument_checks.function, "a sequence of checks"),
}


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
    """Check a program against the contract on the first few rows of data; take seconds, change nothing.

    The first four checks are that guide and model run, have the same sites, declare their plates and can
    draw data. If one of them fails, the others are not made.

    Args:
        program: a model and guide.
        data: a tensor, a tuple of tensors of equal length, a Dataset, a DataLoader or a split.
        num_particles: K of the evidence.
        unit: the plate to give figures for; by default the outermost that holds every site.
        seed: seed of all draws.
        device: where to compute; the modules stay there.
        checks: the checks after the first four, in this order; ``(*CHECKS, own)`` adds one.

    Returns:
        The outcomes of all checks.

    Raises:
        BrokenContract: a check failed; it is an AssertionError and an InputError.
        InputError: ``program`` is not a program, or ``data`` cannot be read.

    >>> from pyro_vae.models import FactorAnalysis
    >>> report = check_program(FactorAnalysis((3,), 2), torch.randn(6, 3))
    >>> report.outcomes[2]
    Outcome(check='plates', outcome='ok', reason="the unit is 'data'")
    """
    argument_checks.check_arguments(ARGUMENT_CHECKS, locals())
    target, place = as_program(program), resolve(device)
    for module in target.modules.values():
        module.to(place)
    rows = batches(data, place, signature(target))
    report = _run_checks(Case(target, rows, unit, num_particles, seed), checks)
    if report.failed:
        raise BrokenContract(report)
    return report


def _run_checks(case: Case, checks: Sequence[Check]) -> Report:
    modules, outcomes = case.program.modules, []
    with undisturbed(case.program, case.seed), as_found(modules):
        for check in FOUNDATIONS:
            outcomes.append(_run_check(check, case))
            if outcomes[-1].outcome == "failed":
                return Report(tuple(outcomes))
        tensors = (*case.parameters.values(), *case.learnt.values(), *case.args)
        distinct = {id(tensor): tensor for tensor in tensors}
        for check in checks:
            with as_found(modules), tensors_as_found(distinct.values()):
                outcomes.append(_run_check(check, case))
    return Report(tuple(outcomes))


def _run_check(check: Check, case: Case) -> Outcome:
    name = check.__name__.replace("_", " ")
    pyro.set_rng_seed(case.seed)
    try:
        return Outcome(name, "ok", check(case))
    except NotApplicable as reason:
        return Outcome(name, "not applicable", str(reason))
    except InputError as error:
        return Outcome(name, "failed", str(error), error)
    except Exception as error:  # the program's own: it must not end the series
        return Outcome(name, "failed", f"{type(error).__name__}: {first_line(error)}")
