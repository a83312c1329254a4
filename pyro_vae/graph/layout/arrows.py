"""Arrows: each along its route, with the steps back in time that it reaches."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from math import hypot

from pyro_vae.graph.graph import Edge, Graph
from pyro_vae.graph.layout.fonts import MINUS, text_width
from pyro_vae.graph.layout.route import Router, outline_point
from pyro_vae.graph.layout.scene import XY, Arrow, NodeShape, PlateShape, Text

LOOP_WIDTH = 24.0  # how far a loop from a node to itself reaches out
LAG_SIZE = 9.0


def loop_widths(graph: Graph) -> dict[str, float]:
    """Return how much room a node's edge to itself takes on its right, with its label."""
    loops = {edge.source: label for edge, label in _labelled(graph) if edge.source == edge.target}
    return {name: LOOP_WIDTH + text_width(label, LAG_SIZE) for name, label in loops.items()}


def arrows(
    graph: Graph, nodes: Sequence[NodeShape], plates: Sequence[PlateShape]
) -> Iterator[Arrow]:
    """Return an arrow for each pair of nodes that edges join."""
    router = Router(nodes, [plate.text.rect for plate in plates], len(graph.edges))
    for edge, label in _labelled(graph):
        if edge.source == edge.target:
            yield _loop(edge, label, router.nodes[edge.source])
        else:
            points = router.route(edge.source, edge.target)
            x, y = _middle(points)
            yield Arrow(edge, points, Text(label, x, y, LAG_SIZE, "lag") if label else None)


def _labelled(graph: Graph) -> Iterator[tuple[Edge, str]]:
    """Return one edge for each pair of nodes, and the lags of all edges between the two."""
    pairs: dict[tuple[str, str], list[Edge]] = {}
    for edge in graph.edges:
        pairs.setdefault((edge.source, edge.target), []).append(edge)
    for edges in pairs.values():
        lags = [_step(edge.lag) for edge in edges]
        via = dict.fromkeys(argument for edge in edges for argument in edge.via)
        yield replace(edges[0], via=tuple(via)), "" if lags == ["t"] else ", ".join(lags)


def _step(lag: int) -> str:
    return f"t{MINUS}{lag}" if lag > 0 else f"t+{-lag}" if lag else "t"


def _loop(edge: Edge, label: str, shape: NodeShape) -> Arrow:
    """Return a node's edge to itself, on its right."""
    (_, y), right = shape.center, shape.rect.right
    out = right + LOOP_WIDTH - 6
    up, down = y - shape.rect.height * 0.3, y + shape.rect.height * 0.3
    ends = outline_point(shape, (right, up)), outline_point(shape, (right, down))
    text = Text(label, out + 3, y + 0.35 * LAG_SIZE, LAG_SIZE, "lag", "start")
    return Arrow(edge, (ends[0], (out, up), (out, down), ends[1]), text if label else None)


def _middle(points: Sequence[XY]) -> XY:
    """Return the point halfway along the route."""
    steps = list(pairwise(points))
    left = sum(hypot(b[0] - a[0], b[1] - a[1]) for a, b in steps) / 2
    for a, b in steps:
        length = hypot(b[0] - a[0], b[1] - a[1])
        if left <= length:
            share = left / length if length else 0.0
            return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])
        left -= length
    return points[-1]
