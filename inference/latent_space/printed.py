"""Tables in words."""

from collections.abc import Sequence
from typing import Any

MAX_COLUMNS = 8  # of the data in print


def number(value: Any) -> str:
    """Return a cell in words, numbers with four digits.

    >>> number(3.14159), number("cook"), number(12), number(123456.0)
    ('3.142', 'cook', '12', '123456')
    """
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def text_table(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells in columns, the first of them the headings.

    >>> print(text_table([["step", "x"], ["0", "1.5"]]))
    step    x
       0  1.5
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
