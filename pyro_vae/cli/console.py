"""What a person reads: notes and errors on standard error, tables on standard output."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path


def note(text: str) -> None:
    print(text, file=sys.stderr)


def fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)


def command() -> str:
    """How this program is called here, for commands that a person is to copy."""
    name = Path(sys.argv[0]).name
    if name == "__main__.py":
        return f"{Path(sys.executable).name} -m pyro_vae"
    return name if shutil.which(name) else sys.argv[0]


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
