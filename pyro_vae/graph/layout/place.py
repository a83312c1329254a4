"""Coordinates: rows from top to bottom, and along each row as near to the neighbours as room allows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyro_vae.graph.graph import Graph
from pyro_vae.graph.layout.boxes import Box
from pyro_vae.graph.layout.order import Order, Part
from pyro_vae.graph.layout.scene import Rect

APART = 22.0  # between nodes side by side
ROWS_APART = 34.0
PAD = 11.0  # between a plate's border and what it holds
LABEL = 13.0  # the height of a plate's label
ROUNDS = 40
SNAP = 12.0

Pulls = Mapping[int, Mapping[int, float]]


@dataclass(frozen=True)
class Frame:
    """How far a plate's rectangle reaches beyond its members' centres and rows."""

    part: Part
    reach: Mapping[str, float]  # to either side of each member
    above: float
    below: float
    rows: tuple[int, int]


def frames(
    graph: Graph, order: Order, boxes: Mapping[str, Box], label_widths: Mapping[str, float]
) -> list[Frame]:
    """The plates' frames; one around another lies further out, and so do crossing ones."""
    found: list[Frame] = []
    for part in sorted(order.parts, key=lambda p: len(p.members)):
        rows = [order.rows[name] for name in part.members]
        top, bottom = min(rows), max(rows)
        inner = [f for f in found if f.part.members & part.members]
        reach = {
            name: PAD + max([f.reach.get(name, 0.0) for f in inner] + [boxes[name].width / 2])
            for name in part.members
        }
        widest = max(part.members, key=lambda name: (reach[name], name))
        share = 1.0 if _is_left_downwards(graph, order, part.members, bottom) else 0.5
        reach[widest] = max(reach[widest], share * label_widths[part.plate] + PAD)
        above = PAD + max((f.above for f in inner if f.rows[0] == top), default=0.0)
        below = PAD + LABEL + max((f.below for f in inner if f.rows[1] == bottom), default=-PAD / 2)
        found.append(Frame(part, reach, above, below, (top, bottom)))
    return found


def _is_left_downwards(graph: Graph, order: Order, members: frozenset[str], bottom: int) -> bool:
    """Whether an edge crosses the plate's lower border: its label then stands beside the middle."""
    ends = [
        (e.source, e.target) for e in graph.edges if (e.source in members) != (e.target in members)
    ]
    return any(max(order.rows[a], order.rows[b]) > bottom for a, b in ends)


def row_centers(
    rows: Sequence[tuple[Mapping[str, int], Mapping[str, Box], Sequence[Frame]]],
) -> dict[int, float]:
    """The height at which each row's nodes are centred, over all panels."""
    used = sorted({row for panel, _, _ in rows for row in panel.values()})
    tall = {
        row: max(boxes[n].height for panel, boxes, _ in rows for n, r in panel.items() if r == row)
        for row in used
    }
    every = [frame for _, _, panel in rows for frame in panel]
    centers: dict[int, float] = {}
    bottom = 0.0
    for row in used:
        above = max((f.above for f in every if f.rows[0] == row), default=0.0)
        gap = ROWS_APART if centers else 0.0
        centers[row] = bottom + gap + above + tall[row] / 2
        below = max((f.below for f in every if f.rows[1] == row), default=0.0)
        bottom = centers[row] + tall[row] / 2 + below
    return centers


def columns(
    graph: Graph,
    order: Order,
    boxes: Mapping[str, Box],
    framed: Sequence[Frame],
    rounds: int = ROUNDS,
) -> dict[str, float]:
    """The middle of each node: as near to its neighbours as order and distances allow."""
    names = order.names
    index = {name: i for i, name in enumerate(names)}
    apart = {
        (i, j): distance
        for j in range(len(names))
        for i in range(j)
        if (distance := _distance(names[i], names[j], order, boxes, framed)) is not None
    }
    pulls = _pulls(graph, index)
    x = _legal([0.0] * len(names), apart)
    for _ in range(rounds):
        wanted = []
        for i, near in pulls.items():
            wanted.append((x[i] + _mean(x, near)) / 2 if near else x[i])
        x = _legal(_projected(wanted, apart), apart)
    return dict(zip(names, _closed_up(_settled(x, pulls, apart), pulls, apart), strict=True))


