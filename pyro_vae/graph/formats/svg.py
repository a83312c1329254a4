"""The picture as SVG: self-contained, selectable text, light and dark, words for screen readers."""

from collections.abc import Iterator
from xml.sax.saxutils import escape

from pyro_vae.graph.layout import Arrow, NodeShape, Panel, PlateShape, Scene, Text
from pyro_vae.graph.layout.fonts import STACK, printable
from pyro_vae.graph.palette import DARK, LIGHT, is_warning

# Colours are written out, once for light and once for dark: few converters know CSS variables.
_SHAPES = """.pv{{font-family:{stack}}}
.pv .mark{{font-style:italic}} .pv .heading{{font-weight:bold}}
.pv .shape{{stroke-width:1.2}} .pv .parameters .shape,.pv .data .shape{{stroke-width:1}}
.pv .inner{{fill:none;stroke-width:.8}} .pv .warn .shape{{stroke-width:2}}
.pv .rect{{fill:none;stroke-width:1}} .pv .loop,.pv .untracked{{stroke-dasharray:5 3}}
.pv .edge{{fill:none;stroke-width:1.1}} .pv .declared{{stroke-dasharray:1.5 2.5}}"""
_COLORS = """.pv text{{fill:{ink}}}
.pv .detail,.pv .plate,.pv .lag,.pv .mark{{fill:{quiet}}}
.pv .note,.pv .warn .mark{{fill:{warn}}} .pv .bg{{fill:{paper}}}
.pv .shape{{fill:{paper};stroke:{ink}}} .pv .shaded{{fill:{shade}}} .pv .inner{{stroke:{ink}}}
.pv .factor .shape{{fill:{ink}}} .pv .factor text{{fill:{paper}}}
.pv .parameters .shape{{stroke:{quiet}}} .pv .warn .shape{{stroke:{warn}}}
.pv .rect{{stroke:{line}}} .pv .edge{{stroke:{ink}}} .pv .head{{fill:{ink}}}
.pv .edge.soft{{stroke:{quiet}}} .pv .head.soft{{fill:{quiet}}}
.pv .edge.untracked{{stroke:{warn}}} .pv .head.untracked{{fill:{warn}}}"""


def svg(scene: Scene) -> str:
    """One ``<svg>`` element, the same bytes for the same scene."""
    return "\n".join(_document(scene)) + "\n"


def _document(scene: Scene) -> Iterator[str]:
    width, height = _number(scene.width), _number(scene.height)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" class="pv">'
    )
    yield f"<title>{_text(scene.title)}</title>"
    yield f"<desc>{_text(scene.description)}</desc>"
    shapes = _SHAPES.format(stack=STACK)
    light, dark = (_COLORS.format(**palette) for palette in (LIGHT, DARK))
    yield f"<style>{shapes}\n{light}\n@media (prefers-color-scheme:dark){{{dark}}}</style>"
    yield f'<rect class="bg" width="{width}" height="{height}"/>'
    for panel in scene.panels:
        yield from _panel(panel)
    for note in scene.notes:
        yield _label(note)
    yield "</svg>"


def _panel(panel: Panel) -> Iterator[str]:
    yield f'<g class="{panel.name}">'
    if panel.heading:
        yield _label(panel.heading)
    for plate in panel.plates:
        yield from _plate(plate)
    kinds = {shape.node.name: shape.node.kind for shape in panel.nodes}
    for arrow in panel.arrows:
        yield from _arrow(arrow, kinds[arrow.edge.source] == "parameters")
    for shape in panel.nodes:
        yield from _node(shape)
    for plate in panel.plates:
        yield _label(plate.text)
    yield "</g>"


def _plate(shape: PlateShape) -> Iterator[str]:
    r = shape.rect
    loop = " loop" if shape.plate.sequential else ""
    yield (
        f'<rect class="rect{loop}" x="{_number(r.left)}" y="{_number(r.top)}" '
        f'width="{_number(r.width)}" height="{_number(r.height)}" rx="8"/>'
    )


def _node(shape: NodeShape) -> Iterator[str]:
    node = shape.node
    warn = " warn" if is_warning(node) else ""
    yield f'<g class="{node.kind}{warn}">'
    shaded = node.kind in ("observed", "data")
    yield _outline(shape, "shape shaded" if shaded else "shape")
    if node.kind == "partially_observed":
        yield _half(shape)
        yield _outline(shape, "inner")
    if node.kind == "deterministic":
        yield _outline(shape, "inner", -3.0)
    for text in shape.texts:
        yield _label(text)
    yield "</g>"


def _outline(shape: NodeShape, cls: str, grow: float = 0.0) -> str:
    (x, y), r = shape.center, shape.rect.grown(grow)
    if shape.outline == "ellipse":
        return (
            f'<ellipse class="{cls}" cx="{_number(x)}" cy="{_number(y)}" '
            f'rx="{_number(r.width / 2)}" ry="{_number(r.height / 2)}"/>'
        )
    return (
        f'<rect class="{cls}" x="{_number(r.left)}" y="{_number(r.top)}" '
        f'width="{_number(r.width)}" height="{_number(r.height)}" rx="3"/>'
    )


def _half(shape: NodeShape) -> str:
    """The left half of an ellipse, shaded."""
    (x, _), r = shape.center, shape.rect
    radii = f"{_number(r.width / 2)} {_number(r.height / 2)}"
    return (
        f'<path class="shaded" d="M{_number(x)} {_number(r.top)}'
        f'A{radii} 0 0 0 {_number(x)} {_number(r.bottom)}Z"/>'
    )


def _arrow(arrow: Arrow, soft: bool) -> Iterator[str]:
    cls = arrow.edge.how if arrow.edge.how != "tracked" else "soft" if soft else "hard"
    start, *rest = arrow.path
    steps = "".join(("L" if len(s) == 1 else "Q") + " ".join(map(_point, s)) for s in rest)
    ends = f"<title>{_text(_why(arrow))}</title>"
    yield f'<path class="edge {cls}" d="M{_point(start[0])}{steps}">{ends}</path>'
    tip = " ".join(map(_point, arrow.head))
    yield f'<polygon class="head {cls}" points="{tip}"/>'
    if arrow.text:
        r = arrow.text.rect.grown(1.5)
        yield (
            f'<rect class="bg" x="{_number(r.left)}" y="{_number(r.top)}" '
            f'width="{_number(r.width)}" height="{_number(r.height)}"/>'
        )
        yield _label(arrow.text)


def _why(arrow: Arrow) -> str:
    edge = arrow.edge
    how = "" if edge.how == "tracked" else f" ({edge.how})"
    return f"{edge.source} → {edge.target}" + (f": {', '.join(edge.via)}" if edge.via else "") + how


def _label(text: Text) -> str:
    anchor = f' text-anchor="{text.anchor}"' if text.anchor != "start" else ""
    fit = ""
    if text.width > 12:  # what stands in for the font takes the same room
        fit = f' textLength="{_number(text.width)}" lengthAdjust="spacingAndGlyphs"'
    return (
        f'<text class="{text.role}" x="{_number(text.x)}" y="{_number(text.y)}" '
        f'font-size="{_number(text.size)}" xml:space="preserve"{anchor}{fit}>{_text(text.text)}</text>'
    )


def _point(point: tuple[float, float]) -> str:
    return f"{_number(point[0])} {_number(point[1])}"


def _number(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _text(text: str) -> str:
    return escape(printable(text))
