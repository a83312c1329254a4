"""The outcomes of all checks, as a table or as an error."""

from dataclasses import dataclass, field
from typing import Literal

from pyro_vae.errors import InputError
from pyro_vae.notebook import table


@dataclass(frozen=True)
class Outcome:
    """Hold the outcome of one check.

    Attributes:
        check: its name.
        outcome: whether it passed.
        reason: why not, or a remark.
        error: the error of a failed check, if it was an InputError.
    """

    check: str
    outcome: Literal["ok", "failed", "not applicable"]
    reason: str = ""
    error: InputError | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Report:
    """Hold the outcomes of all checks, in their order; print as a table.

    >>> print(Report((Outcome("runs", "ok"), Outcome("graph", "failed", "there is none"))))
    runs   ok
    graph  failed          there is none
    """

    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The outcomes of the failed checks."""
        return tuple(each for each in self.outcomes if each.outcome == "failed")

    def __str__(self) -> str:
        width = max((len(each.check) for each in self.outcomes), default=0)
        rows = (f"{e.check:<{width}}  {e.outcome:<14}  {e.reason}" for e in self.outcomes)
        return "\n".join(map(str.rstrip, rows))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        rows = ((each.check, each.outcome, each.reason) for each in self.outcomes)
        return table(rows, ("check", "outcome", "remark"), "The contract, tried on a program")


class BrokenContract(InputError, AssertionError):
    """Report the checks that a program fails, a line each; ``report`` holds all outcomes."""

    def __init__(self, report: Report) -> None:
        lines = (f"  {each.check}: {each.reason}" for each in report.failed)
        super().__init__("\n".join(["the program breaks the contract:", *lines]))
        self.report = report
