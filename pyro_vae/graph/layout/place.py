"""Coordinates: rows from top to bottom, and in each row nodes as near to their neighbours as they fit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyro_vae.graph.graph import Graph
from pyro_vae.graph.layout.boxes import NodeBox
from pyro_vae.graph.layout.order import Order, PlatePiece
from pyro_vae.graph.layout.scene import Rect

NODE_GAP = 22.0
ROW_GAP = 34.0
PLATE_PADDING = 11.0  # between a plate's border and its content
LABEL_HEIGHT = 13.0  # of a plate
ROUNDS = 40
SNAP = 12.0  # an edge that is upright but for this much becomes upright

Attractions = Mapping[int, Mapping[int, float]]  # by node: weights of the nodes that attract it
Distances = Mapping[tuple[int, int], float]  # the least from a node to one on its right


@dataclass(frozen=True)
class PlateMargins:
    """Hold how far a plate's rectangle reaches beyond its members' centres and rows."""

    piece: PlatePiece
    reach: Mapping[str, float]  # to either side of each member
    above: float
    below: float
    rows: tuple[int, int]


def plate_margins(
    graph: Graph, order: Order, boxes: Mapping[str, NodeBox], label_widths: Mapping[str, float]
) -> list[PlateMargins]:
    """Return the margins of all plates; those around others, and crossing ones, are wider."""
    margins: list[PlateMargins] = []
    for piece in sorted(order.pieces, key=lambda p: len(p.members)):
        rows = [order.rows[name] for name in piece.members]
        top, bottom = min(rows), max(rows)
        inner = [m for m in margins if m.piece.members & piece.members]
        reach = {
            name: PLATE_PADDING
            + max([m.reach.get(name, 0.0) for m in inner] + [boxes[name].width / 2])
            for name in piece.members
        }
        widest = max(piece.members, key=lambda name: (reach[name], name))
        share = 1.0 if _has_edge_below(graph, order, piece.members, bottom) else 0.5
        reach[widest] = max(reach[widest], share * label_widths[piece.plate] + PLATE_PADDING)
        above = max((m.above for m in inner if m.rows[0] == top), default=0.0)
        below = max((m.below for m in inner if m.rows[1] == bottom), default=-PLATE_PADDING / 2)
        above, below = PLATE_PADDING + above, PLATE_PADDING + LABEL_HEIGHT + below
        margins.append(PlateMargins(piece, reach, above, below, (top, bottom)))
    return margins


def _has_edge_below(graph: Graph, order: Order, members: frozenset[str], bottom: int) -> bool:
    """Return whether an edge crosses the plate's lower border: the label then leaves the middle free."""
    ends = [
        (e.source, e.target) for e in graph.edges if (e.source in members) != (e.target in members)
    ]
    return any(max(order.rows[a], order.rows[b]) > bottom for a, b in ends)


def row_centers(
    rows: Sequence[tuple[Mapping[str, int], Mapping[str, NodeBox], Sequence[PlateMargins]]],
) -> dict[int, float]:
    """Return the height at which each row's nodes are centred, over all panels."""
    used = sorted({row for panel, _, _ in rows for row in panel.values()})
    tall = {
        row: max(boxes[n].height for panel, boxes, _ in rows for n, r in panel.items() if r == row)
        for row in used
    }
    margins = [margin for _, _, panel in rows for margin in panel]
    centers: dict[int, float] = {}
    bottom = 0.0
    for row in used:
        above = max((m.above for m in margins if m.rows[0] == row), default=0.0)
        gap = ROW_GAP if centers else 0.0
        centers[row] = bottom + gap + above + tall[row] / 2
        below = max((m.below for m in margins if m.rows[1] == row), default=0.0)
        bottom = centers[row] + tall[row] / 2 + below
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
    distances = {  # `_feasible` relies on this order
        (i, j): distance
        for j in range(len(names))
        for i in range(j)
        if (distance := _least_distance(names[i], names[j], order, boxes, margins)) is not None
    }
    attractions = _attractions(graph, index)
    x = _feasible([0.0] * len(names), distances)
    for _ in range(rounds):
        desired = []
        for i, near in attractions.items():
            desired.append((x[i] + _mean(x, near)) / 2 if near else x[i])
        x = _feasible(_nearest_feasible(desired, distances), distances)
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
    component = {i: i for i in attractions}
    for i, near in attractions.items():
        for j in near:
            component = {k: component[i] if p == component[j] else p for k, p in component.items()}
    places = list(x)
    for root in sorted(
        set(component.values()), key=lambda r: min(x[i] for i in component if component[i] == r)
    ):
        room = [
            places[j] - places[i] - distance
            for (i, j), distance in distances.items()
            if component[j] == root and component[i] != root
        ]
        for i in component:
            places[i] -= min(room, default=0.0) if component[i] == root else 0.0
    return places


