"""Labels with mathematics between dollar signs: their width, their outline, and their words without it.

matplotlib sets them, in DejaVu Sans like all other texts. It is imported for such labels only.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from pyro_vae.graph.layout.fonts import FAMILY

_FONTS = {
    "mathbf",
    "mathrm",
    "mathit",
    "mathsf",
    "mathtt",
    "mathcal",
    "boldsymbol",
    "text",
    "mathbb",
}
_COMMAND = re.compile(r"\\([A-Za-z]+)\s*|[{}]|\\(.)")


def is_math(text: str) -> bool:
    """Return whether a label has mathematics in it."""
    return "$" in text


@functools.lru_cache(maxsize=4096)
def math_width(text: str, size: float) -> float:
    """Return the width of a label at ``size``, in the unit of ``size``.

    Raises:
        ValueError: matplotlib cannot read it.
    """
    with _defaults():
        from matplotlib.font_manager import FontProperties
        from matplotlib.mathtext import MathTextParser

        font = FontProperties(family=FAMILY, size=size)
        return float(MathTextParser("path").parse(text, 72, font)[0])


def math_outline(text: str, size: float) -> str:
    """Return the letters of a label as the path of an SVG, from its left end on the baseline; y is down."""
    with _defaults():
        from matplotlib.font_manager import FontProperties
        from matplotlib.textpath import TextPath

        path = TextPath((0, 0), text, prop=FontProperties(family=FAMILY, size=size))
        return "".join(_steps(path))


def _steps(path: Any) -> Iterator[str]:
    letters = {path.MOVETO: "M", path.LINETO: "L", path.CURVE3: "Q", path.CURVE4: "C"}
    for points, code in path.iter_segments(curves=True, simplify=False):
        if code == path.CLOSEPOLY:
            yield "Z"
            continue
        pairs = zip(points[::2], points[1::2], strict=True)
        yield letters[code] + " ".join(f"{x:.2f} {-y:.2f}" for x, y in pairs)


def _defaults() -> Any:
    """Set matplotlib's own fonts of mathematics while the label is read, whatever the user has set."""
    import matplotlib as mpl

    return mpl.rc_context({"mathtext.fontset": "dejavusans", "mathtext.default": "it"})


def plain(text: str) -> str:
    r"""Return a label as plain text, with Greek letters and without the signs of mathematics.

    >>> plain(r"$\mu_j$"), plain(r"rate $\mathbf{x}^2$"), plain(r"$\hat{\lambda}$")
    ('μ_j', 'rate x^2', 'hat λ')
    """
    parts = text.split("$")
    return "".join(_COMMAND.sub(_word, p) if i % 2 else p for i, p in enumerate(parts))


def _word(match: re.Match[str]) -> str:
    name, sign = match[1], match[2]
    if sign:
        return sign if sign in "$%&#_{}" else " "
    if not name or name in _FONTS:
        return ""
    letter = "LAMDA" if name.lower() == "lambda" else name.removeprefix("var").upper()
    size = "CAPITAL" if name[0].isupper() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {size} LETTER {letter}")
    except KeyError:
        return f"{name} "
