"""How wide a text is, by the font's own tables.

The font is DejaVu Sans, which matplotlib brings.
"""

import functools
import unicodedata
from importlib.util import find_spec
from pathlib import Path

FAMILY = "DejaVu Sans"
# Its substitutes, where it is not installed, are about as wide; SVG texts carry their length as well.
STACK = "'DejaVu Sans', 'Bitstream Vera Sans', Verdana, sans-serif"
MINUS, TIMES, DASH = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
LINE = 1.25  # of the size, from one baseline to the next
ASCENT = 0.76  # of the size: the height of capitals and letters such as b, d, h


@functools.lru_cache(maxsize=4096)  # the layout asks for each label dozens of times
def text_width(text: str, size: float) -> float:
    """Return the width of ``text`` in DejaVu Sans at ``size``, in the unit of ``size``.

    >>> text_width("ii", 10.0) < text_width("mm", 10.0)
    True
    """
    advances, units = _advances()
    return sum(advances.get(ord(c), _without_glyph(c, units)) for c in text) * size / units


def _without_glyph(character: str, units: int) -> float:
    """Return a substitute font's advance: 0 for a combining mark, otherwise a square at most."""
    return 0.0 if unicodedata.combining(character) else 1.1 * units


@functools.cache
def _advances() -> tuple[dict[int, int], int]:
    """Return the advance of each code point, and the units of one em."""
    from fontTools.ttLib import TTFont  # a dependency of matplotlib; takes 30 ms to import

    with TTFont(_font_file(), lazy=True) as font:
        advances = font["hmtx"].metrics
        glyphs = font.getBestCmap().items()
        return {code: advances[glyph][0] for code, glyph in glyphs}, font["head"].unitsPerEm


def _font_file() -> Path:
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


def printable(text: str) -> str:
    """Return one line: line breaks as spaces, and a sign in place of what no font can print.

    >>> printable("a\\nb")
    'a b'
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
