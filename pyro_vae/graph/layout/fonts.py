"""How wide a text is, by the font's own tables.

The font is DejaVu Sans, which matplotlib brings. Only the tables of characters and advances are read.
"""

import functools
import struct
import unicodedata
from importlib.util import find_spec
from pathlib import Path

FAMILY = "DejaVu Sans"
# What stands in where it is not installed is about as wide; SVG texts carry their length as well.
STACK = "'DejaVu Sans', 'Bitstream Vera Sans', Verdana, sans-serif"
MINUS, TIMES, DASH = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
LINE = 1.25  # of the size, from one baseline to the next
ASCENT = 0.76  # of the size: the height of capitals and letters such as b, d, h


def text_width(text: str, size: float) -> float:
    """The width of ``text`` in DejaVu Sans at ``size``, in the unit of ``size``.

    >>> text_width("ii", 10.0) < text_width("mm", 10.0)
    True
    """
    advances, units = _advances()
    return sum(advances.get(ord(c), _without_glyph(c, units)) for c in text) * size / units


def _without_glyph(character: str, units: int) -> float:
    """A substitute font's glyph: nothing for a combining mark, else at most a square."""
    return 0.0 if unicodedata.combining(character) else 1.1 * units


@functools.cache
def _advances() -> tuple[dict[int, int], int]:
    """Code point -> advance, and the units of one em."""
    tables = _tables(_font_file().read_bytes())
    units = struct.unpack_from(">H", tables["head"], 18)[0]
    count = struct.unpack_from(">H", tables["hhea"], 34)[0]
    advances = struct.unpack_from(">" + "Hh" * count, tables["hmtx"])[::2]
    glyphs = _characters(tables["cmap"])
    return {code: advances[min(glyph, count - 1)] for code, glyph in glyphs.items()}, units


def _font_file() -> Path:
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


def _tables(font: bytes) -> dict[str, bytes]:
    number = struct.unpack_from(">H", font, 4)[0]
    found = {}
    for i in range(number):
        tag, _, start, length = struct.unpack_from(">4sIII", font, 12 + 16 * i)
        found[tag.decode()] = font[start : start + length]
    return found


def _characters(cmap: bytes) -> dict[int, int]:
    """Code point -> glyph, from the table's format 12 (all of Unicode, in runs)."""
    number = struct.unpack_from(">H", cmap, 2)[0]
    found: dict[int, int] = {}
    for i in range(number):
        start = struct.unpack_from(">I", cmap, 8 + 8 * i)[0]
        if struct.unpack_from(">H", cmap, start)[0] != 12:
            continue
        runs = struct.unpack_from(">I", cmap, start + 12)[0]
        for first, last, glyph in struct.iter_unpack(
            ">III", cmap[start + 16 : start + 16 + 12 * runs]
        ):
            found.update(
                zip(range(first, last + 1), range(glyph, glyph + last - first + 1), strict=True)
            )
    return found


def printable(text: str) -> str:
    """One line: line breaks as spaces, and a sign in place of what no font can print.

    >>> printable("a\\nb")
    'a b'
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
