"""Balls around rows that reach to the k-th nearest neighbour: what precision, recall and coverage count."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pyro_vae.errors import at_least_1
from pyro_vae.metrics.arrays import Array

ROWS_AT_ONCE = 1000


def distances(x: Array, y: Array) -> Iterator[Tensor]:
    """Yield the Euclidean distances of some rows of x to all of y, (rows, len(y)), in double precision."""
    others = torch.from_numpy(y)
    for part in torch.from_numpy(x).split(ROWS_AT_ONCE):
        yield torch.cdist(part, others, compute_mode="donot_use_mm_for_euclid_dist")


def radii(x: Array, num_neighbours: int) -> Tensor:
    """Return the distance of each row to its k-th nearest neighbour, not counting itself, (N,)."""
    return torch.cat([d.kthvalue(num_neighbours + 1).values for d in distances(x, x)])


def balls_around(centres: Array, rows: Array, num_neighbours: int) -> Array:
    """Return in how many balls each row lies, (len(rows),).

    >>> import numpy as np
    >>> balls_around(np.array([[0.0], [1.0], [5.0]]), np.array([[0.5], [4.5], [20.0]]), 1)
    array([2, 1, 0])
    """
    reach = radii(centres, num_neighbours)
    return torch.cat([(d <= reach).sum(1) for d in distances(rows, centres)]).numpy()


def nearest(x: Array, y: Array) -> tuple[Array, Array]:
    """Return the distance of each row of x to the nearest of y, and the number of that row, (len(x),)."""
    found = [d.min(1) for d in distances(x, y)]
    parts = torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])
    return parts[0].numpy(), parts[1].numpy()


def covered(centres: Array, rows: Array, num_neighbours: int) -> Array:
    """Return whether a row lies in the ball around each centre, (len(centres),).

    >>> import numpy as np
    >>> covered(np.array([[0.0], [1.0], [5.0]]), np.array([[0.5], [20.0]]), 1)
    array([ True,  True, False])
    """
    found: Array = nearest(centres, rows)[0] <= radii(centres, num_neighbours).numpy()
    return found


def least_rows(num_neighbours: int) -> int:
    """Return how many rows a sample needs, so that half of it has k neighbours for each row."""
    return 2 * (at_least_1("num_neighbours", num_neighbours) + 1)
