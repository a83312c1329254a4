"""From a graph to a picture: rows, order, coordinates, edges, in this sequence."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import hypot

from pyro_vae.graph.graph import Edge, Graph
from pyro_vae.graph.layout.boxes import Box, box, plate_label
from pyro_vae.graph.layout.fonts import LINE, MINUS, printable, text_width
from pyro_vae.graph.layout.order import Order, centred, ordered
from pyro_vae.graph.layout.place import Frame, columns, frames, plate_rect, row_centers
from pyro_vae.graph.layout.route import Router, outline_point
from pyro_vae.graph.layout.rows import guide_rows, model_rows
from pyro_vae.graph.layout.scene import (
    XY,
    Arrow,
    NodeShape,
    Panel,
    PlateShape,
    Rect,
    Scene,
    Text,
)
from pyro_vae.graph.view import View

BORDER = 16.0
BETWEEN = 56.0  # model and guide
HEADING = 24.0
LOOP = 24.0  # how far a loop from a node to itself reaches out
FEW = 12  # nodes, whose arrangements are tried in true coordinates
COLUMN = 100.0  # the width of a node with its room, about
NARROWEST_NOTE = 300.0
PLATE_SIZE, NOTE_SIZE, HEADING_SIZE, LAG_SIZE = 10.0, 9.5, 12.0, 9.0


def arrange(
    model: Graph, guide: Graph | None, warnings: Sequence[str], title: str, view: View
) -> Scene:
    """The picture of a model and, level with it, of its guide."""
    model, guide = model.grouped(), guide and guide.grouped()
    plans = [_Plan.of("model", model, model_rows(model), True, view)]
    if guide is not None and guide.nodes:
        rows = guide_rows(guide, plans[0].order.rows)
        plans.append(_Plan.of("guide", guide, rows, False, view))
    centers = row_centers([(p.order.rows, p.boxes, p.frames) for p in plans])
    heights = _row_heights(plans)
    panels, left = [], BORDER
    for plan in plans:
        panel, right = _panel(plan, centers, heights, left, view, headed=guide is not None)
        panels.append(panel)
        left = right + BETWEEN
    words = list(warnings)
    if guide is not None and not guide.nodes:
        words.append("the guide has no sample statements")
    bounds = [r for panel in panels for r in _rects(panel)]
    width = max(max(r.right for r in bounds) + BORDER, NARROWEST_NOTE if words else 0.0)
    lowest = max(r.bottom for r in bounds)
    notes = tuple(_notes(words, width, lowest))
    bottom = notes[-1].rect.bottom if notes else lowest
    top = min(r.top for r in bounds) - BORDER
    scene = Scene(title, describe(model, guide), width, bottom + BORDER - top, tuple(panels), notes)
    return _moved(scene, 0.0, -top)


@dataclass(frozen=True)
class _Plan:
    """One program before its coordinates are known."""

    name: str
    graph: Graph
    order: Order
    boxes: Mapping[str, Box]
    frames: Sequence[Frame]

    @classmethod
    def of(
        cls, name: str, graph: Graph, rows: Mapping[str, int], movable: bool, view: View
    ) -> "_Plan":
        loops = {edge.source for edge in graph.edges if edge.source == edge.target}
        boxes = {node.name: box(node, view) for node in graph.nodes}
        roomy = {
            n: replace(b, width=b.width + 2 * LOOP + 2 * text_width(f"t{MINUS}1", LAG_SIZE))
            if n in loops
            else b
            for n, b in boxes.items()
        }
        labels = {p.name: text_width(plate_label(p, view), PLATE_SIZE) for p in graph.plates}

        def spots(order: Order) -> Mapping[str, tuple[float, float]]:
            if len(graph.nodes) > FEW:
                return centred(order)
            x = columns(graph, order, roomy, frames(graph, order, roomy, labels), rounds=4)
            return {name: (x[name] / COLUMN, order.rows[name]) for name in order.names}

        order = ordered(graph, rows, movable, spots)
        return cls(name, graph, order, roomy, frames(graph, order, roomy, labels))


def _row_heights(plans: Sequence[_Plan]) -> dict[int, float]:
    heights: dict[int, float] = {}
    for plan in plans:
        for name, row in plan.order.rows.items():
            heights[row] = max(heights.get(row, 0.0), plan.boxes[name].height)
    return heights


def _panel(
    plan: _Plan,
    centers: Mapping[int, float],
    heights: Mapping[int, float],
    left: float,
    view: View,
    headed: bool,
) -> tuple[Panel, float]:
    """The panel with its left edge at ``left``, and its right edge."""
    graph, order = plan.graph, plan.order
    x = columns(graph, order, plan.boxes, plan.frames)
    rects = [plate_rect(frame, x, centers, heights) for frame in plan.frames]
    edges = [x[n] - plan.boxes[n].width / 2 for n in x] + [r.left for r in rects]
    shift = left - min(edges)
    x = {name: at + shift for name, at in x.items()}
    rects = [rect.moved(shift, 0.0) for rect in rects]
    nodes = tuple(
        box(node, view).at(x[node.name], centers[order.rows[node.name]]) for node in graph.nodes
    )
    plates = tuple(_plates(plan, rects, nodes, view))
    arrows = tuple(_arrows(graph, nodes, plates))
    right = max([x[n] + plan.boxes[n].width / 2 for n in x] + [r.right for r in rects])
    heading = None
    if headed:
        top = min([s.rect.top for s in nodes] + [r.top for r in rects])
        heading = Text(plan.name, (left + right) / 2, top - 12.0, HEADING_SIZE, "heading")
    return Panel(plan.name, heading, nodes, plates, arrows), right


def _plates(
    plan: _Plan, rects: Sequence[Rect], nodes: Sequence[NodeShape], view: View
) -> Iterator[PlateShape]:
    by_name = {plate.name: plate for plate in plan.graph.plates}
    for frame, rect in reversed(list(zip(plan.frames, rects, strict=True))):  # the outermost first
        plate = by_name[frame.part.plate]
        others = [r for r in rects if r is not rect]
        label = plate_label(plate, view)
        spots = [
            Text(label, rect.right - 7, rect.bottom - 5, PLATE_SIZE, "plate", "end"),
            Text(label, rect.left + 7, rect.bottom - 5, PLATE_SIZE, "plate", "start"),
        ]
        text = min(spots, key=lambda t: _collisions(t.rect, others, nodes))
        yield PlateShape(plate, frame.part.members, rect, text)


def _collisions(label: Rect, plates: Sequence[Rect], nodes: Sequence[NodeShape]) -> int:
    """How many borders and nodes a label lies on."""
    borders = sum(label.overlaps(p) and not p.holds(label) for p in plates)
    return borders + sum(label.overlaps(shape.rect) for shape in nodes)


def _arrows(
    graph: Graph, nodes: Sequence[NodeShape], plates: Sequence[PlateShape]
) -> Iterator[Arrow]:
    router = Router(nodes, [plate.text.rect for plate in plates])
    for edge in graph.edges:
        if edge.source == edge.target:
            yield _loop(edge, router.nodes[edge.source])
        else:
            points = router.way(edge.source, edge.target)
            yield Arrow(edge, points, _lag_text(edge, *_halfway(points)) if edge.lag else None)


def _loop(edge: Edge, shape: NodeShape) -> Arrow:
    """A node's edge to itself, on its right."""
    (_, y), right = shape.center, shape.rect.right
    out = right + LOOP - 6
    up, down = y - shape.rect.height * 0.3, y + shape.rect.height * 0.3
    ends = outline_point(shape, (right, up)), outline_point(shape, (right, down))
    text = _lag_text(edge, out + 3, y + 0.35 * LAG_SIZE, "start")
    return Arrow(edge, (ends[0], (out, up), (out, down), ends[1]), text)


