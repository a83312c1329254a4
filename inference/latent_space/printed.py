"""Tables in words."""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

MAX_COLUMNS = 8  # of the data in print


def number(value: Any) -> str:
    """Return a cell in words, numbers with four digits.

    >>> number(3.14159), number("cook"), number(12), number(123456.0)
    ('3.142', 'cook', '12', '123456')
    """
    if not isinstance(value, numbers.Real) or isinstance(value, int):
        return str(value)
    value = float(value)
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


def beside(
    figures: Mapping[str, Sequence[Any]], cells: Mapping[str, Sequence[Any]]
) -> dict[str, Sequence[Any]]:
    """Return the columns of two tables; of the second with other names where the first has them, too.

    >>> beside({"step": [0]}, {"step": [7], "x": [1]})
    {'step': [0], 'step_': [7], 'x': [1]}
    """
    found = dict(figures)
    for name, column in cells.items():
        unused = name
        while unused in found:
            unused += "_"
        found[unused] = column
    return found


def first_of(cells: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Return the columns that print has room for."""
    return {name: cells[name] for name in list(cells)[:MAX_COLUMNS]}


def lines_of(columns: Mapping[str, Sequence[Any]]) -> list[list[str]]:
    """Return a table's headings, and its rows in words.

    >>> lines_of({"x": [1.5, 2.0], "job": ["cook", "clerk"]})
    [['x', 'job'], ['1.5', 'cook'], ['2', 'clerk']]
    """
    cells = [[number(value) for value in column] for column in columns.values()]
    return [list(columns), *map(list, zip(*cells, strict=True))]
