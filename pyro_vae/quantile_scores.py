"""The ranks of numbers as a scale: what is spiked, rounded or skewed in a file looks alike on it."""

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pyro_vae.scaling import Scaling

CELLS = 100  # a value, or a stretch of values, gets its own cell if it holds this share of the rows
FEWEST_ROWS = 10  # in such a cell
EDGES = 4 * CELLS + 3
SPREAD = 1e-3  # probability that is spread evenly over the cells, so that none is empty
TAIL = 0.1  # probability of the tails, whose slopes go on beyond the data
DECIMALS = 6  # of a resolution, at most
EXACT = 4e6  # float32 holds the halves of no more steps
FLOAT32 = 5e-7  # relative distance of two numbers that float32 tells apart
FLATTEST = 0.05  # a tail's step, at least, in units of the span of the data

Values = npt.NDArray[np.float64]


class QuantileScores(Scaling):
    """Hold for each column a map from its values to scores, u = logit(rank), which is piecewise linear.

    Its inverse is the quantile function of the data, x = Q(u): if u is a standard logistic, x is
    distributed as the data are. A value that recurs in many rows has a cell of its own; other values
    share a cell with their neighbours. Beyond the data the slopes of the tails go on.

    Args:
        shape: (columns,).

    >>> scores = QuantileScores((1,))
    >>> scores.learn(torch.tensor([[0.0]] * 80 + [[1.0]] * 20))
    >>> scores.to_scores(torch.tensor([[0.0], [1.0]])).sigmoid().round(decimals=2).mT
    tensor([[0.1200, 0.9700]])
    """

    edges: Tensor  # of the cells: columns, EDGES
    scores: Tensor  # at the edges
    resolution: Tensor  # columns; the step between neighbouring values
    is_rounded: Tensor  # columns; whether the file's values are multiples of a step

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        columns = self.location.numel()
        line = torch.linspace(-8.0, 8.0, EDGES).repeat(columns, 1)
        self.register_buffer("edges", line)
        self.register_buffer("scores", line.clone())
        self.register_buffer("resolution", torch.full((columns,), 1e-3))
        self.register_buffer("is_rounded", torch.zeros(columns, dtype=torch.bool))

    @torch.no_grad()
    def learn(self, x: Tensor, may_keep: Tensor | bool = True) -> None:
        """Learn the cells from data ``rows | columns``, where NaN is missing; do nothing once learnt."""
        rows = self._first_rows(x)
        if rows is None:
            return
        for j, values in enumerate(rows.cpu().numpy().T):
            known = values[~np.isnan(values)]
            if len(known):
                step, self.is_rounded[j] = _resolution(known)
                edges, scores = _cells(known, step)
                self.edges[j], self.scores[j] = torch.tensor(edges), torch.tensor(scores)
                self.resolution[j] = step

    def column(self, j: int) -> "QuantileScores":
        """Return the map of one column alone; it shares its tensors with this one."""
        own = copy.copy(self)
        own._buffers = {
            name: None if part is None else part[j : j + 1] if part.dim() else part
            for name, part in self._buffers.items()
        }
        return own

    def cell(self, x: Tensor, columns: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return the score of each value of some columns, and the slope du/dx there, ``B, columns |``."""
        edges, scores = self.edges[columns], self.scores[columns]
        place = _places(edges, x)
        slopes = scores.diff() / edges.diff()
        left, score, slope = (_at(of, place) for of in (edges, scores, slopes))
        return score + (x - left) * slope, slope

    def to_scores(self, x: Tensor, columns: slice = slice(None)) -> Tensor:
        """Return the score of each value of some columns, ``B, columns |``."""
        return self.cell(x, columns)[0]

    def to_values(self, u: Tensor) -> Tensor:
        """Return Q(u), ``B, columns |``, rounded as the file's values are."""
        place = _places(self.scores, u)
        slopes = self.edges.diff() / self.scores.diff()
        left, value, slope = (_at(of, place) for of in (self.scores, self.edges, slopes))
        x = value + (u - left) * slope
        return torch.where(self.is_rounded, (x / self.resolution).round() * self.resolution, x)


def _places(grid: Tensor, x: Tensor) -> Tensor:
    """Return the number of the cell of each value; the first and the last go on to infinity."""
    flat = x.reshape(-1, x.shape[-1]).mT.clone(memory_format=torch.contiguous_format)
    place = torch.searchsorted(grid[:, 1:-1].contiguous(), flat, right=True)
    return place.mT.reshape(x.shape)


def _at(grid: Tensor, place: Tensor) -> Tensor:
    """Return ``grid[j, place[..., j]]``."""
    return grid[torch.arange(len(grid), device=grid.device), place]


def _resolution(values: Values) -> tuple[float, bool]:
    """Return the largest step whose multiples all values are, or one too small to see."""
    for decimals in range(DECIMALS + 1):
        multiples = values * 10.0**decimals
        if np.abs(multiples).max() > EXACT:
            break
        if (np.abs(multiples - multiples.round()) < 0.01 + 1e-7 * np.abs(multiples)).all():
            common = np.gcd.reduce(multiples.round().astype(np.int64))
            return max(1, int(common)) / 10.0**decimals, True
    spread = np.subtract(*np.quantile(values, [0.75, 0.25])) or np.ptp(values) or 1.0
    return float(1e-5 * spread), False


def _cells(values: Values, step: float) -> tuple[Values, Values]:
    """Return the edges of cells, and the scores there."""
    number = len(values)
    distinct, counts = np.unique(values, return_counts=True)
    fewest = max(FEWEST_ROWS, number / CELLS)
    recurs = counts >= fewest
    before = np.cumsum(np.where(recurs, 0, counts)) - np.where(recurs, 0, counts)
    stretch = np.floor(before / fewest)
    starts = np.ones(len(distinct), bool)
    starts[1:] = recurs[1:] | recurs[:-1] | (stretch[1:] != stretch[:-1])
    # a cell ends where the next one begins, but a value that recurs keeps to itself
    edges = np.concatenate([distinct[starts] - step / 2, distinct[recurs] + step / 2])
    edges = np.unique(np.append(edges, distinct[-1] + step / 2))
    apart = np.diff(edges) > np.maximum(
        step / 2, FLOAT32 * np.abs(edges[1:])
    )  # rounding makes twins
    edges = edges[np.append(True, apart)] if apart.any() else edges[[0, -1]]
    rank = np.searchsorted(np.sort(values), edges) / number
    rank = (1 - SPREAD) * rank + SPREAD * np.linspace(0, 1, len(edges))
    rank = (rank * number + 0.5) / (number + 1)
    return _padded(edges, np.log(rank / (1 - rank)))


def _padded(edges: Values, scores: Values) -> tuple[Values, Values]:
    """Add cells beyond the data, with the slopes of the tails, so that all columns have as many."""
    low, high = np.interp(np.log(TAIL / (1 - TAIL)) * np.array([1, -1]), scores, edges)
    spare = EDGES - len(edges)
    below = (low - edges[0]) / max(np.log(TAIL / (1 - TAIL)) - scores[0], 1.0)
    above = (edges[-1] - high) / max(scores[-1] + np.log(TAIL / (1 - TAIL)), 1.0)
    least = FLATTEST * (edges[-1] - edges[0]) + FLOAT32 * np.abs(edges).max()
    below, above, steps = max(below, least), max(above, least), np.arange(1, spare)
    edges = np.concatenate([[edges[0] - below], edges, edges[-1] + above * steps])
    return edges, np.concatenate([[scores[0] - 1], scores, scores[-1] + steps])
