"""What a refusal says, by the fields of its :class:`InputError` and not by its prose."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pyro_vae import InputError


@contextmanager
def refused(
    subject: str | None = None, *, expected: str = "", remedy: str = ""
) -> Iterator[pytest.ExceptionInfo[InputError]]:
    """Check that the block raises an InputError about ``subject``.

    ``expected`` and ``remedy`` are parts of the error's fields; give one where a subject can be refused
    for several reasons.
    """
    with pytest.raises(InputError) as caught:
        yield caught
    error = caught.value
    assert error.subject == subject, f"{error.subject!r} is at fault: {error}"
    assert expected in (error.expected or ""), f"expected: {error.expected!r}"
    assert remedy in (error.remedy or ""), f"remedy: {error.remedy!r}"
    assert not subject or subject in str(error)


@contextmanager
def refused_with(*words: str) -> Iterator[None]:
    """Check that the block raises an InputError whose text holds some names and numbers.

    It is for errors that a model or a guide raises when it runs: Pyro raises a copy without the fields.
    """
    with pytest.raises(InputError) as caught:
        yield
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"
