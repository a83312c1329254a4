"""The order of nodes from left to right, such that plates can be drawn as rectangles.

A plate's rectangle spans its members' rows and their part of the order. So no other node may stand
within both, and plates without a common member may not overlap. Nested plates only need to stay
together. For crossing ones a search tries other orders, and moves nodes with their descendants down.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

import numpy as np

from pyro_vae.graph.graph import Graph, reachable

SEARCH_STEPS = 4000
IMPROVEMENTS = 300


@dataclass(frozen=True)
class PlatePiece:
    """Hold a plate, or a piece of one that no single rectangle can show, by its members."""

    plate: str
    members: frozenset[str]


@dataclass(frozen=True)
class Order:
    """Hold an arrangement: nodes from left to right, their rows, and the rectangles to draw."""

    names: tuple[str, ...]
    rows: Mapping[str, int]
    pieces: tuple[PlatePiece, ...]


Positions = Callable[[Order], Mapping[str, tuple[float, float]]]


def best_order(graph: Graph, rows: Mapping[str, int], movable: bool, positions: Positions) -> Order:
    """Return the best arrangement that a search finds: few crossings, short edges.

    Args:
        graph: the nodes to arrange.
        rows: each node's row.
        movable: whether nodes may leave their rows for a plate's sake.
        positions: returns roughly where an arrangement puts the nodes, in columns and rows.
    """
    pieces = tuple(PlatePiece(p.name, frozenset(graph.members(p.name))) for p in graph.plates)
    start = Order(_nested_order(graph, rows, pieces), dict(rows), pieces)
    search = _Search(graph, positions)
    feasible = search.repaired(start, movable)
    while search.violations(feasible):
        feasible = search.split(feasible)
    return search.improved(feasible)


def _nested_order(
    graph: Graph, rows: Mapping[str, int], pieces: Sequence[PlatePiece]
) -> tuple[str, ...]:
    """Return plates as contiguous runs; within each, nodes follow the places of their neighbours."""
    names = [node.name for node in graph.nodes]
    size = {piece.plate: len(piece.members) for piece in pieces}
    path = {n.name: sorted(n.plates, key=lambda p: -size[p]) for n in graph.nodes}
    place = {name: float(i) for i, name in enumerate(names)}
    for _ in range(6):
        center = {
            name: fmean(place[n] for n in (*graph.parents(name), *graph.children(name), name))
            for name in names
        }
        order = tuple(_sorted_run(names, 0, path, center))
        place = {name: x for name, (x, _) in centred_rows(Order(order, rows, ())).items()}
    return order


def _sorted_run(
    names: Sequence[str],
    depth: int,
    path: Mapping[str, Sequence[str]],
    center: Mapping[str, float],
) -> Iterator[str]:
    runs: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        inside = len(path[name]) > depth
        runs.setdefault(("plate", path[name][depth]) if inside else ("node", name), []).append(name)
    for (kind, _), run in sorted(runs.items(), key=lambda item: fmean(center[n] for n in item[1])):
        if kind == "node":
            yield from run
        else:
            yield from _sorted_run(run, depth + 1, path, center)


class _Search:
    """Search locally over arrangements of one graph; the same graph gives the same result."""

    def __init__(self, graph: Graph, positions: Positions) -> None:
        self.graph, self.positions = graph, positions
        self.edges = [(e.source, e.target) for e in graph.edges if e.source != e.target]
        self.below = {node.name: reachable(node.name, graph.children) for node in graph.nodes}

    def violations(self, order: Order) -> int:
        """Return how many nodes and plates are where a rectangle must not have them."""
        place = {name: i for i, name in enumerate(order.names)}
        spans = []
        for piece in order.pieces:
            places = [place[name] for name in piece.members]
            rows = [order.rows[name] for name in piece.members]
            spans.append((piece.members, min(places), max(places), min(rows), max(rows)))
        count = 0
        for members, left, right, top, bottom in spans:
            for name in order.names[left + 1 : right]:
                count += top <= order.rows[name] <= bottom and name not in members
        for (ones, l1, r1, t1, b1), (others, l2, r2, t2, b2) in combinations(spans, 2):
            overlap = l1 <= r2 and l2 <= r1 and t1 <= b2 and t2 <= b1
            count += overlap and not ones & others
        return count

    def repaired(self, start: Order, movable: bool) -> Order:
        """Return an arrangement without violations, or the one with the fewest."""
        best, fewest = start, self.violations(start)
        current, count = start, fewest
        generator = random.Random(0)
        for step in range(SEARCH_STEPS):
            if fewest == 0:
                break
            if step % 200 == 199:
                current, count = start, self.violations(start)
            trial = self._neighbour(current, generator, movable)
            trial_count = self.violations(trial)
            if trial_count <= count or generator.random() < 0.05:
                current, count = trial, trial_count
            if count < fewest:
                best, fewest = current, count
        return best

    def _neighbour(self, order: Order, generator: random.Random, movable: bool) -> Order:
        if movable and generator.random() < 0.3:
            moved = self.below[generator.choice(order.names)]
            rows = {n: row + (n in moved) for n, row in order.rows.items()}
            if max(rows.values()) <= len(order.names):
                return replace(order, rows=rows)
        regions: dict[tuple[str, ...], list[str]] = {}
        for name in order.names:
            plates = self.graph.by_name[name].plates
            regions.setdefault(tuple(sorted(plates)) or ("", name), []).append(name)
        blocks = list(regions.values())
        block = blocks.pop(generator.randrange(len(blocks)))
        blocks.insert(generator.randrange(len(blocks) + 1), block)
        return replace(order, names=tuple(name for run in blocks for name in run))

    def improved(self, order: Order) -> Order:
        """Return the same with fewer crossings and shorter edges, by exchanging neighbours."""
        best, cost = order, self._cost(order)
        budget, better = IMPROVEMENTS, True
        while better and budget > 0:
            better = False
            for names in _exchanges(best, self.graph):
                trial = replace(best, names=names)
                if self.violations(trial):
                    continue
                budget -= 1
                trial_cost = self._cost(trial)
                if trial_cost < cost - 1e-9:
                    best, cost, better = trial, trial_cost, True
                if budget <= 0:
                    break
        return best

    def split(self, order: Order) -> Order:
        """Return the order with the first offending plate in pieces: one per set of plates in it."""
        for piece in order.pieces:
            regions: dict[frozenset[str], set[str]] = {}
            for name in piece.members:
                plates = frozenset(self.graph.by_name[name].plates)
                regions.setdefault(plates, set()).add(name)
            rest = tuple(other for other in order.pieces if other is not piece)
            without = replace(order, pieces=rest)
            if len(regions) > 1 and self.violations(without) < self.violations(order):
                sets = sorted(map(sorted, regions.values()))
                pieces = (*rest, *(PlatePiece(piece.plate, frozenset(names)) for names in sets))
                return self.repaired(replace(order, pieces=pieces), movable=False)
        alone = tuple(
            PlatePiece(p.plate, frozenset({n})) for p in order.pieces for n in sorted(p.members)
        )
        return replace(order, pieces=alone)

    def _cost(self, order: Order) -> float:
        """Return a weighted sum of crossings, edges through nodes, and lengths."""
        if not self.edges:
            return 0.0
        position = self.positions(order)
        a = np.array([position[source] for source, _ in self.edges])
        b = np.array([position[target] for _, target in self.edges])
        return (
            4.0 * _crossings(a, b)
            + 6.0 * _nodes_on_edges(a, b, np.array(list(position.values())))
            + float(np.abs(a - b)[:, 0].sum())
        )


def centred_rows(order: Order) -> dict[str, tuple[float, float]]:
    """Return positions in rows of equal nodes, each centred: quick, and good enough for many nodes."""
    by_row: dict[int, list[str]] = {}
    for name in order.names:
        by_row.setdefault(order.rows[name], []).append(name)
    return {
        name: (i - (len(run) - 1) / 2, float(row))
        for row, run in by_row.items()
        for i, name in enumerate(run)
    }


def _exchanges(order: Order, graph: Graph) -> Iterator[tuple[str, ...]]:
    """Return orders with two neighbouring runs (nodes, or all of a plate) exchanged."""
    names = order.names
    runs = {(i, i + 1) for i in range(len(names))}
    for piece in order.pieces:
        places = [i for i, name in enumerate(names) if name in piece.members]
        if places[-1] - places[0] + 1 == len(places):
            runs.add((places[0], places[-1] + 1))
    for start, middle in sorted(runs):
        for other, end in sorted(runs):
            if other == middle:
                yield (*names[:start], *names[middle:end], *names[start:middle], *names[end:])


def _side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return on which side of the line from a to b each c lies, for all pairs."""
    ab = (b - a)[:, None]
    ac = c[None] - a[:, None]
    return np.sign(np.round(ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0], 9))


def _crossings(a: np.ndarray, b: np.ndarray) -> float:
    across = _side(a, b, a) * _side(a, b, b) < 0
    return float((across & across.T).sum()) / 2


def _nodes_on_edges(a: np.ndarray, b: np.ndarray, positions: np.ndarray) -> float:
    """Return how many nodes stand on an edge of others."""
    ab = (b - a)[:, None]
    ac = positions[None] - a[:, None]
    share = (ab * ac).sum(-1) / np.maximum((ab * ab).sum(-1), 1e-9)
    away = np.linalg.norm(ac - share[..., None] * ab, axis=-1)
    return float(((share > 0.05) & (share < 0.95) & (away < 0.35)).sum())
