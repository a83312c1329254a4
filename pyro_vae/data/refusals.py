"""Errors that several modules raise about a file, an array or a column."""

import difflib
from collections.abc import Iterable
from typing import Any

from pyro_vae.errors import InputError

MOST_KNOWN = 12  # names that a message lists


def unknown(
    problem: str, name: object, known: Iterable[object], subject: str | None = None
) -> InputError:
    """Return the error that a name is not among the known ones, with the nearest of these or all.

    >>> print(unknown("t.csv has no column 'agee'", "agee", ["age", "income"]))
    t.csv has no column 'agee'. Did you mean 'age'?
    >>> print(unknown("t.csv has no column 'sex'", "sex", ["age", "income"]))
    t.csv has no column 'sex'; expected one of age, income
    """
    names = list(map(str, known))
    close = difflib.get_close_matches(str(name), names, n=1)
    subject = str(name) if subject is None else subject
    if close:
        return InputError(problem, subject=subject, remedy=f"did you mean {close[0]!r}?")
    listed = ", ".join([*names[:MOST_KNOWN], *["..."] * (len(names) > MOST_KNOWN)])
    return InputError(problem, subject=subject, expected=f"one of {listed}")


def no_column(where: object, name: object, known: Iterable[object]) -> InputError:
    """Return the error that a table has no column of this name."""
    return unknown(f"{where} has no column {name!r}", name, known)


def damaged(where: object, reason: object, expected: str | None = None) -> InputError:
    """Return the error that a file or an array cannot be read; of the reason, the first line is given."""
    first = str(reason).strip().split("\n")[0].rstrip(".")
    return InputError(f"{where} is damaged: {first}", subject=str(where), expected=expected)


def not_numbers(where: str, kind: Any) -> InputError:
    """Return the error that an array holds values of another kind."""
    return InputError(f"{where} holds {kind} values", subject=where, expected="numbers")


def no_rows(where: object, shape: object = None) -> InputError:
    """Return the error that a file or an array has no rows."""
    of_shape = "" if shape is None else f" (its shape is {shape})"
    return InputError(
        f"{where} holds no rows{of_shape}", subject=str(where), expected="at least one row"
    )
