"""Errors that the user can correct, reported in one sentence."""

import difflib
import math
import numbers
import operator
import re
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pyro_vae.user_code import program_line

MOST_KNOWN = 12  # names that a message lists


class InputError(ValueError):
    """Report an input that does not fit, and say what would.

    ``str(error)`` joins the fields: "the problem; expected .... Remedy". It leaves out
    a field that the text already holds. The command line prints it and ends with exit code 2.

    Args:
        problem: what was found, as a clause.
        subject: the name of the site, argument, option, column or file at fault.
        expected: what would fit, as a noun phrase.
        remedy: what the user can do, as an imperative.

    >>> raise InputError("scale is -1", subject="scale", expected="a positive number")
    Traceback (most recent call last):
    pyro_vae.errors.InputError: scale is -1; expected a positive number
    """

    def __init__(
        self,
        problem: str,
        *,
        subject: str | None = None,
        expected: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem, self.subject, self.expected, self.remedy = problem, subject, expected, remedy

    def __str__(self) -> str:
        text = self.problem
        if self.expected and self.expected not in text:
            text += f"; expected {self.expected}"
        if self.remedy and self.remedy not in text:
            text += f". {_capitalized(self.remedy)}"
        return text if not self.subject or self.subject in text else f"{self.subject}: {text}"

    def at(self, place: str) -> "InputError":
        """Return the same error with the place in front of the problem, such as the rows."""
        return InputError(
            f"{place}: {self.problem}",
            subject=self.subject,
            expected=self.expected,
            remedy=self.remedy,
        )


def _capitalized(text: str) -> str:
    """Return a text with a capital, unless it begins with code.

    >>> _capitalized("use a copy"), _capitalized("batch_size=20 takes all rows")
    ('Use a copy', 'batch_size=20 takes all rows')
    """
    word = text.split()[0].rstrip(",:")
    return text[0].upper() + text[1:] if word.isalpha() else text


# torch's words on a parameter, before all of its values
_INVALID = re.compile(
    r"Expected parameter (\w+) .*? of distribution (\w+)\(.*\) to satisfy the constraint (.*),"
    r" but found invalid values:"
)


def first_line(error: object) -> str:
    """Return the first line of an error's message, or the name of its class if it has none.

    Torch's remark on a parameter is shortened.
    """
    text = _INVALID.sub(r"some values of \1 in a \2 are not \3", str(error)).strip()
    return next(iter(text.splitlines()), "") or type(error).__name__


@contextmanager
def report_user_errors() -> Iterator[None]:
    """Turn an exception that user code raises in the block into an InputError; pass on all others."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        line = program_line(traceback.walk_tb(error.__traceback__))
        if line is None or line.is_ours:
            raise
        raise InputError(
            f"the program raised {type(error).__name__}: {first_line(error)} ({line})",
            subject=line.place,
        ) from error


@contextmanager
def report_read_errors(source: object) -> Iterator[None]:
    """Turn an exception that a reader raises in the block into an InputError about the file ``source``."""
    try:
        yield
    except (InputError, NameError):  # a NameError is a bug of ours
        raise
    except Exception as error:
        problem = f"{source} {_read_problem(error)}"
        raise InputError(problem, subject=str(source)) from error


def _read_problem(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"needs more memory than there is ({_reason(error)})"
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or _reason(error)}"
    if isinstance(error, RecursionError):
        return "is damaged: its nesting does not end"
    if "allocate memory" in str(error):  # torch's words
        return "needs more memory than there is"
    return f"is damaged: {_reason(error)}"


def _reason(error: Exception) -> str:
    text = first_line(error)
    return f"there is no {text}" if isinstance(error, KeyError) else text


def unknown(
    problem: str,
    name: object,
    known: Iterable[object],
    *,
    subject: str | None = None,
    listing: str | None = None,
    remedy: str | None = None,
) -> InputError:
    """Return the error that a name is not among the known ones: with the nearest, and all of them.

    Args:
        problem: the clause, which says what the name is of: "there is no verb 'fti'".
        name: what was given.
        known: what there is.
        subject: what is at fault, by default the name.
        listing: where to see all of them, as a noun phrase, if they are many.
        remedy: what to do if none is near.

    >>> print(unknown("t.csv has no column 'agee'", "agee", ["age", "income"]))
    t.csv has no column 'agee'; expected one of age, income. Did you mean 'age'?
    """
    names = list(map(str, known))
    close = difflib.get_close_matches(str(name), names, n=1)
    listed = ", ".join([*names[:MOST_KNOWN], *["..."] * (len(names) > MOST_KNOWN)])
    expected = listing if listing and len(names) > MOST_KNOWN else f"one of {listed}"
    return InputError(
        problem,
        subject=str(name) if subject is None else subject,
        expected=expected if names else None,
        remedy=f"did you mean {close[0]!r}?" if close else remedy,
    )


MAX_SHOWN = 60  # characters of a value in a message


def must_be(
    name: str, expected: str, value: Any, subject: str | None = None, remedy: str | None = None
) -> InputError:
    """Return the error for an argument whose value is not what was expected.

    >>> must_be("rank", "a whole number", "two").subject
    'rank'
    """
    shown = " ".join(repr(value).split())
    if isinstance(value, type):
        shown = f"the class {value.__name__}"
    elif len(shown) > MAX_SHOWN:
        shown = f"a {type(value).__name__}"
    problem = f"{name} must be {expected}, not {shown}"
    return InputError(problem, subject=subject or name, expected=expected, remedy=remedy)


def at_least_1(name: str, value: Any) -> int:
    """Return ``value`` if it is a whole number of at least 1.

    >>> at_least_1("num_particles", 0)
    Traceback (most recent call last):
    pyro_vae.errors.InputError: num_particles must be at least 1, not 0
    """
    return at_least(1, name, value)


def at_least(least: int, name: str, value: Any, subject: str | None = None) -> int:
    """Return ``value`` if it is a whole number and not below ``least``.

    >>> at_least(2, "levels", 2.5)
    Traceback (most recent call last):
    pyro_vae.errors.InputError: levels must be a whole number, not 2.5
    """
    try:
        number = operator.index(value)
    except TypeError as error:
        raise must_be(name, "a whole number", value, subject) from error
    if isinstance(value, bool):
        raise must_be(name, "a whole number", value, subject)
    if number < least:
        raise must_be(name, f"at least {least}", value, subject)
    if number >= 2**63:
        raise must_be(name, "below 2**63", value, subject)
    return number


def sizes(name: str, values: Any) -> tuple[int, ...]:
    """Return ``values`` if they are whole numbers of at least 1: a shape, or a size for each layer.

    >>> sizes("hidden_dims", 200)
    Traceback (most recent call last):
    pyro_vae.errors.InputError: hidden_dims must be a sequence of whole numbers, such as (200,), not 200
    """
    if isinstance(values, str) or not isinstance(values, Sequence):
        example = repr((values,)) if isinstance(values, int) else "(64, 32)"
        raise must_be(name, f"a sequence of whole numbers, such as {example}", values)
    return tuple(at_least(1, f"each of {name}", value, subject=name) for value in values)


def true_or_false(name: str, value: Any) -> bool:
    """Return ``value`` if it is True or False.

    >>> true_or_false("keep_best", 3)
    Traceback (most recent call last):
    pyro_vae.errors.InputError: keep_best must be True or False, not 3
    """
    if not isinstance(value, bool):
        raise must_be(name, "True or False", value)
    return value


def positive(name: str, value: Any) -> float:
    """Return ``value`` as a float if it is finite and above 0.

    >>> positive("scale", 0)
    Traceback (most recent call last):
    pyro_vae.errors.InputError: scale must be a positive number, not 0
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:
        raise must_be(name, "a positive number", value)
    return float(value)
