"""Exchanges of neighbours in an order: fewer crossings, shorter edges."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pyro_vae.graph.graph import Graph
from pyro_vae.graph.layout.arrangement import Order, PlatePiece, Spans

IMPROVEMENTS = 300  # exchanges tried
CROSSING, NODE_ON_EDGE = 4.0, 6.0  # in units of length
PAIRS_AT_ONCE = 2**20  # of edges, or of edges and nodes

Positions = Callable[[Order], Mapping[str, tuple[float, float]]]


class Exchange(NamedTuple):
    """Hold two neighbouring runs: from ``start`` to ``middle``, and from there to ``end``."""

    start: int
    middle: int
    end: int

    def of(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names after the exchange."""
        start, middle, end = self
        return (*names[:start], *names[middle:end], *names[start:middle], *names[end:])


def improved(graph: Graph, order: Order, positions: Positions) -> Order:
    """Return an arrangement with fewer crossings and shorter edges, by exchanging neighbours.

    Args:
        graph: the nodes to arrange.
        order: an arrangement without violations.
        positions: returns roughly where an arrangement puts the nodes, in columns and rows.
    """
    best, budget, better = order, IMPROVEMENTS, True
    while better and budget > 0:
        better, start, gain = False, best, -1e-9
        spans, cost = Spans(start), _Cost(graph, positions(start))
        for exchange in _exchanges(start):
            trial = replace(start, names=exchange.of(start.names))
            if spans.break_in(trial, exchange.start, exchange.end):
                continue
            budget -= 1
            change = cost.change(positions(trial))
            if change < gain:
                best, gain, better = trial, change - 1e-9, True
            if budget <= 0:
                break
    return best


def _exchanges(order: Order) -> Iterator[Exchange]:
    """Return the exchanges of two neighbouring runs: single nodes, or all of a plate."""
    place = {name: i for i, name in enumerate(order.names)}
    runs = {(i, i + 1) for i in range(len(order.names))}
    runs |= {run for piece in order.pieces if (run := _run(piece, place)) is not None}
    starting: dict[int, list[int]] = {}
    for start, end in sorted(runs):
        starting.setdefault(start, []).append(end)
    for start, middle in sorted(runs):
        for end in starting.get(middle, ()):
            yield Exchange(start, middle, end)


def _run(piece: PlatePiece, place: Mapping[str, int]) -> tuple[int, int] | None:
    """Return where a plate's members start and end, if no other node is between them."""
    places = [place[name] for name in piece.members]
    start, end = min(places), max(places) + 1
    return (start, end) if end - start == len(places) else None


class _Cost:
    """Weigh crossings, edges through nodes and lengths, as a change from given positions.

    Only pairs of which a node has moved are counted: the cost of everything would grow with the square of
    the number of edges.
    """

    def __init__(self, graph: Graph, positions: Mapping[str, tuple[float, float]]) -> None:
        self.index = {name: i for i, name in enumerate(positions)}
        pairs = [(e.source, e.target) for e in graph.edges if e.source != e.target]
        ends = [(self.index[source], self.index[target]) for source, target in pairs]
        self.ends = np.array(ends, dtype=int).reshape(-1, 2)
        self.before = self._as_array(positions)

    def _as_array(self, positions: Mapping[str, tuple[float, float]]) -> np.ndarray:
        return np.array([positions[name] for name in self.index])

    def change(self, positions: Mapping[str, tuple[float, float]]) -> float:
        """Return how much more the cost is with these positions."""
        after = self._as_array(positions)
        moved = (after != self.before).any(axis=1)
        touched = moved[self.ends].any(axis=1)
        if not touched.any() and not (len(self.ends) and moved.any()):
            return 0.0
        costs = [self._cost(at, moved, touched) for at in (self.before, after)]
        return costs[1] - costs[0]

    def _cost(self, at: np.ndarray, moved: np.ndarray, touched: np.ndarray) -> float:
        """Return the cost of the edges that touch a moved node, and of moved nodes on other edges."""
        a, b = at[self.ends[:, 0]], at[self.ends[:, 1]]
        ones, others = (a[touched], b[touched]), (a[~touched], b[~touched])
        crossings = _crossings(*ones, *ones) / 2 + _crossings(*ones, *others)
        on_edges = _nodes_on_edges(*ones, at) + _nodes_on_edges(*others, at[moved])
        length = float(np.abs(ones[0] - ones[1])[:, 0].sum())
        return CROSSING * crossings + NODE_ON_EDGE * on_edges + length


def _side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return on which side of the line from a to b each c lies, for all pairs."""
    ab = (b - a)[:, None]
    ac = c[None] - a[:, None]
    return np.sign(np.round(ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0], 9))


def _crossings(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> int:
    """Return how many of the edges from a to b cross edges from c to d."""
    count = 0
    for some in _pieces(len(a), len(c)):
        across = _side(a[some], b[some], c) * _side(a[some], b[some], d) < 0
        across &= (_side(c, d, a[some]) * _side(c, d, b[some]) < 0).T
        count += int(across.sum())
    return count


def _nodes_on_edges(a: np.ndarray, b: np.ndarray, positions: np.ndarray) -> int:
    """Return how many nodes stand on an edge of others."""
    count = 0
    for some in _pieces(len(a), len(positions)):
        ab = (b[some] - a[some])[:, None]
        ac = positions[None] - a[some][:, None]
        share = (ab * ac).sum(-1) / np.maximum((ab * ab).sum(-1), 1e-9)
        away = np.linalg.norm(ac - share[..., None] * ab, axis=-1)
        count += int(((share > 0.05) & (share < 0.95) & (away < 0.35)).sum())
    return count


def _pieces(rows: int, columns: int) -> Iterator[slice]:
    """Return slices of the rows of a table, so that each piece fits into memory."""
    step = max(1, PAIRS_AT_ONCE // max(columns, 1))
    return (slice(i, i + step) for i in range(0, rows if columns else 0, step))
