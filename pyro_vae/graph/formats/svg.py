"""The picture as SVG: self-contained, selectable text, light and dark, words for screen readers."""

from collections.abc import Iterator
from contextlib import contextmanager
from xml.sax.saxutils import escape

from pyro_vae.graph.formats.painter import Painter, paint
from pyro_vae.graph.graph import Edge
from pyro_vae.graph.layout import XY, Arrow, NodeShape, PlateShape, Rect, Scene, Text
from pyro_vae.graph.layout.fonts import STACK, printable
from pyro_vae.graph.layout.mathtext import math_outline
from pyro_vae.graph.palette import DARK, LIGHT

# Colours are written out, once for light and once for dark: few converters know CSS variables.
_SHAPES = """.pv{{font-family:{stack}}}
.pv .mark{{font-style:italic}} .pv .heading{{font-weight:bold}}
.pv .shape{{stroke-width:1.2}} .pv .parameters .shape,.pv .data .shape{{stroke-width:1}}
.pv .inner{{fill:none;stroke-width:.8}} .pv .warn .shape{{stroke-width:2}}
.pv .rect{{fill:none;stroke-width:1}} .pv .loop,.pv .untracked{{stroke-dasharray:5 3}}
.pv .edge{{fill:none;stroke-width:1.1}} .pv .declared{{stroke-dasharray:1.5 2.5}}"""
_COLORS = """.pv text,.pv .math{{fill:{ink}}}
.pv .detail,.pv .plate,.pv .lag,.pv .mark{{fill:{quiet}}}
.pv .note,.pv .warn .mark{{fill:{warn}}} .pv .bg{{fill:{paper}}}
.pv .shape{{fill:{paper};stroke:{ink}}} .pv .shaded{{fill:{shade}}} .pv .inner{{stroke:{ink}}}
.pv .factor .shape{{fill:{ink}}} .pv .factor text,.pv .factor .math{{fill:{paper}}}
.pv .parameters .shape{{stroke:{quiet}}} .pv .warn .shape{{stroke:{warn}}}
.pv .rect{{stroke:{line}}} .pv .edge{{stroke:{ink}}} .pv .head{{fill:{ink}}}
.pv .edge.soft{{stroke:{quiet}}} .pv .head.soft{{fill:{quiet}}}
.pv .edge.untracked{{stroke:{warn}}} .pv .head.untracked{{fill:{warn}}}"""


def svg(scene: Scene) -> str:
    """Return one ``<svg>`` element, the same bytes for the same scene."""
    painter = _SvgPainter()
    paint(scene, painter)
    width, height = _number(scene.width), _number(scene.height)
    shapes = _SHAPES.format(stack=STACK)
    light, dark = (_COLORS.format(**palette) for palette in (LIGHT, DARK))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" class="pv">',
        f"<title>{_escaped(scene.title)}</title>",
        f"<desc>{_escaped(scene.description)}</desc>",
        f"<style>{shapes}\n{light}\n@media (prefers-color-scheme:dark){{{dark}}}</style>",
        f'<rect class="bg" width="{width}" height="{height}"/>',
    )
    return "\n".join((*head, *painter.lines, "</svg>", ""))


class _SvgPainter(Painter):
    """Write elements whose classes the style sheet knows: the reader's screen decides the colours."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def group(self, name: str) -> Iterator[None]:
        self.lines.append(f'<g class="{name}">')
        yield
        self.lines.append("</g>")

    def plate(self, plate: PlateShape) -> None:
        self.lines.append(_rect(plate.rect, "rect loop" if plate.plate.sequential else "rect", 8))

    def outline(self, shape: NodeShape) -> None:
        kind = shape.node.kind
        self.lines.append(
            _outline(shape, "shape shaded" if kind in ("observed", "data") else "shape")
        )
        if kind == "partially_observed":
            self.lines += [_left_half(shape), _outline(shape, "inner")]
        if kind == "deterministic":
            self.lines.append(_outline(shape, "inner", -3.0))

    def arrow(self, arrow: Arrow, color: str) -> None:
        how = arrow.edge.how
        cls = how if how != "tracked" else "soft" if color == "quiet" else "hard"
        start, *rest = arrow.path
        steps = "".join(("L" if len(s) == 1 else "Q") + " ".join(map(_point, s)) for s in rest)
        title = f"<title>{_escaped(_explained(arrow.edge))}</title>"
        self.lines.append(f'<path class="edge {cls}" d="M{_point(start[0])}{steps}">{title}</path>')
        corners = " ".join(map(_point, arrow.head))
        self.lines.append(f'<polygon class="head {cls}" points="{corners}"/>')

    def text(self, text: Text, color: str, *, covers: bool = False) -> None:
        if covers:
            self.lines.append(_rect(text.rect.grown(1.5), "bg"))
        if text.is_math:
            place = f"{_number(text.rect.left)} {_number(text.y)}"
            self.lines.append(
                f'<path class="math {text.role}" transform="translate({place})" '
                f'd="{math_outline(text.text, text.size)}"/>'
            )
            return
        anchor = f' text-anchor="{text.anchor}"' if text.anchor != "start" else ""
        fit = ""
        if text.width > 12:  # a substitute for the font takes the same room
            fit = f' textLength="{_number(text.width)}" lengthAdjust="spacingAndGlyphs"'
        self.lines.append(
            f'<text class="{text.role}" x="{_number(text.x)}" y="{_number(text.y)}" '
            f'font-size="{_number(text.size)}" xml:space="preserve"{anchor}{fit}>'
            f"{_escaped(text.text)}</text>"
        )


def _rect(rect: Rect, cls: str, radius: int = 0) -> str:
    rounded = f' rx="{radius}"' if radius else ""
    return (
        f'<rect class="{cls}" x="{_number(rect.left)}" y="{_number(rect.top)}" '
        f'width="{_number(rect.width)}" height="{_number(rect.height)}"{rounded}/>'
    )


def _outline(shape: NodeShape, cls: str, grow: float = 0.0) -> str:
    (x, y), rect = shape.center, shape.rect.grown(grow)
    if shape.outline != "ellipse":
        return _rect(rect, cls, 3)
    return (
        f'<ellipse class="{cls}" cx="{_number(x)}" cy="{_number(y)}" '
        f'rx="{_number(rect.width / 2)}" ry="{_number(rect.height / 2)}"/>'
    )


def _left_half(shape: NodeShape) -> str:
    (x, _), rect = shape.center, shape.rect
    radii = f"{_number(rect.width / 2)} {_number(rect.height / 2)}"
    return (
        f'<path class="shaded" d="M{_number(x)} {_number(rect.top)}'
        f'A{radii} 0 0 0 {_number(x)} {_number(rect.bottom)}Z"/>'
    )


def _explained(edge: Edge) -> str:
    """Return what a pointer on the edge shows: from where to where, and how."""
    how = "" if edge.how == "tracked" else f" ({edge.how})"
    return f"{edge.source} → {edge.target}" + (f": {', '.join(edge.via)}" if edge.via else "") + how


def _point(point: XY) -> str:
    return f"{_number(point[0])} {_number(point[1])}"


def _number(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _escaped(text: str) -> str:
    return escape(printable(text))
