"""The terminal: notes and errors go to standard error, tables to standard output."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

MAX_LINES, MAX_LINE_LENGTH = 6, 600  # of an error message; of a line


def note(text: str) -> None:
    """Print a note to standard error."""
    print(printable(text), file=sys.stderr)


def print_error(message: str) -> None:
    """Print the first lines of an error message to standard error."""
    lines = f"error: {message}".split("\n")[:MAX_LINES]
    print(printable("\n".join(lines)), file=sys.stderr)


def printable(text: str) -> str:
    """Return a text, which may quote a file, in short lines without control characters.

    >>> print(printable("\\x1b[2J" + 1000 * "x")[:12])
    \\x1b[2Jxxxxx
    """
    half = MAX_LINE_LENGTH // 2
    lines = [t if len(t) <= 2 * half else f"{t[:half]} ... {t[-half:]}" for t in text.split("\n")]
    return "\n".join("".join(c if c.isprintable() else ascii(c)[1:-1] for c in t) for t in lines)


def command() -> str:
    """Return how this program was called, for commands that the user may copy."""
    if Path(sys.argv[0]).name == "__main__.py":
        return f"{_short_path(sys.executable)} -m pyro_vae"
    return _short_path(sys.argv[0])


def _short_path(program: str) -> str:
    """Return the program's name alone if the shell finds this program by it."""
    name = Path(program).name
    return name if shutil.which(name) == os.path.abspath(program) else program


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as columns, aligned on the left, two spaces apart.

    >>> print(table([("a", "first"), ("bcd", "second")]))
    a    first
    bcd  second
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
