"""A node's label and the outline around it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import sqrt

from pyro_vae.graph.graph import RANDOM, Node, Plate, Shape
from pyro_vae.graph.layout.fonts import ASCENT, DASH, LINE, TIMES, printable, text_width
from pyro_vae.graph.layout.mathtext import is_math
from pyro_vae.graph.layout.scene import NodeShape, Rect, Text
from pyro_vae.graph.view import View

SIZES = {"name": 13.0, "detail": 9.5, "mark": 9.0}
MAX_NAMES_WIDTH = 170.0
MIN_SIZE = (44.0, 40.0)
MARGIN = 7.0  # between the label and the outline


@dataclass(frozen=True)
class NodeBox:
    """Hold a node's outline around the origin."""

    node: Node
    outline: str
    width: float
    height: float
    texts: tuple[Text, ...]

    def at(self, x: float, y: float) -> NodeShape:
        half = self.width / 2, self.height / 2
        rect = Rect(x - half[0], y - half[1], x + half[0], y + half[1])
        return NodeShape(self.node, self.outline, rect, tuple(t.moved(x, y) for t in self.texts))


def node_box(node: Node, view: View) -> NodeBox:
    """Return the node's label, centred, in an outline that holds every letter of it."""
    texts = _stacked(list(_lines(node, view)))
    if is_math(node.caption):
        texts = (replace(texts[0], is_math=True), *texts[1:])
    if node.kind in (*RANDOM, "deterministic"):
        width, height, shift = _ellipse_around(texts)
        return NodeBox(node, "ellipse", width, height, tuple(t.moved(0.0, shift) for t in texts))
    width = max(text.width for text in texts) + 2 * MARGIN
    height = texts[-1].rect.bottom - texts[0].rect.top + 2 * MARGIN
    return NodeBox(node, "rectangle", max(width, 30.0), max(height, 26.0), texts)


def plate_label(plate: Plate, view: View) -> str:
    """Return ``data  1797``; with subsampling ``data  64 of 1797``; of an unknown size ``data``."""
    name = printable(plate.name)
    if not view.sizes or plate.size is None:
        return name
    subsampled = plate.subsample_size != plate.size
    size = f"{plate.subsample_size} of {plate.size}" if subsampled else f"{plate.size}"
    return f"{name}  {size}"


def details(node: Node, view: View) -> Iterator[str]:
    """Return the lines below a node's name, as the view asks for them."""
    if node.kind in RANDOM:
        if view.distributions:
            yield f"{node.distribution}{_arguments(node, view)}"
        if view.shapes and (node.batch_shape or node.event_shape):
            yield f"{_shape(node.batch_shape)} | {_shape(node.event_shape)}"
        if view.constraints and node.support:
            yield f"in {node.support}"
    elif node.kind == "data" and view.shapes and node.batch_shape:
        yield _shape(node.batch_shape)
    elif node.kind == "parameters":
        is_network = node.distribution != "Parameter"
        if view.distributions and is_network:
            yield f"{node.distribution}"
        if view.shapes:
            count = f"{node.count:,} parameter" + ("" if node.count == 1 else "s")
            yield count if is_network or not node.batch_shape else _shape(node.batch_shape)
        if view.constraints and node.support:
            yield f"in {node.support}"
    elif view.shapes and (node.batch_shape or node.event_shape):
        yield f"{_shape(node.batch_shape)} | {_shape(node.event_shape)}"


def _arguments(node: Node, view: View) -> str:
    """Return a distribution's arguments in brackets: a constant's number, the names of the others."""
    numbers = dict(zip(node.arguments, node.numbers, strict=False)) if view.numbers else {}
    words = [numbers.get(name) or name for name in node.arguments]
    return f"({', '.join(words)})" if words else ""


def _shape(shape: Shape) -> str:
    return TIMES.join(map(str, shape)) or DASH


def _lines(node: Node, view: View) -> Iterator[tuple[str, str]]:
    for piece in _name_lines(node):
        yield printable(piece), "name"
    for text in details(node, view):
        yield text, "detail"
    if node.marks:
        yield ", ".join(node.marks), "mark"


def _name_lines(node: Node) -> Iterator[str]:
    """Return the name; the names of several parameters or latents in lines of limited width."""
    line = ""
    is_list = node.kind == "parameters" or node.label.startswith("(")
    if is_math(node.caption):
        is_list = False
    for name in node.label.split(", ") if is_list else [node.label]:
        longer = f"{line}, {name}" if line else name
        if line and text_width(longer, SIZES["name"]) > MAX_NAMES_WIDTH:
            yield f"{line},"
            longer = name
        line = longer
    yield line


def _stacked(lines: list[tuple[str, str]]) -> tuple[Text, ...]:
    """Return lines below one another, centred on the origin."""
    baselines, y = [], 0.0
    for i, (_, role) in enumerate(lines):
        y += ASCENT * SIZES[role] if i == 0 else LINE * SIZES[role] + 1
        baselines.append(y)
    middle = (y + 0.12 * SIZES[lines[-1][1]]) / 2
    return tuple(
        Text(text, 0.0, baseline - middle, SIZES[role], role)
        for (text, role), baseline in zip(lines, baselines, strict=True)
    )


def _ellipse_around(texts: tuple[Text, ...]) -> tuple[float, float, float]:
    """Return width and height of the smallest ellipse that holds every line, with a margin.

    The third number is how far the label moves down for it: the widest line belongs in the middle.
    """
    ellipses = []
    for shift in range(-4, 5, 2):
        corners = [
            (t.width / 2 + MARGIN / 2, max(abs(t.rect.top + shift), abs(t.rect.bottom + shift)))
            for t in texts
        ]
        tall = max(y for _, y in corners)
        for stretch in (1.1, 1.2, 1.3, 1.45, 1.6, 1.8):
            half_height = max(tall * stretch + 3, MIN_SIZE[1] / 2)
            half_width = max(x / sqrt(1 - (y / half_height) ** 2) for x, y in corners)
            half_width = max(half_width, half_height, MIN_SIZE[0] / 2)
            ellipses.append((half_width * half_height, abs(shift), half_width, half_height, shift))
    _, _, half_width, half_height, shift = min(ellipses)
    return 2 * half_width, 2 * half_height, float(shift)
