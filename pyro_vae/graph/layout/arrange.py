"""From a graph to a picture: rows, order, coordinates, edges, in this sequence."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pyro_vae.graph.graph import Graph
from pyro_vae.graph.layout.arrangement import Order
from pyro_vae.graph.layout.arrows import arrows, loop_widths
from pyro_vae.graph.layout.boxes import NodeBox, node_box, plate_label
from pyro_vae.graph.layout.distances import PlateMargins
from pyro_vae.graph.layout.fonts import text_width
from pyro_vae.graph.layout.near import Near
from pyro_vae.graph.layout.order import best_order, centred_rows
from pyro_vae.graph.layout.place import (
    columns,
    plate_margins,
    plate_rect,
    row_centers,
)
from pyro_vae.graph.layout.rows import guide_rows, model_rows
from pyro_vae.graph.layout.scene import NodeShape, Panel, PlateShape, Rect, Scene, Text
from pyro_vae.graph.layout.words import description, notes
from pyro_vae.graph.view import View

BORDER = 16.0
PANEL_GAP = 56.0
MAX_EXACT = 12  # nodes, up to which true coordinates decide the order
COLUMN_WIDTH = 100.0  # of a typical node with its gap
MIN_NOTE_WIDTH = 300.0
PLATE_SIZE, HEADING_SIZE = 10.0, 12.0


def arrange(
    model: Graph,
    guide: Graph | None,
    warnings: Sequence[str],
    title: str,
    view: View,
    remarks: Sequence[str] = (),
) -> Scene:
    """Return the picture of a model and, on the same levels, of its guide."""
    model, guide = model.grouped(), guide and guide.grouped()
    plans = [_PanelPlan.of("model", model, model_rows(model), True, view)]
    if guide is not None and guide.nodes:
        rows = guide_rows(guide, plans[0].order.rows)
        plans.append(_PanelPlan.of("guide", guide, rows, False, view))
    centers = row_centers([(p.order.rows, p.boxes, p.margins) for p in plans])
    heights = _row_heights(plans)
    panels, left = [], BORDER
    for plan in plans:
        panel, right = _panel(plan, centers, heights, left, view, headed=guide is not None)
        outside = max(left - min(rect.left for rect in _rects(panel)), 0.0)  # of an edge's way
        panels.append(panel.moved(outside, 0.0))
        right = max(right, *(rect.right for rect in _rects(panel))) + outside
        left = right + PANEL_GAP
    bounds = [rect for panel in panels for rect in _rects(panel)]
    width = max(
        max(r.right for r in bounds) + BORDER, MIN_NOTE_WIDTH if warnings or remarks else 0.0
    )
    lowest = max(r.bottom for r in bounds)
    lines = tuple(notes(warnings, remarks, BORDER, width - BORDER, lowest))
    bottom = lines[-1].rect.bottom if lines else lowest
    top = min(r.top for r in bounds) - BORDER
    height = bottom + BORDER - top
    scene = Scene(title, description(model, guide), width, height, tuple(panels), lines)
    return scene.moved(0.0, -top)


@dataclass(frozen=True)
class _PanelPlan:
    """Hold a program's nodes in order, before their coordinates are known."""

    name: str
    graph: Graph
    order: Order
    outlines: Mapping[str, NodeBox]
    boxes: Mapping[str, NodeBox]  # with room for an edge from a node to itself
    margins: Sequence[PlateMargins]

    @classmethod
    def of(
        cls, name: str, graph: Graph, rows: Mapping[str, int], movable: bool, view: View
    ) -> "_PanelPlan":
        loops = loop_widths(graph)
        outlines = {node.name: node_box(node, view) for node in graph.nodes}
        boxes = {
            name: replace(box, width=box.width + 2 * loops.get(name, 0.0))
            for name, box in outlines.items()
        }
        labels = {p.name: text_width(plate_label(p, view), PLATE_SIZE) for p in graph.plates}

        def positions(order: Order) -> Mapping[str, tuple[float, float]]:
            if len(graph.nodes) > MAX_EXACT:
                return centred_rows(order)
            x = columns(graph, order, boxes, plate_margins(graph, order, boxes, labels), rounds=4)
            return {name: (x[name] / COLUMN_WIDTH, order.rows[name]) for name in order.names}

        order = best_order(graph, rows, movable, positions)
        margins = plate_margins(graph, order, boxes, labels)
        return cls(name, graph, order, outlines, boxes, margins)


