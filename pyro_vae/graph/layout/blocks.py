"""Places as near as possible to the desired ones that keep least distances.

Source: T. Dwyer, K. Marriott, P. J. Stuckey, "Fast node overlap removal", 2005, without its splitting of
blocks.
"""

import heapq
from collections.abc import Sequence

from pyro_vae.graph.layout.distances import Distances

LEAST_LACK = 1e-6


def nearest_feasible(desired: Sequence[float], distances: Distances) -> list[float]:
    """Return the places nearest to the desired ones: colliding nodes form a block that moves as one."""
    blocks = _Blocks(desired, distances)
    while (worst := blocks.pop_worst()) is not None:
        blocks.join(worst)
    return blocks.places()


class _Blocks:
    """Hold blocks of nodes, and how much each distance between two of them lacks."""

    def __init__(self, desired: Sequence[float], distances: Distances) -> None:
        self.pairs, self.distances = list(distances), list(distances.values())
        self.block = list(range(len(desired)))  # of each node
        self.offset = [0.0] * len(desired)  # of each node from its block's middle
        self.members = [[i] for i in range(len(desired))]
        self.total = list(desired)  # of each block: the sum of what its nodes desire for its middle
        self.middle = list(desired)
        self.touching: list[list[int]] = [[] for _ in desired]  # distances to other blocks
        for number, (i, j) in enumerate(self.pairs):
            self.touching[i].append(number)
            self.touching[j].append(number)
        lacks = ((self._lack(number), number) for number in range(len(self.pairs)))
        self.queue = [(-lack, number) for lack, number in lacks if lack > LEAST_LACK]
        heapq.heapify(self.queue)

    def _lack(self, number: int) -> float:
        i, j = self.pairs[number]
        left = self.middle[self.block[i]] + self.offset[i]
        return left + self.distances[number] - self.middle[self.block[j]] - self.offset[j]

    def pop_worst(self) -> int | None:
        """Return the distance that lacks most, or None; entries from before a block moved are void."""
        while self.queue:
            lack, number = heapq.heappop(self.queue)
            i, j = self.pairs[number]
            if self.block[i] != self.block[j] and self._lack(number) == -lack:
                return number
        return None

    def join(self, number: int) -> None:
        """Make one block of the two on either side of a distance, just that far apart."""
        i, j = self.pairs[number]
        kept, gone = self.block[i], self.block[j]
        shift = self.offset[i] + self.distances[number] - self.offset[j]
        if len(self.members[gone]) > len(self.members[kept]):
            kept, gone, shift = gone, kept, -shift
        for k in self.members[gone]:
            self.block[k], self.offset[k] = kept, self.offset[k] + shift
        self.total[kept] += self.total[gone] - shift * len(self.members[gone])
        self.members[kept] += self.members[gone]
        self.middle[kept] = self.total[kept] / len(self.members[kept])
        touching = dict.fromkeys((*self.touching[kept], *self.touching[gone]))
        self.touching[kept] = [
            n for n in touching if len({self.block[k] for k in self.pairs[n]}) > 1
        ]
        for n in self.touching[kept]:
            lack = self._lack(n)
            if lack > LEAST_LACK:
                heapq.heappush(self.queue, (-lack, n))

    def places(self) -> list[float]:
        return [self.middle[b] + o for b, o in zip(self.block, self.offset, strict=True)]
