"""Rectangles by place: which may lie near another one, or on a line."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from math import floor

from pyro_vae.graph.layout.scene import XY, Rect

BAND = 128.0  # about the height of a row with its gap


class Near:
    """Hold rectangles in horizontal bands, in each from left to right."""

    def __init__(self, rects: Sequence[Rect]) -> None:
        bands: dict[int, list[int]] = {}
        for number, rect in enumerate(rects):
            for band in _bands(rect.top, rect.bottom):
                bands.setdefault(band, []).append(number)
        for numbers in bands.values():
            numbers.sort(key=lambda number: rects[number].left)
        self._bands = bands
        self._lefts = {b: [rects[i].left for i in numbers] for b, numbers in bands.items()}
        self._widest = {b: max(rects[i].width for i in numbers) for b, numbers in bands.items()}

    def around(self, rect: Rect) -> list[int]:
        """Return the numbers of all rectangles that may overlap with ``rect``, and of a few more."""
        return self._within((b, rect.left, rect.right) for b in _bands(rect.top, rect.bottom))

    def along(self, start: XY, end: XY) -> list[int]:
        """Return the numbers of all rectangles that the line may meet, and of a few more."""
        return self._within(_pieces(start, end))

    def _within(self, pieces: Iterable[tuple[int, float, float]]) -> list[int]:
        """Return what lies in these pieces of bands: a band, its left and its right end."""
        found: set[int] = set()
        for band, left, right in pieces:
            if band in self._bands:
                lefts = self._lefts[band]
                first = bisect_left(lefts, left - self._widest[band])
                found.update(self._bands[band][first : bisect_right(lefts, right)])
        return sorted(found)


def _bands(top: float, bottom: float) -> range:
    return range(floor(top / BAND), floor(bottom / BAND) + 1)


def _pieces(start: XY, end: XY) -> Iterator[tuple[int, float, float]]:
    """Return the bands that a line passes, with its leftmost and rightmost point in each."""
    (x0, y0), (x1, y1) = sorted((start, end), key=lambda point: point[1])
    for band in _bands(y0, y1):
        xs = [x0, x1]
        if y1 > y0:
            ys = max(y0, band * BAND), min(y1, (band + 1) * BAND)
            xs = [x0 + (x1 - x0) * (y - y0) / (y1 - y0) for y in ys]
        yield band, min(xs) - 1e-6, max(xs) + 1e-6