def _lag_text(edge: Edge, x: float, y: float, anchor: str = "middle") -> Text:
    lag = f"t{MINUS}{edge.lag}" if edge.lag > 0 else f"t+{-edge.lag}"
    return Text(lag, x, y, LAG_SIZE, "lag", anchor)


def _halfway(points: Sequence[XY]) -> XY:
    steps = list(pairwise(points))
    left = sum(hypot(b[0] - a[0], b[1] - a[1]) for a, b in steps) / 2
    for a, b in steps:
        length = hypot(b[0] - a[0], b[1] - a[1])
        if left <= length:
            share = left / length if length else 0.0
            return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])
        left -= length
    return points[-1]


def _rects(panel: Panel) -> Iterator[Rect]:
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


def _notes(words: Sequence[str], width: float, top: float) -> Iterator[Text]:
    """The warnings in words, wrapped to the picture's width."""
    y = top + 12.0
    for warning in words:
        for line in _wrapped(printable(f"! {warning}"), width - 2 * BORDER):
            y += LINE * NOTE_SIZE
            yield Text(line, BORDER, y, NOTE_SIZE, "note", "start")


def _wrapped(text: str, width: float) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if line and text_width(longer, NOTE_SIZE) > width:
            yield line
            longer = f"   {word}"
        line = longer
    yield line


def describe(model: Graph, guide: Graph | None) -> str:
    """The picture in words, for those who do not see it."""
    parts = [("Model", model)] + ([("Guide", guide)] if guide is not None else [])
    return " ".join(f"{name}: {'; '.join(_sentences(graph))}." for name, graph in parts)


def _sentences(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        parents = ", ".join(dict.fromkeys(graph.parents(node.name)))
        plates = ", ".join(node.plates)
        yield (
            f"{node.name} ({node.kind.replace('_', ' ')}"
            + (f", {node.distribution}" if node.distribution else "")
            + (f", in plate {plates}" if plates else "")
            + ")"
            + (f" depends on {parents}" if parents else "")
        )


def _moved(scene: Scene, dx: float, dy: float) -> Scene:
    def panel(p: Panel) -> Panel:
        return Panel(
            p.name,
            p.heading and p.heading.moved(dx, dy),
            tuple(
                replace(s, rect=s.rect.moved(dx, dy), texts=tuple(t.moved(dx, dy) for t in s.texts))
                for s in p.nodes
            ),
            tuple(
                replace(s, rect=s.rect.moved(dx, dy), text=s.text.moved(dx, dy)) for s in p.plates
            ),
            tuple(
                replace(
                    a,
                    points=tuple((x + dx, y + dy) for x, y in a.points),
                    text=a.text and a.text.moved(dx, dy),
                )
                for a in p.arrows
            ),
        )

    notes = tuple(note.moved(dx, dy) for note in scene.notes)
    return replace(scene, panels=tuple(map(panel, scene.panels)), notes=notes)
