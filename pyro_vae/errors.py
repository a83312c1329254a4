"""Errors that the user can correct, reported in one sentence."""

import difflib
import math
import numbers
import operator
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LIBRARIES = {"torch", "pyro", "numpy", "zuko", *sys.stdlib_module_names}


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


def _user_frame(error: Exception) -> traceback.FrameSummary | None:
    """Return the innermost line of user code in a traceback, or None if pyro_vae was called after it."""
    frame = None
    for raw, line in traceback.walk_tb(error.__traceback__):
        module = str(raw.f_globals.get("__name__", "")).partition(".")[0]
        if module == "pyro_vae":
            frame = None
        elif module not in LIBRARIES or module == "__main__":
            frame = traceback.FrameSummary(raw.f_code.co_filename, line, raw.f_code.co_name)
    return frame


@contextmanager
def report_user_errors() -> Iterator[None]:
    """Turn an exception that user code raises in the block into an InputError; pass on all others."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        frame = _user_frame(error)
        if frame is None:
            raise
        reason = first_line(error)
        place = f"line {frame.lineno} of {Path(frame.filename).name}"
        raise InputError(
            f"the program raised {type(error).__name__}: {reason} ({place}: `{frame.line}`)",
            subject=place,
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


def nearest(name: object, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'digits'?"`` if a known name is close, otherwise the known names.

    >>> nearest("digit", ["digits", "mnist"])
    "; did you mean 'digits'?"
    >>> nearest("zzz", ["digits", "mnist"])
    '; known: digits, mnist'
    """
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


MAX_SHOWN = 60  # characters of a value in a message


def must_be(
    name: str, expected: str, value: Any, subject: str | None = None, remedy: str | None = None
) -> InputError:
    """Return the error for an argument whose value is not what was expected.

    >>> must_be("rank", "a whole number", "two").subject
    'rank'
    """
    shown = " ".join(repr(value).split())
    if len(shown) > MAX_SHOWN:
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
