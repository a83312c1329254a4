"""Coordinates: rows from top to bottom, and in each row nodes as near to their neighbours as they fit."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from pyro_vae.graph.graph import Graph
from pyro_vae.graph.layout.arrangement import Order
from pyro_vae.graph.layout.blocks import nearest_feasible
from pyro_vae.graph.layout.boxes import NodeBox
from pyro_vae.graph.layout.distances import Distances, PlateMargins, least_distances
from pyro_vae.graph.layout.scene import Rect

ROW_GAP = 34.0
PLATE_PADDING = 11.0  # between a plate's border and its content
LABEL_HEIGHT = 13.0  # of a plate
ROUNDS = 40
SNAP = 12.0  # an edge that is upright but for this much becomes upright

Attractions = Mapping[int, Mapping[int, float]]  # by node: weights of the nodes that attract it


def plate_margins(
    graph: Graph, order: Order, boxes: Mapping[str, NodeBox], label_widths: Mapping[str, float]
) -> list[PlateMargins]:
    """Return the margins of all plates; those around others, and crossing ones, are wider."""
    margins: list[PlateMargins] = []
    around: dict[str, list[PlateMargins]] = {name: [] for name in order.names}
    for piece in sorted(order.pieces, key=lambda p: len(p.members)):
        rows = [order.rows[name] for name in piece.members]
        top, bottom = min(rows), max(rows)
        inner = [m for name in piece.members for m in around[name]]
        reach = {
            name: PLATE_PADDING
            + max([m.reach[name] for m in around[name]] + [boxes[name].width / 2])
            for name in piece.members
        }
        widest = max(piece.members, key=lambda name: (reach[name], name))
        share = 1.0 if _has_edge_below(graph, order, piece.members, bottom) else 0.5
        reach[widest] = max(reach[widest], share * label_widths[piece.plate] + PLATE_PADDING)
        above = max((m.above for m in inner if m.rows[0] == top), default=0.0)
        below = max((m.below for m in inner if m.rows[1] == bottom), default=-PLATE_PADDING / 2)
        above, below = PLATE_PADDING + above, PLATE_PADDING + LABEL_HEIGHT + below
        margins.append(PlateMargins(piece, reach, above, below, (top, bottom)))
        for name in piece.members:
            around[name].append(margins[-1])
    return margins


def _has_edge_below(graph: Graph, order: Order, members: frozenset[str], bottom: int) -> bool:
    """Return whether an edge crosses the plate's lower border: the label then leaves the middle free."""
    return any(
        order.rows[other] > bottom and other not in members
        for name in members
        for other in (*graph.parents(name), *graph.children(name))
    )


def row_centers(
    rows: Sequence[tuple[Mapping[str, int], Mapping[str, NodeBox], Sequence[PlateMargins]]],
) -> dict[int, float]:
    """Return the height at which each row's nodes are centred, over all panels."""
    tall, above, below = (
        defaultdict[int, float](float),
        defaultdict[int, float](float),
        defaultdict[int, float](float),
    )
    for nodes, boxes, margins in rows:
        for name, row in nodes.items():
            tall[row] = max(tall[row], boxes[name].height)
        for plate in margins:
            top, bottom = plate.rows
            above[top] = max(above[top], plate.above)
            below[bottom] = max(below[bottom], plate.below)
    centers: dict[int, float] = {}
    lowest = 0.0
    for row in sorted(tall):
        gap = ROW_GAP if centers else 0.0
        centers[row] = lowest + gap + above[row] + tall[row] / 2
        lowest = centers[row] + tall[row] / 2 + below[row]
    return centers


def columns(
    graph: Graph,
    order: Order,
    boxes: Mapping[str, NodeBox],
    margins: Sequence[PlateMargins],
    rounds: int = ROUNDS,
) -> dict[str, float]:
    """Return the x of each node: as near to its neighbours as order and distances allow."""
    names = order.names
    index = {name: i for i, name in enumerate(names)}
    distances = least_distances(order, boxes, margins)
    attractions = _attractions(graph, index)
    x = _feasible([0.0] * len(names), distances)
    for _ in range(rounds):
        desired = []
        for i, near in attractions.items():
            desired.append((x[i] + _mean(x, near)) / 2 if near else x[i])
        x = _feasible(nearest_feasible(desired, distances), distances)
    x = _moved_singly(x, attractions, distances)
    return dict(zip(names, _components_joined(x, attractions, distances), strict=True))


