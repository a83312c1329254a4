"""The least distances that keep nodes and plates apart, between as few pairs of nodes as say all of it."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product
from math import inf

from pyro_vae.graph.layout.arrangement import Order, PlatePiece
from pyro_vae.graph.layout.boxes import NodeBox

NODE_GAP = 22.0

Distances = Mapping[tuple[int, int], float]  # the least from a node to one on its right


@dataclass(frozen=True)
class PlateMargins:
    """Hold how far a plate's rectangle reaches beyond its members' centres and rows."""

    piece: PlatePiece
    reach: Mapping[str, float]  # to either side of each member
    above: float
    below: float
    rows: tuple[int, int]


def least_distances(
    order: Order, boxes: Mapping[str, NodeBox], margins: Sequence[PlateMargins]
) -> Distances:
    """Return the distances by the places of two nodes in the order, sorted by the right one.

    A pair whose distance follows from those of pairs between them is left out.
    """
    around: dict[str, list[PlateMargins]] = {name: [] for name in order.names}
    for plate in margins:
        for name in plate.reach:
            around[name].append(plate)
    neighbours = _Neighbours(order, boxes, margins, around)
    distances: dict[tuple[int, int], float] = {}
    for j, i in sorted({(j, i) for i, j in neighbours.pairs()}):
        distance = _least_distance(order.names[i], order.names[j], order, boxes, around)
        if distance is not None:
            distances[i, j] = distance
    return _without_implied(distances)


def _without_implied(distances: Distances) -> Distances:
    """Return the distances without those that follow from two others, over a node in between."""
    kept: dict[int, list[int]] = {}  # by the right node
    for i, j in sorted(distances, key=lambda pair: (pair[1], -pair[0])):
        over = (distances.get((i, k), -inf) + distances[k, j] for k in kept.get(j, ()))
        if all(distance < distances[i, j] for distance in over):
            kept.setdefault(j, []).append(i)
    return {pair: d for pair, d in distances.items() if pair[0] in kept[pair[1]]}


class _Neighbours:
    """Find the pairs of nodes, or of plates' outermost nodes, that stand next to each other in a row."""

    def __init__(
        self,
        order: Order,
        boxes: Mapping[str, NodeBox],
        margins: Sequence[PlateMargins],
        around: Mapping[str, Sequence[PlateMargins]],
    ) -> None:
        self.order, self.boxes, self.margins, self.around = order, boxes, margins, around
        self.place = {name: i for i, name in enumerate(order.names)}
        self.rows: dict[int, list[int]] = {}  # of each row, the places of its nodes
        for i, name in enumerate(order.names):
            self.rows.setdefault(order.rows[name], []).append(i)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Return pairs of places, the left one first; all pairs where plates cross."""
        siblings = self._siblings()
        if siblings is None:
            yield from combinations(range(len(self.order.names)), 2)
            return
        for row in self.rows.values():
            yield from pairwise(row)
        sides = {id(plate): self._outermost(plate) for plate in self.margins}
        for plate in self.margins:
            lefts, rights = sides[id(plate)]
            before, after = self._beside(plate)
            yield from product(before, lefts)
            yield from product(rights, after)
        for plates in siblings:
            for left, right in self._adjacent(plates):
                yield from product(sides[id(left)][1], sides[id(right)][0])

    def _siblings(self) -> list[list[PlateMargins]] | None:
        """Return the plates in each plate, without those inside of them; None where some cross."""
        outer: dict[int, int] = {}  # from small to large: the next larger plate around it
        index = {id(plate): i for i, plate in enumerate(self.margins)}
        for plates in self.around.values():
            chain = [index[id(plate)] for plate in plates]
            for inside, outside in pairwise((*chain, -1)):
                if outer.setdefault(inside, outside) != outside:
                    return None
        groups: dict[int, list[PlateMargins]] = {}
        for inside, outside in outer.items():
            groups.setdefault(outside, []).append(self.margins[inside])
        return list(groups.values())

    def _outermost(self, plate: PlateMargins) -> tuple[list[int], list[int]]:
        """Return the members that decide where a plate's left and its right border can be."""
        by_row: dict[int, list[str]] = {}
        for name in sorted(plate.reach, key=self.place.__getitem__):
            by_row.setdefault(self.order.rows[name], []).append(name)
        left = [i for row in by_row.values() for i in self._far_reaching(plate, row)]
        right = [i for row in by_row.values() for i in self._far_reaching(plate, row[::-1])]
        return left, right

    def _far_reaching(self, plate: PlateMargins, row: Sequence[str]) -> Iterator[int]:
        """Return a row's first member, and those behind it from which the plate reaches further."""
        first: str | None = None
        for name in row:
            if first is not None:
                behind = NODE_GAP + (self.boxes[first].width + self.boxes[name].width) / 2
                if plate.reach[name] <= plate.reach[first] + behind:
                    continue
            first = name
            yield self.place[name]

    def _beside(self, plate: PlateMargins) -> tuple[set[int], set[int]]:
        """Return the nodes next to a plate in its rows, to the left and to the right."""
        places = [self.place[name] for name in plate.reach]
        first, last = min(places), max(places)
        before, after = set(), set()
        for row in range(plate.rows[0], plate.rows[1] + 1):
            own = self.rows.get(row, [])
            i, j = bisect_left(own, first), bisect_right(own, last)
            before |= set(own[i - 1 : i]) if i else set()
            after |= set(own[j : j + 1])
        return before, after

    def _adjacent(
        self, plates: Iterable[PlateMargins]
    ) -> Iterator[tuple[PlateMargins, PlateMargins]]:
        """Return the pairs of plates that are next to each other in a row."""
        by_row: dict[int, list[PlateMargins]] = {}
        for plate in sorted(plates, key=lambda p: min(self.place[name] for name in p.reach)):
            for row in range(plate.rows[0], plate.rows[1] + 1):
                by_row.setdefault(row, []).append(plate)
        found = {(id(a), id(b)): (a, b) for row in by_row.values() for a, b in pairwise(row)}
        yield from found.values()


def _least_distance(
    left: str,
    right: str,
    order: Order,
    boxes: Mapping[str, NodeBox],
    around: Mapping[str, Sequence[PlateMargins]],
) -> float | None:
    """Return the least distance of two nodes' centres; None where one may stand above the other."""
    rows = order.rows
    around_left = [m for m in around[left] if right not in m.reach]
    around_right = [m for m in around[right] if left not in m.reach]
    reaches = (
        [boxes[left].width / 2, *_reaches(around_left, rows[right], around_right, left)],
        [boxes[right].width / 2, *_reaches(around_right, rows[left], around_left, right)],
    )
    if rows[left] != rows[right] and all(len(each) == 1 for each in reaches):
        return None
    return NODE_GAP + sum(map(max, reaches))


def _reaches(
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
