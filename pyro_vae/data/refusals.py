"""Errors that several modules raise about a file, an array or a column."""

from collections.abc import Iterable
from typing import Any

from pyro_vae.errors import InputError, unknown


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
