"""The order of nodes from left to right, such that plates can be drawn as rectangles.

Nested plates only need to stay together. For crossing ones a search tries other orders, and moves nodes
with their descendants down.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from pyro_vae.graph.graph import Graph, reachable
from pyro_vae.graph.layout.arrangement import Order, PlatePiece, Spans
from pyro_vae.graph.layout.exchange import Positions, improved

SEARCH_STEPS = 4000
SEARCH_WORK = 200_000  # nodes that the search of one order visits at most


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
    search = _Search(graph)
    feasible = search.repaired(start, movable)
    while _violations(feasible):
        feasible = search.split(feasible)
    return improved(graph, feasible, positions)


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

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.below: dict[str, set[str]] = {}
        self.steps = min(SEARCH_STEPS, SEARCH_WORK // max(len(graph.nodes), 1))

    def _with_descendants(self, name: str) -> set[str]:
        if name not in self.below:
            self.below[name] = reachable(name, self.graph.children)
        return self.below[name]

    def repaired(self, start: Order, movable: bool) -> Order:
        """Return an arrangement without violations, or the one with the fewest."""
        best, fewest = start, _violations(start)
        current, count = start, fewest
        generator = random.Random(0)
        for step in range(self.steps):
            if fewest == 0:
                break
            if step % 200 == 199:
                current, count = start, _violations(start)
            trial = self._neighbour(current, generator, movable)
            trial_count = _violations(trial)
            if trial_count <= count or generator.random() < 0.05:
                current, count = trial, trial_count
            if count < fewest:
                best, fewest = current, count
        return best

    def _neighbour(self, order: Order, generator: random.Random, movable: bool) -> Order:
        if movable and generator.random() < 0.3:
            moved = self._with_descendants(generator.choice(order.names))
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

    def split(self, order: Order) -> Order:
        """Return the order with the first offending plate in pieces: one per set of plates in it."""
        for piece in order.pieces:
            regions: dict[frozenset[str], set[str]] = {}
            for name in piece.members:
                plates = frozenset(self.graph.by_name[name].plates)
                regions.setdefault(plates, set()).add(name)
            rest = tuple(other for other in order.pieces if other is not piece)
            without = replace(order, pieces=rest)
            if len(regions) > 1 and _violations(without) < _violations(order):
                sets = sorted(map(sorted, regions.values()))
                pieces = (*rest, *(PlatePiece(piece.plate, frozenset(names)) for names in sets))
                return self.repaired(replace(order, pieces=pieces), movable=False)
        alone = tuple(
            PlatePiece(p.plate, frozenset({n})) for p in order.pieces for n in sorted(p.members)
        )
        return replace(order, pieces=alone)


def _violations(order: Order) -> int:
    return Spans(order).violations()


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