def _attractions(graph: Graph, index: Mapping[str, int]) -> Attractions:
    """Return which nodes attract each node, and how much.

    Of three kinds only the first that exists counts: neighbours in the same plates; other neighbours; the
    parameters and data that it reads, which follow the node instead. A parent of many attracts each less.
    """
    kinds: dict[int, tuple[dict[int, float], ...]] = {i: ({}, {}, {}) for i in index.values()}
    for edge in graph.edges:
        i, j = index[edge.source], index[edge.target]
        if i != j:
            source, target = graph.by_name[edge.source], graph.by_name[edge.target]
            kind = int(source.plates != target.plates)
            kinds[i][kind][j] = 1.0
            is_read = source.kind in ("parameters", "data")
            kinds[j][2 if is_read else kind][i] = 1 / len(graph.children(edge.source))
    return {i: next((weights for weights in each if weights), {}) for i, each in kinds.items()}


def _mean(x: Sequence[float], near: Mapping[int, float]) -> float:
    return sum(weight * x[j] for j, weight in near.items()) / sum(near.values())


def _components_joined(
    x: Sequence[float], attractions: Attractions, distances: Distances
) -> list[float]:
    """Return the places after components of the graph are pushed together, from left to right."""
    component = _components(attractions)
    members: dict[int, list[int]] = {}
    for i, root in component.items():
        members.setdefault(root, []).append(i)
    left_of: dict[int, list[tuple[int, int, float]]] = {root: [] for root in members}
    for (i, j), distance in distances.items():
        if component[i] != component[j]:
            left_of[component[j]].append((i, j, distance))
    places = list(x)
    for root in sorted(members, key=lambda r: (min(x[i] for i in members[r]), r)):
        room = [places[j] - places[i] - distance for i, j, distance in left_of[root]]
        for i in members[root]:
            places[i] -= min(room, default=0.0)
    return places


def _components(attractions: Attractions) -> dict[int, int]:
    """Return each node's component, by the node whose component the others joined."""
    label = {i: i for i in attractions}
    members = {i: [i] for i in attractions}
    name = {i: i for i in attractions}
    for i, near in attractions.items():
        for j in near:
            kept, gone = label[i], label[j]
            if kept == gone:
                continue
            joined = name[kept]
            if len(members[gone]) > len(members[kept]):
                kept, gone = gone, kept
            for k in members[gone]:
                label[k] = kept
            members[kept] += members.pop(gone)
            name[kept] = joined
    return {i: name[own] for i, own in label.items()}


def _moved_singly(
    x: Sequence[float], attractions: Attractions, distances: Distances
) -> list[float]:
    """Return the places after each node moves by itself, within the room that the others leave it."""
    places = list(x)
    before: list[list[tuple[int, float]]] = [[] for _ in x]
    after: list[list[tuple[int, float]]] = [[] for _ in x]
    for (i, j), distance in distances.items():
        before[j].append((i, distance))
        after[i].append((j, distance))
    for sweep in range(8):
        for i in sorted(attractions, reverse=bool(sweep % 2)):
            if not attractions[i]:
                continue
            low = max((places[a] + d for a, d in before[i]), default=-math.inf)
            high = min((places[b] - d for b, d in after[i]), default=math.inf)
            desired = _mean(places, attractions[i])
            nearest = min((places[j] for j in attractions[i]), key=lambda x: abs(x - desired))
            if abs(nearest - desired) < SNAP:
                desired = nearest
            places[i] = min(max(desired, low), high)
    return places


def _feasible(x: Sequence[float], distances: Distances) -> list[float]:
    """Return the nearest places to the right that keep all distances."""
    places = list(x)
    for (i, j), distance in distances.items():  # sorted by j
        places[j] = max(places[j], places[i] + distance)
    return places


def plate_rect(
    margin: PlateMargins,
    x: Mapping[str, float],
    centers: Mapping[int, float],
    row_heights: Mapping[int, float],
) -> Rect:
    """Return the rectangle of a plate whose members have their places."""
    top, bottom = margin.rows
    return Rect(
        min(x[name] - reach for name, reach in margin.reach.items()),
        centers[top] - row_heights[top] / 2 - margin.above,
        max(x[name] + reach for name, reach in margin.reach.items()),
        centers[bottom] + row_heights[bottom] / 2 + margin.below,
    )
