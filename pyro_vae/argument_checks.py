"""The check of a call's arguments: each has a check, which says what was expected and what to pass."""

import math
import numbers
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from numpy import ndarray
from torch import Tensor

from pyro_vae.errors import InputError, at_least, must_be

Check = Callable[[str, Any], object]
"""Takes the name and the value of an argument, and raises InputError if the value does not fit."""

SEED = "a whole number from 0 to 2**32 - 1"  # what every generator takes


def check_arguments(checks: Mapping[str, Check], values: Mapping[str, Any]) -> None:
    """Check arguments that have defaults.

    Args:
        checks: a check for each name.
        values: the arguments, such as ``locals()`` at the start of a function.

    Raises:
        InputError: one does not fit; the remedy is the value that was probably meant, or the default.

    >>> from pyro_vae.errors import at_least_1
    >>> check_arguments({"epochs": optional(at_least_1)}, {"epochs": "3"})
    Traceback (most recent call last):
    pyro_vae.errors.InputError: epochs must be a whole number, not '3'. Pass epochs=3
    """
    for name, check in checks.items():
        try:
            check(name, values[name])
        except InputError as error:
            if error.remedy:
                raise
            remedy = _probable(check, name, values[name]) or f"leave {name} out for the default"
            raise InputError(
                error.problem, subject=name, expected=error.expected, remedy=remedy
            ) from None


def _probable(check: Check, name: str, value: Any) -> str | None:
    """Return in words the value that fits and was probably meant: 3 where it is "3" or 3.0."""
    for candidate in _meant_by(value):
        try:
            check(name, candidate)
        except InputError:
            continue
        return f"pass {name}={candidate!r}"
    return None


def _meant_by(value: Any) -> Iterator[float | bool]:
    """Yield what a text, a tensor or a number may stand for."""
    try:
        found = float(value)
    except (ValueError, TypeError, RuntimeError, OverflowError):
        return
    if found.is_integer():
        yield int(found)
    yield found
    if found in (0, 1):
        yield bool(found)


@contextmanager
def naming(argument: str) -> Iterator[None]:
    """Give errors about the data that the block raises the name of the argument that holds them."""
    try:
        yield
    except InputError as error:
        if error.subject != "data":
            raise
        raise InputError(
            f"{argument}: {error.problem}",
            subject=argument,
            expected=error.expected,
            remedy=error.remedy,
        ) from error


# --- checks ---------------------------------------------------------------------------------

at_least_2: Check = partial(at_least, 2)


def optional(check: Check) -> Check:
    """Return a check that also accepts None, the default."""

    def check_unless_none(name: str, value: Any) -> object:
        return None if value is None else check(name, value)

    return check_unless_none


def suggesting(remedy: str, check: Check) -> Check:
    """Return a check whose errors have this remedy."""

    def check_and_suggest(name: str, value: Any) -> object:
        try:
            return check(name, value)
        except InputError as error:
            raise InputError(
                error.problem, subject=name, expected=error.expected, remedy=remedy
            ) from None

    return check_and_suggest


def number(name: str, value: Any, least: float | None = None) -> float:
    """Return a value as a float.

    Raises:
        InputError: it is not a finite number, or below ``least``.

    >>> number("beta", -1, least=0)
    Traceback (most recent call last):
    pyro_vae.errors.InputError: beta must be a finite number of at least 0, not -1
    """
    expected = "a finite number" + ("" if least is None else f" of at least {least:g}")
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not abs(value) < math.inf or (least is not None and value < least):
        raise must_be(name, expected, value)
    return float(value)


not_negative: Check = partial(number, least=0)


def seed(name: str, value: Any) -> int:
    """Return a seed that every generator takes."""
    try:
        checked = at_least(0, name, value)
    except InputError:
        checked = 2**32
    if checked >= 2**32:
        raise must_be(name, SEED, value, remedy=f"pass {name}=0, say")
    return checked


def one_of(*choices: str) -> Check:
    """Return a check that a value is one of some words."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, str) or value not in choices:
            raise must_be(name, f"one of {', '.join(map(repr, choices))}", value)

    return check


def instance(kind: type | tuple[type, ...], expected: str) -> Check:
    """Return a check that a value is of a class."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, kind):
            is_class = isinstance(value, type) and issubclass(value, kind)
            raise must_be(
                name, expected, value, remedy=f"pass {value.__name__}()" if is_class else None
            )

    return check


def number_or(kind: type, expected: str) -> Check:
    """Return a check that a value is of a class, or a finite number of at least 0."""

    def check(name: str, value: Any) -> None:
        if isinstance(value, kind):
            return
        try:
            not_negative(name, value)
        except InputError as error:
            raise must_be(name, f"{error.expected}, or {expected}", value) from None

    return check


def each(check: Check, expected: str, least: int = 0) -> Check:
    """Return a check that a value is a sequence of at least ``least`` members, and that they fit."""

    def check_each(name: str, values: Any) -> None:
        members = values.tolist() if isinstance(values, Tensor | ndarray) else values
        is_sequence = isinstance(members, Sequence) and not isinstance(members, str | bytes)
        if not is_sequence or len(members) < least:
            raise must_be(name, expected, values)
        try:
            for member in members:
                check(name, member)
        except InputError:
            raise must_be(name, expected, values) from None

    return check_each


def function(name: str, value: Any) -> None:
    """Check that a value can be called."""
    if not callable(value):
        raise must_be(name, "a function", value)


def path(name: str, value: Any) -> None:
    """Check that a value names a file or a folder."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise must_be(name, "a path", value)


text: Check = instance(str, "a text")
mapping: Check = instance(Mapping, "a dict")
plate: Check = instance(str, "the name of a plate")
texts: Check = each(text, "a list of texts")
