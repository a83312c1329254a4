"""Whether made-up rows repeat training rows, and whether they give away which rows were trained on."""

from dataclasses import dataclass

import numpy as np

from pyro_vae.data import Column
from pyro_vae.inference.synthesis.features import Features, Values

MOST_ROWS = 2_000  # that are compared with all others


@dataclass(frozen=True)
class Copies:
    """Hold how near made-up rows lie to training rows.

    Attributes:
        exact: share of made-up rows that are equal to a training row.
        exact_held_out: share of held-out rows that are: what chance alone gives.
        distance: median distance of a made-up row to its nearest training row.
        distance_held_out: median distance of a held-out row to its nearest training row.
        nearest: numbers of the made-up rows that lie nearest to a training row.
        membership: AUROC of guessing by the nearest made-up row whether a row was trained on; 1/2 says
            that the made-up rows do not give that away to this guess.
        membership_error: its standard error.
    """

    exact: float
    exact_held_out: float
    distance: float
    distance_held_out: float
    nearest: tuple[int, ...]
    membership: float
    membership_error: float


def find_copies(
    columns: tuple[Column, ...], real: Values, made: Values, test: Values, seed: int = 0
) -> Copies:
    """Compare made-up rows, training rows and held-out rows by their distances."""
    from scipy.stats import mannwhitneyu  # type: ignore[attr-defined]

    rng, features = np.random.default_rng(seed), Features.of(real, columns)
    some = [rng.permutation(len(x))[:MOST_ROWS] for x in (real, made, test)]
    trained, drawn, held_out = (
        features(x[i]) for x, i in zip((real, made, test), some, strict=True)
    )
    every_real, every_made = features(real), features(made)
    of_made, of_held_out = (_nearest(rows, every_real) for rows in (drawn, held_out))
    # members lie nearer to what was made up after them
    inside, outside = (_nearest(rows, every_made) for rows in (trained, held_out))
    statistic = float(mannwhitneyu(-inside, -outside).statistic)
    auroc = statistic / (len(inside) * len(outside))
    order = of_made.argsort(kind="stable")[:3]
    return Copies(
        float((of_made < 1e-9).mean()),
        float((of_held_out < 1e-9).mean()),
        float(np.median(of_made)),
        float(np.median(of_held_out)),
        tuple(int(i) for i in some[1][order]),
        auroc,
        _error(auroc, len(inside), len(outside)),
    )


def _nearest(rows: Values, others: Values) -> Values:
    from sklearn.neighbors import NearestNeighbors

    # squared distances lose the digits of small ones, so those of the nearest are taken anew
    place = NearestNeighbors(n_neighbors=1).fit(others).kneighbors(rows, return_distance=False)
    return np.sqrt(((rows - others[place[:, 0]]) ** 2).sum(1))


def _error(auroc: float, members: int, others: int) -> float:
    """Return the standard error of an AUROC (J. A. Hanley, B. J. McNeil, 1982)."""
    q1, q2, square = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc), auroc**2
    variance = auroc * (1 - auroc) + (members - 1) * (q1 - square) + (others - 1) * (q2 - square)
    return float(np.sqrt(max(variance, 0) / (members * others)))
