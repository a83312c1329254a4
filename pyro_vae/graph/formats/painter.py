"""The traversal of a picture that all painted formats share.

A painted format is a :class:`Painter`. It paints four things: a plate's border, a node's outline, an arrow,
and a line of text. It may also mark groups of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from pyro_vae.graph.layout import Arrow, NodeShape, Panel, PlateShape, Scene, Text
from pyro_vae.graph.palette import edge_color, has_warning, text_color


class Painter(ABC):
    """Paint the parts of a picture; a later one covers an earlier one.

    Colours are names in ``palette``.
    """

    @abstractmethod
    def plate(self, plate: PlateShape) -> None:
        """Paint a plate's border."""

    @abstractmethod
    def outline(self, shape: NodeShape) -> None:
        """Paint a node's outline and fill it."""

    @abstractmethod
    def arrow(self, arrow: Arrow, color: str) -> None:
        """Paint an edge's line and head."""

    @abstractmethod
    def text(self, text: Text, color: str, *, covers: bool = False) -> None:
        """Paint a line of text; where it ``covers``, on a piece of blank paper."""

    @contextmanager
    def group(self, name: str) -> Iterator[None]:
        """Mark everything painted inside as a group: a panel or a node."""
        yield


def paint(scene: Scene, painter: Painter) -> None:
    """Paint the whole picture."""
    for panel in scene.panels:
        with painter.group(panel.name):
            _paint_panel(panel, painter)
    for note in scene.notes:
        painter.text(note, text_color(note.role))


def _paint_panel(panel: Panel, painter: Painter) -> None:
    if panel.heading:
        painter.text(panel.heading, text_color(panel.heading.role))
    for plate in panel.plates:
        painter.plate(plate)
    nodes = {shape.node.name: shape.node for shape in panel.nodes}
    for arrow in panel.arrows:
        painter.arrow(arrow, edge_color(arrow.edge.how, nodes[arrow.edge.source]))
        if arrow.text:
            painter.text(arrow.text, text_color(arrow.text.role), covers=True)
    for shape in panel.nodes:
        node = shape.node
        with painter.group(f"{node.kind} warn" if has_warning(node) else node.kind):
            painter.outline(shape)
            for text in shape.texts:
                painter.text(text, text_color(text.role, node))
    for plate in panel.plates:
        painter.text(plate.text, text_color(plate.text.role))