def _moved_singly(
    x: Sequence[float], attractions: Attractions, distances: Distances
) -> list[float]:
    """Return the places after each node moves by itself, within the room that the others leave it."""
    places = list(x)
    for sweep in range(8):
        for i in sorted(attractions, reverse=bool(sweep % 2)):
            if not attractions[i]:
                continue
            low = max(
                (places[a] + d for (a, b), d in distances.items() if b == i), default=-math.inf
            )
            high = min(
                (places[b] - d for (a, b), d in distances.items() if a == i), default=math.inf
            )
            desired = _mean(places, attractions[i])
            nearest = min((places[j] for j in attractions[i]), key=lambda x: abs(x - desired))
            if abs(nearest - desired) < SNAP:
                desired = nearest
            places[i] = min(max(desired, low), high)
    return places


def _least_distance(
    left: str,
    right: str,
    order: Order,
    boxes: Mapping[str, NodeBox],
    margins: Sequence[PlateMargins],
) -> float | None:
    """Return the least distance of two nodes' centres; None where one may stand above the other."""
    rows = order.rows
    around_left = [m for m in margins if left in m.reach and right not in m.reach]
    around_right = [m for m in margins if right in m.reach and left not in m.reach]
    reaches = (
        [boxes[left].width / 2, *_adjacent(around_left, rows[right], around_right, left)],
        [boxes[right].width / 2, *_adjacent(around_right, rows[left], around_left, right)],
    )
    if rows[left] != rows[right] and all(len(each) == 1 for each in reaches):
        return None
    return NODE_GAP + sum(map(max, reaches))


def _adjacent(
    plates: Sequence[PlateMargins], row: int, others: Sequence[PlateMargins], name: str
) -> list[float]:
    """Return how far those plates around a node reach that stand beside a row or other plates."""
    return [
        plate.reach[name]
        for plate in plates
        if plate.rows[0] <= row <= plate.rows[1]
        or any(_side_by_side(plate, other) for other in others)
    ]


def _side_by_side(one: PlateMargins, other: PlateMargins) -> bool:
    level = one.rows[0] <= other.rows[1] and other.rows[0] <= one.rows[1]
    return level and not one.piece.members & other.piece.members


def _feasible(x: Sequence[float], distances: Distances) -> list[float]:
    """Return the nearest places to the right that keep all distances."""
    places = list(x)
    for (i, j), distance in distances.items():  # sorted by j
        places[j] = max(places[j], places[i] + distance)
    return places


def _nearest_feasible(desired: Sequence[float], distances: Distances) -> list[float]:
    """Return the places nearest to the desired ones that keep the distances: colliding nodes form a block.

    Source: T. Dwyer, K. Marriott, P. J. Stuckey, "Fast node overlap removal", 2005, without its
    splitting of blocks.
    """
    block = list(range(len(desired)))
    offset = [0.0] * len(desired)
    middle = list(desired)
    for _ in range(len(desired)):
        worst, pair = 1e-6, None
        for (i, j), distance in distances.items():
            if block[i] != block[j]:
                lack = middle[block[i]] + offset[i] + distance - middle[block[j]] - offset[j]
                if lack > worst:
                    worst, pair = lack, (i, j)
        if pair is None:
            break
        i, j = pair
        shift = offset[i] + distances[pair] - offset[j]
        joined, gone = block[i], block[j]
        for k, b in enumerate(block):
            if b == gone:
                block[k], offset[k] = joined, offset[k] + shift
        members = [k for k, b in enumerate(block) if b == joined]
        middle[joined] = sum(desired[k] - offset[k] for k in members) / len(members)
    return [middle[b] + o for b, o in zip(block, offset, strict=True)]


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
