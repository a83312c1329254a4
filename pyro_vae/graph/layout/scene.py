"""A picture as shapes and texts with places: what every format paints, and what tests measure.

Lengths are in points, x runs to the right and y down.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import hypot

from pyro_vae.graph.graph import Edge, Node, Plate
from pyro_vae.graph.layout.fonts import ASCENT, text_width
from pyro_vae.graph.layout.mathtext import math_width

XY = tuple[float, float]
HEAD = (7.5, 3.0)  # an arrow head's length and half width


@dataclass(frozen=True)
class Rect:
    """Hold an upright rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def grown(self, by: float) -> "Rect":
        return Rect(self.left - by, self.top - by, self.right + by, self.bottom + by)

    def overlaps(self, other: "Rect") -> bool:
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.bottom <= other.top or other.bottom <= self.top)

    def holds(self, other: "Rect") -> bool:
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom

    def moved(self, dx: float, dy: float) -> "Rect":
        return Rect(self.left + dx, self.top + dy, self.right + dx, self.bottom + dy)


@dataclass(frozen=True)
class Text:
    """Hold one line; ``x`` is the place of its anchor ("start", "middle", "end"), ``y`` its baseline."""

    text: str
    x: float
    y: float
    size: float
    role: str  # "name", "detail", "mark", "plate", "heading", "note", "lag"
    anchor: str = "middle"
    is_math: bool = False  # mathematics between dollar signs

    @property
    def width(self) -> float:
        return (math_width if self.is_math else text_width)(self.text, self.size)

    @property
    def rect(self) -> Rect:
        before = {"start": 0.0, "middle": 0.5, "end": 1.0}[self.anchor]
        left = self.x - before * self.width
        return Rect(left, self.y - ASCENT * self.size, left + self.width, self.y + 0.24 * self.size)

    def moved(self, dx: float, dy: float) -> "Text":
        return replace(self, x=self.x + dx, y=self.y + dy)


@dataclass(frozen=True)
class NodeShape:
    """Hold a node's outline ("ellipse" or "rectangle") and its label."""

    node: Node
    outline: str
    rect: Rect
    texts: tuple[Text, ...]

    @property
    def center(self) -> XY:
        return (self.rect.left + self.rect.right) / 2, (self.rect.top + self.rect.bottom) / 2

    def moved(self, dx: float, dy: float) -> "NodeShape":
        texts = tuple(text.moved(dx, dy) for text in self.texts)
        return replace(self, rect=self.rect.moved(dx, dy), texts=texts)


@dataclass(frozen=True)
class PlateShape:
    """Hold a plate's border and label, and which nodes it encloses."""

    plate: Plate
    members: frozenset[str]
    rect: Rect
    text: Text

    def moved(self, dx: float, dy: float) -> "PlateShape":
        return replace(self, rect=self.rect.moved(dx, dy), text=self.text.moved(dx, dy))


@dataclass(frozen=True)
class Arrow:
    """Hold an edge's route as the points where it bends; the last one is on the target's outline."""

    edge: Edge
    points: tuple[XY, ...]
    text: Text | None = None

    @property
    def path(self) -> tuple[tuple[XY, ...], ...]:
        """The route with its bends rounded: a start, lines (one point) and curves (control, end)."""
        return tuple(_rounded(self.points))

    @property
    def head(self) -> tuple[XY, XY, XY]:
        """The arrow head: its tip and the two corners behind it."""
        (x, y), before = self.points[-1], self.points[-2]
        length = hypot(x - before[0], y - before[1]) or 1.0
        dx, dy = (x - before[0]) / length, (y - before[1]) / length
        back = x - HEAD[0] * dx, y - HEAD[0] * dy
        side = HEAD[1] * dy, -HEAD[1] * dx
        return (
            (x, y),
            (back[0] + side[0], back[1] + side[1]),
            (back[0] - side[0], back[1] - side[1]),
        )

    def moved(self, dx: float, dy: float) -> "Arrow":
        points = tuple((x + dx, y + dy) for x, y in self.points)
        return replace(self, points=points, text=self.text and self.text.moved(dx, dy))


@dataclass(frozen=True)
class Panel:
    """Hold one program's half of the picture."""

    name: str  # "model" or "guide"
    heading: Text | None
    nodes: tuple[NodeShape, ...]
    plates: tuple[PlateShape, ...]
    arrows: tuple[Arrow, ...]

    def moved(self, dx: float, dy: float) -> "Panel":
        return Panel(
            self.name,
            self.heading and self.heading.moved(dx, dy),
            tuple(shape.moved(dx, dy) for shape in self.nodes),
            tuple(plate.moved(dx, dy) for plate in self.plates),
            tuple(arrow.moved(dx, dy) for arrow in self.arrows),
        )


@dataclass(frozen=True)
class Scene:
    """Hold the whole picture."""

    title: str
    description: str
    width: float
    height: float
    panels: tuple[Panel, ...]
    notes: tuple[Text, ...]

    def moved(self, dx: float, dy: float) -> "Scene":
        panels = tuple(panel.moved(dx, dy) for panel in self.panels)
        return replace(self, panels=panels, notes=tuple(n.moved(dx, dy) for n in self.notes))


def _rounded(points: tuple[XY, ...], radius: float = 12.0) -> Iterator[tuple[XY, ...]]:
    yield (points[0],)
    for before, bend, after in zip(points, points[1:], points[2:], strict=False):
        yield (_toward(bend, before, radius),)
        yield bend, _toward(bend, after, radius)
    yield (points[-1],)


def _toward(start: XY, end: XY, by: float) -> XY:
    """Return the point ``by`` away from ``start`` on the way to ``end``, at most half-way."""
    length = hypot(end[0] - start[0], end[1] - start[1])
    share = min(by, length / 2) / length if length else 0.0
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
