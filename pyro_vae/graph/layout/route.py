"""Routes of edges: straight where nothing is in the way, otherwise the shortest way around."""

import heapq
from collections.abc import Sequence
from math import hypot

import numpy as np

from pyro_vae.graph.layout.scene import XY, NodeShape, Rect

CLEARANCE = 4.0  # between an edge and other nodes
CORNER_DISTANCE = 6.0  # of a bend from the corner that it goes around
BEND_COST = 25.0  # in length


class Router:
    """Find routes between nodes past all other nodes and, where possible, past plates' labels."""

    def __init__(self, nodes: Sequence[NodeShape], labels: Sequence[Rect]) -> None:
        self.nodes = {shape.node.name: shape for shape in nodes}
        self._names = list(self.nodes)
        self._rects = _as_array([shape.rect.grown(CLEARANCE) for shape in nodes])
        self._labels = _as_array([rect.grown(1.0) for rect in labels])
        corners = [c for s in nodes for c in _corners(s.rect.grown(CORNER_DISTANCE))]
        corners += [c for rect in labels for c in _corners(rect.grown(4.0))]
        points = np.array(corners).reshape(-1, 2)
        free = ~_inside(points, self._rects) if len(points) else np.zeros(0, bool)
        self._corners = points[free]
        self._corners_visible: np.ndarray | None = None  # corner x corner, on demand

    def route(self, source: str, target: str) -> tuple[XY, ...]:
        """Return the points from the source's outline to the target's."""
        start, end = self.nodes[source].center, self.nodes[target].center
        own = [self._names.index(source), self._names.index(target)]
        others = np.delete(self._rects, own, axis=0)
        obstacles = np.concatenate([others, self._labels])
        middle: tuple[XY, ...] = ()
        if self._is_obstructed(start, end, own):
            middle = self._detour(start, end, obstacles) or self._detour(start, end, others) or ()
        points = (start, *middle, end)
        first = outline_point(self.nodes[source], points[1])
        last = outline_point(self.nodes[target], points[-2])
        return (first, *middle, last)

    def _is_obstructed(self, start: XY, end: XY, own: Sequence[int]) -> bool:
        """Return whether the straight line meets a label, a box, or an ellipse's true outline."""
        line = np.array([[*start, *end]])
        touched = np.array(_blocked(line, self._rects)[0], dtype=bool)
        touched[list(own)] = False
        shapes = [self.nodes[self._names[i]] for i in np.flatnonzero(touched)]
        return any(_meets(start, end, s) for s in shapes) or bool(
            _blocked(line, self._labels).any()
        )

    def _detour(self, start: XY, end: XY, obstacles: np.ndarray) -> tuple[XY, ...] | None:
        """Return the bends of the shortest route, or None."""
        points = np.concatenate([[start, end], self._corners])
        reachable = {i: self._visible(i, points, obstacles) for i in (0, 1)}
        shortest: dict[int, float] = {0: 0.0}
        previous: dict[int, int] = {}
        queue = [(0.0, 0)]
        while queue:
            length, here = heapq.heappop(queue)
            if here == 1:
                break
            if length > shortest.get(here, float("inf")):
                continue
            visible = (
                reachable[0] if here == 0 else self._visible_from_corner(here - 2, reachable[1])
            )
            for there in np.flatnonzero(visible):
                step = float(np.hypot(*(points[there] - points[here]))) + BEND_COST
                if length + step < shortest.get(int(there), float("inf")):
                    shortest[int(there)] = length + step
                    previous[int(there)] = here
                    heapq.heappush(queue, (length + step, int(there)))
        if 1 not in previous:
            return None
        bends, here = [], previous[1]
        while here:
            bends.append((float(points[here][0]), float(points[here][1])))
            here = previous[here]
        return tuple(reversed(bends))

    def _visible(self, i: int, points: np.ndarray, obstacles: np.ndarray) -> np.ndarray:
        lines = np.concatenate([np.broadcast_to(points[i], points.shape), points], axis=1)
        visible = np.array(~_blocked(lines, obstacles).any(axis=1), dtype=bool)
        visible[i] = False
        return visible

    def _visible_from_corner(self, corner: int, to_end: np.ndarray) -> np.ndarray:
        if self._corners_visible is None:
            n = len(self._corners)
            lines = np.concatenate(
                [np.repeat(self._corners, n, axis=0), np.tile(self._corners, (n, 1))], axis=1
            )
            self._corners_visible = ~_blocked(lines, self._rects).any(axis=1).reshape(n, n)
        return np.concatenate([[False, to_end[2 + corner]], self._corners_visible[corner]])


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
        with np.errstate(divide="ignore", invalid="ignore"):
            one, other = (low - start) / step, (high - start) / step
        flat = np.broadcast_to(np.abs(step) < 1e-12, enter.shape)
        outside |= flat & ((start <= low) | (start >= high))
        enter = np.where(flat, enter, np.maximum(enter, np.minimum(one, other)))
        leave = np.where(flat, leave, np.minimum(leave, np.maximum(one, other)))
    return np.asarray(~outside & (enter < leave - 1e-12))
