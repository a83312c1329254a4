"""Results as a notebook shows them: HTML tables in the reader's own colours, with every text escaped."""

import re
from collections.abc import Iterable, Sequence
from html import escape

_NUMBER = re.compile(r"\(?[-+]?\d[\d,.]*(e[-+]?\d+)?\)?|-|nan|")
_TABLE = "border-collapse:collapse;color:inherit;background:transparent;margin:.4em 0"
_CAPTION = "font-weight:bold;margin:.4em 0 0"
_CELL = "padding:.15em .7em;vertical-align:top;white-space:normal;text-align:"
_NOTE = "max-width:60em;white-space:pre-line;margin:.3em 0"


def table(
    rows: Iterable[Sequence[str]],
    headings: Sequence[str] = (),
    caption: str = "",
    notes: Iterable[str] = (),
    warnings: Iterable[str] = (),
) -> str:
    """Return an HTML table with notes below it, and warnings above.

    Columns of numbers stand on the right, all others on the left. The colours are those of the page, light
    or dark, and nothing is loaded.

    Args:
        rows: the cells, row by row.
        headings: one for each column.
        caption: what the table is of.
        notes: sentences, a paragraph each.
        warnings: likewise.

    >>> "a &lt; b" in table([("a < b", "0.3")])
    True
    """
    lines = [list(row) for row in rows]
    sides = [_side(column) for column in zip(*lines, strict=True)] or ["left"] * len(headings)
    head = _row("th", headings, sides) if headings else ""
    body = "".join(_row("td", line, sides) for line in lines)
    return (
        (f'<p style="{_CAPTION}">{escape(caption)}</p>' if caption else "")
        + "".join(f'<p style="{_CAPTION}">warning: {escape(each)}</p>' for each in warnings)
        + f'<table style="{_TABLE}">'
        + (f"<thead>{head}</thead>" if head else "")
        + f"<tbody>{body}</tbody></table>"
        + "".join(f'<p style="{_NOTE}">{escape(note)}</p>' for note in notes)
    )


def _side(column: Sequence[str]) -> str:
    return "right" if all(map(_NUMBER.fullmatch, column)) else "left"


def _row(tag: str, cells: Sequence[str], sides: Sequence[str]) -> str:
    pairs = zip(cells, sides, strict=True)
    inner = "".join(f'<{tag} style="{_CELL}{side}">{escape(cell)}</{tag}>' for cell, side in pairs)
    return f"<tr>{inner}</tr>"
