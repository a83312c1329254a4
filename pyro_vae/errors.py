"""What a person can put right: one error type, one clear sentence."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something handed to pyro_vae does not fit; the message says what would.

    The command line prints the message and ends with exit code 2.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'digits'?"`` where a known name is close, else the list of known names.

    >>> nearest("digit", ["digits", "mnist"])
    "; did you mean 'digits'?"
    >>> nearest("zzz", ["digits", "mnist"])
    '; known: digits, mnist'
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
