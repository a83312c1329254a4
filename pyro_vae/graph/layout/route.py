"""Routes of edges: straight where nothing is in the way, otherwise the shortest way around."""

import heapq
from collections.abc import Mapping, Sequence, Set
from itertools import pairwise
from math import hypot

import numpy as np

from pyro_vae.graph.layout.near import Near
from pyro_vae.graph.layout.scene import XY, NodeShape, Rect

CLEARANCE = 4.0  # between an edge and other nodes
CORNER_DISTANCE = 6.0  # of a bend from the corner that it goes around
BEND_COST = 25.0  # in length
MANY_EDGES = 60  # the shortest ways of more lie on one another, and take seconds
ARC_HEIGHT = 60.0, 0.08  # for its own sake, and of its width
ALIGNED = 1.0  # nodes of a row or a column differ by less


class Router:
    """Find routes between nodes past all other nodes and, where possible, past plates' labels."""

    def __init__(
        self, nodes: Sequence[NodeShape], labels: Sequence[Rect], num_edges: int = 0
    ) -> None:
        """``num_edges``: where they are many, an arc over the nodes is tried before the shortest way."""
        self.nodes = {shape.node.name: shape for shape in nodes}
        self._shapes = list(nodes)
        self._index = {shape.node.name: i for i, shape in enumerate(nodes)}
        obstacles = [shape.rect.grown(CLEARANCE) for shape in nodes]
        obstacles += [rect.grown(1.0) for rect in labels]  # from here on in this order
        self._rects, self._near = _as_array(obstacles), Near(obstacles)
        self._outer = [shape.rect.grown(CORNER_DISTANCE) for shape in nodes]
        self._outer += [rect.grown(4.0) for rect in labels]
        self._corners: dict[int, list[XY]] = {}
        self._has_many_edges = num_edges > MANY_EDGES

    def route(self, source: str, target: str) -> tuple[XY, ...]:
        """Return the points from the source's outline to the target's."""
        start, end = self.nodes[source].center, self.nodes[target].center
        own = frozenset((self._index[source], self._index[target]))
        middle: tuple[XY, ...] = ()
        if self._is_obstructed(start, end, own):
            middle = (
                self._arc(start, end, own)
                or self._detour(start, end, own, True)
                or self._detour(start, end, own, False)
                or ()
            )
        points = (start, *middle, end)
        first = outline_point(self.nodes[source], points[1])
        last = outline_point(self.nodes[target], points[-2])
        return (first, *middle, last)

    def _is_obstructed(self, start: XY, end: XY, own: Set[int]) -> bool:
        """Return whether the straight line meets a label, a box, or an ellipse's true outline."""
        return any(
            self._is_label(i) or _meets(start, end, self._shapes[i])
            for i in self._met(start, end) - own
        )

    def _is_label(self, obstacle: int) -> bool:
        return obstacle >= len(self._shapes)

    def _met(self, start: XY, end: XY) -> set[int]:
        """Return the obstacles on a line."""
        candidates = self._near.along(start, end)
        if not candidates:
            return set()
        blocked = _blocked(np.array([[*start, *end]]), self._rects[candidates])[0]
        return {i for i, is_met in zip(candidates, blocked, strict=True) if is_met}

    def _arc(self, start: XY, end: XY, own: Set[int]) -> tuple[XY, ...]:
        """Return the bends of an arc past a row or a column, if edges are many and it meets no node."""
        across, down = end[0] - start[0], end[1] - start[1]
        if not self._has_many_edges or min(abs(across), abs(down)) > ALIGNED:
            return ()
        length = max(abs(across), abs(down))
        out = min(ARC_HEIGHT[0] + ARC_HEIGHT[1] * length, length / 2)
        ahead = (out * across / length, out * down / length)
        aside = (-abs(ahead[1]), -abs(ahead[0]))
        first = start[0] + ahead[0] + aside[0], start[1] + ahead[1] + aside[1]
        last = end[0] - ahead[0] + aside[0], end[1] - ahead[1] + aside[1]
        bends = (first, last)
        return () if self._on_route((start, *bends, end), own, True) else bends

    def _detour(
        self, start: XY, end: XY, own: Set[int], past_labels: bool
    ) -> tuple[XY, ...] | None:
        """Return the bends of the shortest route, or None.

        The route bends around the obstacles that a shorter one met: others do not matter.
        """
        known: set[int] = set()
        bends: tuple[XY, ...] | None = ()
        while bends is not None:
            new = self._on_route((start, *bends, end), own, past_labels) - known
            if not new:
                return bends
            known |= new
            bends = self._shortest(start, end, sorted(known), own)
        return None

    def _on_route(self, points: Sequence[XY], own: Set[int], past_labels: bool) -> set[int]:
        """Return the obstacles on a route; only its ends may be in their own nodes, and avoid labels."""
        met: set[int] = set()
        last = len(points) - 2
        for i, (a, b) in enumerate(pairwise(points)):
            is_end = i in (0, last)
            found = self._met(a, b) - (own if is_end else set())
            met |= {i for i in found if not self._is_label(i) or (is_end and past_labels)}
        return met

    def _shortest(
        self, start: XY, end: XY, known: Sequence[int], own: Set[int]
    ) -> tuple[XY, ...] | None:
        """Return the bends of the shortest route around these obstacles, or None."""
        points = np.array([start, end, *(c for i in known for c in self._free_corners(i))])
        around_ends = self._rects[[i for i in known if i not in own]]
        nodes = self._rects[[i for i in sorted({*known, *own}) if not self._is_label(i)]]
        to_end = _visible(points, 1, around_ends)
        left = np.hypot(*(points - points[1]).T) + BEND_COST  # the least from each point to the end
        shortest = np.full(len(points), np.inf)
        shortest[0], end_length = 0.0, np.inf
        previous: dict[int, int] = {}
        queue, done = [(float(left[0]), 0)], set()
        while queue:
            least, here = heapq.heappop(queue)
            if least + BEND_COST > end_length:  # a further bend makes it longer
                break
            if here in done:
                continue
            done.add(here)
            visible = _visible(points, here, around_ends if here == 0 else nodes)
            lengths = shortest[here] + np.hypot(*(points - points[here]).T) + BEND_COST
            visible[1] = False
            for there in np.flatnonzero(visible & (lengths < shortest)).tolist():
                shortest[there], previous[there] = lengths[there], here
                length = float(lengths[there] + left[there])
                heapq.heappush(queue, (length, there))
                if to_end[there] and length < end_length:
                    end_length, previous[1] = length, there
        return _bends(points, previous) if 1 in previous else None

    def _free_corners(self, obstacle: int) -> list[XY]:
        """Return the points around an obstacle that are in no node."""
        if obstacle not in self._corners:
            outer = self._outer[obstacle]
            near = [i for i in self._near.around(outer) if not self._is_label(i)]
            corners = np.array(_corners(outer))
            free = corners[~_inside(corners, self._rects[near])]
            self._corners[obstacle] = [(float(x), float(y)) for x, y in free]
        return self._corners[obstacle]