def _pulls(graph: Graph, index: Mapping[str, int]) -> Pulls:
    """To which nodes each is drawn, and how much: to the first of these kinds that there are any of.

    Those in the same plates; others; what it reads (that comes to it rather). A parent of many draws
    each of them less.
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
    return {i: next((pulls for pulls in each if pulls), {}) for i, each in kinds.items()}


def _mean(x: Sequence[float], near: Mapping[int, float]) -> float:
    return sum(weight * x[j] for j, weight in near.items()) / sum(near.values())


def _closed_up(
    x: Sequence[float], pulls: Pulls, apart: Mapping[tuple[int, int], float]
) -> list[float]:
    """Parts of the graph that no edge joins moved together, from left to right."""
    part = {i: i for i in pulls}
    for i, near in pulls.items():
        for j in near:
            part = {k: part[i] if p == part[j] else p for k, p in part.items()}
    found = list(x)
    for root in sorted(set(part.values()), key=lambda r: min(x[i] for i in part if part[i] == r)):
        room = [
            found[j] - found[i] - distance
            for (i, j), distance in apart.items()
            if part[j] == root and part[i] != root
        ]
        for i in part:
            found[i] -= min(room, default=0.0) if part[i] == root else 0.0
    return found


def _settled(
    x: Sequence[float], pulls: Pulls, apart: Mapping[tuple[int, int], float]
) -> list[float]:
    """Each node moved on its own, within the room that the others leave it."""
    found = list(x)
    for sweep in range(8):
        for i in sorted(pulls, reverse=bool(sweep % 2)):
            if not pulls[i]:
                continue
            low = max((found[a] + d for (a, b), d in apart.items() if b == i), default=-math.inf)
            high = min((found[b] - d for (a, b), d in apart.items() if a == i), default=math.inf)
            wanted = _mean(found, pulls[i])
            nearest = min((found[j] for j in pulls[i]), key=lambda x: abs(x - wanted))
            if abs(nearest - wanted) < SNAP:  # rather upright than nearly so
                wanted = nearest
            found[i] = min(max(wanted, low), high)
    return found


def _distance(
    left: str, right: str, order: Order, boxes: Mapping[str, Box], framed: Sequence[Frame]
) -> float | None:
    """How far apart two nodes' middles must be; None where they may stand over one another."""
    rows = order.rows
    out, into = boxes[left].width / 2, boxes[right].width / 2
    meet = rows[left] == rows[right]
    leaving = [f for f in framed if left in f.reach and right not in f.reach]
    entering = [f for f in framed if right in f.reach and left not in f.reach]
    for frame in leaving:
        beside = frame.rows[0] <= rows[right] <= frame.rows[1]
        beside |= any(_side_by_side(frame, other) for other in entering)
        if beside:
            meet, out = True, max(out, frame.reach[left])
    for frame in entering:
        beside = frame.rows[0] <= rows[left] <= frame.rows[1]
        beside |= any(_side_by_side(frame, other) for other in leaving)
        if beside:
            meet, into = True, max(into, frame.reach[right])
    return out + APART + into if meet else None


def _side_by_side(one: Frame, other: Frame) -> bool:
    level = one.rows[0] <= other.rows[1] and other.rows[0] <= one.rows[1]
    return level and not one.part.members & other.part.members


def _legal(x: Sequence[float], apart: Mapping[tuple[int, int], float]) -> list[float]:
    """The nearest places to the right that keep all distances."""
    found = list(x)
    for (i, j), distance in apart.items():  # sorted by j
        found[j] = max(found[j], found[i] + distance)
    return found


def _projected(wanted: Sequence[float], apart: Mapping[tuple[int, int], float]) -> list[float]:
    """The places nearest to the wanted ones that keep the distances: what collides moves as one.

    Source: T. Dwyer, K. Marriott, P. J. Stuckey, "Fast node overlap removal", 2005, without its
    splitting of blocks.
    """
    block = list(range(len(wanted)))
    offset = [0.0] * len(wanted)
    middle = list(wanted)
    for _ in range(len(wanted)):
        worst, pair = 1e-6, None
        for (i, j), distance in apart.items():
            if block[i] != block[j]:
                lack = middle[block[i]] + offset[i] + distance - middle[block[j]] - offset[j]
                if lack > worst:
                    worst, pair = lack, (i, j)
        if pair is None:
            break
        i, j = pair
        shift = offset[i] + apart[pair] - offset[j]
        joined, gone = block[i], block[j]
        for k, b in enumerate(block):
            if b == gone:
                block[k], offset[k] = joined, offset[k] + shift
        members = [k for k, b in enumerate(block) if b == joined]
        middle[joined] = sum(wanted[k] - offset[k] for k in members) / len(members)
    return [middle[b] + o for b, o in zip(block, offset, strict=True)]


def plate_rect(
    frame: Frame,
    x: Mapping[str, float],
    centers: Mapping[int, float],
    row_heights: Mapping[int, float],
) -> Rect:
    """The rectangle of a plate whose members are placed."""
    top, bottom = frame.rows
    return Rect(
        min(x[name] - reach for name, reach in frame.reach.items()),
        centers[top] - row_heights[top] / 2 - frame.above,
        max(x[name] + reach for name, reach in frame.reach.items()),
        centers[bottom] + row_heights[bottom] / 2 + frame.below,
    )