def _row_heights(plans: Sequence[_PanelPlan]) -> dict[int, float]:
    heights: dict[int, float] = {}
    for plan in plans:
        for name, row in plan.order.rows.items():
            heights[row] = max(heights.get(row, 0.0), plan.boxes[name].height)
    return heights


def _panel(
    plan: _PanelPlan,
    centers: Mapping[int, float],
    heights: Mapping[int, float],
    left: float,
    view: View,
    headed: bool,
) -> tuple[Panel, float]:
    """Return the panel with its left edge at ``left``, and its right edge."""
    graph, order = plan.graph, plan.order
    x = columns(graph, order, plan.boxes, plan.margins)
    rects = [plate_rect(margin, x, centers, heights) for margin in plan.margins]
    edges = [x[n] - plan.boxes[n].width / 2 for n in x] + [r.left for r in rects]
    shift = left - min(edges)
    x = {name: at + shift for name, at in x.items()}
    rects = [rect.moved(shift, 0.0) for rect in rects]
    nodes = tuple(
        plan.outlines[node.name].at(x[node.name], centers[order.rows[node.name]])
        for node in graph.nodes
    )
    plates = tuple(_plates(plan, rects, nodes, view))
    right = max([x[n] + plan.boxes[n].width / 2 for n in x] + [r.right for r in rects])
    heading = None
    if headed:
        top = min([s.rect.top for s in nodes] + [r.top for r in rects])
        heading = Text(plan.name, (left + right) / 2, top - 12.0, HEADING_SIZE, "heading")
    return Panel(plan.name, heading, nodes, plates, tuple(arrows(graph, nodes, plates))), right


def _plates(
    plan: _PanelPlan, rects: Sequence[Rect], nodes: Sequence[NodeShape], view: View
) -> Iterator[PlateShape]:
    by_name = {plate.name: plate for plate in plan.graph.plates}
    shapes = [shape.rect for shape in nodes]
    near_plates, near_nodes = Near(rects), Near(shapes)
    outermost_first = reversed(list(enumerate(zip(plan.margins, rects, strict=True))))
    for number, (margins, rect) in outermost_first:
        plate = by_name[margins.piece.plate]

        def collisions(text: Text, number: int = number) -> int:
            """Return how many borders and nodes a label lies on."""
            label = text.rect
            others = [rects[i] for i in near_plates.around(label) if i != number]
            borders = sum(label.overlaps(other) and not other.holds(label) for other in others)
            return borders + sum(label.overlaps(shapes[i]) for i in near_nodes.around(label))

        label = plate_label(plate, view)
        corners = [
            Text(label, rect.right - 7, rect.bottom - 5, PLATE_SIZE, "plate", "end"),
            Text(label, rect.left + 7, rect.bottom - 5, PLATE_SIZE, "plate", "start"),
        ]
        yield PlateShape(plate, margins.piece.members, rect, min(corners, key=collisions))


def _rects(panel: Panel) -> Iterator[Rect]:
    """Return the rectangles that all parts of a panel fill."""
    yield from (shape.rect for shape in panel.nodes)
    for plate in panel.plates:
        yield from (plate.rect, plate.text.rect)
    for arrow in panel.arrows:
        xs, ys = zip(*arrow.points, strict=True)
        yield Rect(min(xs), min(ys), max(xs), max(ys))
        if arrow.text:
            yield arrow.text.rect
    if panel.heading:
        yield panel.heading.rect
