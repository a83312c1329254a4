"""An arrangement of nodes, and whether rectangles can show its plates.

A plate's rectangle spans its members' rows and their part of the order. So no other node may stand
within both, and plates without a common member may not overlap.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


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


class Spans:
    """Hold the columns and rows that each plate spans in an order."""

    def __init__(self, order: Order) -> None:
        self.order = order
        place = {name: i for i, name in enumerate(order.names)}
        spans = []
        self.around: dict[str, list[int]] = {name: [] for name in order.names}
        for number, piece in enumerate(order.pieces):
            places = [place[name] for name in piece.members]
            rows = [order.rows[name] for name in piece.members]
            spans.append((min(places), max(places), min(rows), max(rows)))
            for name in piece.members:
                self.around[name].append(number)
        self.left, self.right, self.top, self.bottom = np.array(spans, int).reshape(-1, 4).T

    def violations(self) -> int:
        """Return how many nodes and plates are where a rectangle must not have them."""
        count = 0
        for number in range(len(self.left)):
            left, right = int(self.left[number]), int(self.right[number])
            count += self._strangers(number, self.order.names[left + 1 : right])
            later = self._overlapping(number, left, right)
            count += sum(self._are_apart(number, other) for other in later if other > number)
        return count

    def break_in(self, trial: Order, start: int, end: int) -> bool:
        """Return whether an order has violations that differs from this one, without any, in a window."""
        window = trial.names[start:end]
        left, right = self.left.copy(), self.right.copy()
        ends_here = (left >= start) & (left < end), (right >= start) & (right < end)
        left[ends_here[0]], right[ends_here[1]] = end, start
        for place, name in enumerate(window, start):
            for number in self.around[name]:
                if ends_here[0][number]:
                    left[number] = min(left[number], place)
                if ends_here[1][number]:
                    right[number] = max(right[number], place)
        changed = Spans.__new__(Spans)
        changed.__dict__.update(self.__dict__ | {"left": left, "right": right})
        for number in map(int, np.flatnonzero(ends_here[0] | ends_here[1])):
            first, last = int(left[number]), int(right[number])
            if changed._strangers(number, trial.names[max(first + 1, start) : min(last, end)]):
                return True
            others = changed._overlapping(number, first, last)
            if any(changed._are_apart(number, other) for other in others):
                return True
        return False

    def _strangers(self, number: int, names: tuple[str, ...]) -> int:
        """Return how many of the nodes are in a plate's rows and not in the plate."""
        members, rows = self.order.pieces[number].members, self.order.rows
        top, bottom = self.top[number], self.bottom[number]
        return sum(top <= rows[name] <= bottom and name not in members for name in names)

    def _overlapping(self, number: int, left: int, right: int) -> np.ndarray:
        across = (self.left <= right) & (left <= self.right)
        across &= (self.top <= self.bottom[number]) & (self.top[number] <= self.bottom)
        across[number] = False
        return np.flatnonzero(across)

    def _are_apart(self, number: int, other: int) -> bool:
        """Return whether two plates have no common member."""
        pieces = self.order.pieces
        return pieces[number].members.isdisjoint(pieces[other].members)
