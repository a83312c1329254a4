"""Rectangles by place: which may lie near another one, or on a line."""

from collections.abc import Iterable, Iterator
from math import floor

from pyro_vae.graph.layout.scene import XY, Rect

CELL = 128.0  # about a node with its gap


class Near:
    """Hold rectangles in a grid of square cells."""

    def __init__(self, rects: Iterable[Rect]) -> None:
        self._cells: dict[tuple[int, int], list[int]] = {}
        for number, rect in enumerate(rects):
            for cell in _cells(rect):
                self._cells.setdefault(cell, []).append(number)

    def around(self, rect: Rect) -> list[int]:
        """Return the numbers of all rectangles that may overlap with ``rect``, and of a few more."""
        return self._in(_cells(rect))

    def along(self, start: XY, end: XY) -> list[int]:
        """Return the numbers of all rectangles that the line may meet, and of a few more."""
        return self._in(_cells_on(start, end))

    def _in(self, cells: Iterable[tuple[int, int]]) -> list[int]:
        return sorted({number for cell in cells for number in self._cells.get(cell, ())})


def _cells(rect: Rect) -> Iterator[tuple[int, int]]:
    for column in range(floor(rect.left / CELL), floor(rect.right / CELL) + 1):
        for row in range(floor(rect.top / CELL), floor(rect.bottom / CELL) + 1):
            yield column, row


def _cells_on(start: XY, end: XY) -> Iterator[tuple[int, int]]:
    (x0, y0), (x1, y1) = sorted((start, end))
    slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
    for column in range(floor(x0 / CELL), floor(x1 / CELL) + 1):
        inside = max(x0, column * CELL), min(x1, (column + 1) * CELL)
        heights = [y0 + slope * (x - x0) for x in inside] if x1 > x0 else [y0, y1]
        for row in range(floor(min(heights) / CELL), floor(max(heights) / CELL) + 1):
            yield column, row
