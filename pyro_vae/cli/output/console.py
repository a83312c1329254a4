"""What a person reads: notes and errors on standard error, tables on standard output."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

MOST_LINES, MOST_LETTERS = 6, 600


def note(text: str) -> None:
    print(shown(text), file=sys.stderr)


def fail(message: str) -> None:
    lines = f"error: {message}".split("\n")[:MOST_LINES]
    print(shown("\n".join(lines)), file=sys.stderr)


def shown(text: str) -> str:
    """A text that may quote a file, as a terminal can take it: short lines without control characters.

    >>> print(shown("\\x1b[2J" + 1000 * "x")[:12])
    \\x1b[2Jxxxxx
    """
    cut = MOST_LETTERS // 2
    lines = [t if len(t) <= 2 * cut else f"{t[:cut]} ... {t[-cut:]}" for t in text.split("\n")]
    return "\n".join("".join(c if c.isprintable() else ascii(c)[1:-1] for c in t) for t in lines)


def command() -> str:
    """How this program is called here, for commands that a person is to copy."""
    if Path(sys.argv[0]).name == "__main__.py":
        return f"{_shortest(sys.executable)} -m pyro_vae"
    return _shortest(sys.argv[0])


def _shortest(program: str) -> str:
    """A program's name alone, where the shell finds that very program by it."""
    name = Path(program).name
    return name if shutil.which(name) == os.path.abspath(program) else program


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned on the left, two blanks between them.

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