def _visible(points: np.ndarray, here: int, obstacles: np.ndarray) -> np.ndarray:
    """Return which points a straight line from one of them reaches."""
    lines = np.concatenate([np.broadcast_to(points[here], points.shape), points], axis=1)
    visible = np.array(~_blocked(lines, obstacles).any(axis=1), dtype=bool)
    visible[here] = False
    return visible


def _bends(points: np.ndarray, previous: Mapping[int, int]) -> tuple[XY, ...]:
    bends, here = [], previous[1]
    while here:
        bends.append((float(points[here][0]), float(points[here][1])))
        here = previous[here]
    return tuple(reversed(bends))


def outline_point(shape: NodeShape, toward: XY) -> XY:
    """Return where the line from the node's centre to ``toward`` leaves its outline."""
    x, y = shape.center
    dx, dy = toward[0] - x, toward[1] - y
    half_width, half_height = shape.rect.width / 2, shape.rect.height / 2
    if shape.outline == "ellipse":
        scale = hypot(dx / half_width, dy / half_height)
    else:
        scale = max(abs(dx) / half_width, abs(dy) / half_height)
    return (x + dx / scale, y + dy / scale) if scale > 1e-9 else (x, y)


def _meets(start: XY, end: XY, shape: NodeShape) -> bool:
    """Return whether a line that meets the rectangle around a node meets its outline, or nearly so."""
    if shape.outline != "ellipse":
        return True
    (x, y), rect = shape.center, shape.rect.grown(CLEARANCE)
    a, b = (
        np.array([(px - x) * 2 / rect.width, (py - y) * 2 / rect.height]) for px, py in (start, end)
    )
    along = b - a  # the ellipse is the unit circle now
    share = float(np.clip(-(a @ along) / max(along @ along, 1e-12), 0, 1))
    return float(np.hypot(*(a + share * along))) < 1


def _corners(rect: Rect) -> list[XY]:
    return [(x, y) for x in (rect.left, rect.right) for y in (rect.top, rect.bottom)]


def _as_array(rects: Sequence[Rect]) -> np.ndarray:
    sides = [[r.left, r.top, r.right, r.bottom] for r in rects]
    return np.array(sides, dtype=float).reshape(-1, 4)


def _inside(points: np.ndarray, rects: np.ndarray) -> np.ndarray:
    x, y = points[:, None, 0], points[:, None, 1]
    left, top, right, bottom = rects.T
    return ((x > left) & (x < right) & (y > top) & (y < bottom)).any(axis=1)


def _blocked(lines: np.ndarray, rects: np.ndarray) -> np.ndarray:
    """Return whether each line (x0, y0, x1, y1) meets each rectangle; shape lines x rectangles."""
    enter = np.zeros((len(lines), len(rects)))
    leave = np.ones_like(enter)
    outside = np.zeros_like(enter, dtype=bool)
    for axis in (0, 1):
        start = lines[:, None, axis]
        step = lines[:, None, axis + 2] - start
        low, high = rects[None, :, axis], rects[None, :, axis + 2]
        flat = np.abs(step) < 1e-12
        outside |= flat & ((start <= low) | (start >= high))
        per_step = np.where(flat, 1.0, step)
        one, other = (low - start) / per_step, (high - start) / per_step
        enter = np.maximum(enter, np.where(flat, 0.0, np.minimum(one, other)))
        leave = np.minimum(leave, np.where(flat, 1.0, np.maximum(one, other)))
    return np.asarray(~outside & (enter < leave - 1e-12))
