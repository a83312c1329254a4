"""What a metric gives: a number with its error, and the numbers behind it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from pyro_vae import argument_checks as checks
from pyro_vae.errors import at_least
from pyro_vae.metrics.arrays import Array, Pairs

SPLITS = 20  # random halves, for an error
Compute = Callable[[Pairs, np.random.Generator], "tuple[float, Mapping[str, Array]]"]


@dataclass(frozen=True)
class Score:
    """Hold a metric of codes and factors.

    Attributes:
        name: of the metric.
        value: 1 is best.
        standard_error: over samples of rows.
        parts: further arrays, by name: by factor or by code.
    """

    name: str
    value: float
    standard_error: float
    parts: Mapping[str, Array] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return f"{self.name} {self.value:.3f} ± {self.standard_error:.3f}"


def scored(name: str, compute: Compute, pairs: Pairs, num_splits: int, seed: int) -> Score:
    """Return a metric with its error, by a bootstrap that draws half of the rows without replacement.

    The spread of a mean over random halves is the standard error of the mean over all rows (a half has
    twice its variance, and half of that is shared). Rows that are drawn twice, as in the usual bootstrap,
    would look like rows of the same value.

    Args:
        name: of the metric.
        compute: the metric of some rows; its noise comes from the generator.
        pairs: all rows.
        num_splits: how many halves are drawn; 0 for no error.
        seed: of all noise.

    Source: P. J. McCarthy, "Pseudo-replication: half samples", 1969, https://doi.org/10.2307/1402116.
    """
    at_least(0, "num_splits", num_splits)
    checks.seed("seed", seed)
    value, parts = compute(pairs, np.random.default_rng(seed))
    values = []
    for split in range(num_splits):
        noise = np.random.default_rng((seed, split))
        half = noise.permutation(len(pairs))[: max(2, len(pairs) // 2)]
        values.append(compute(pairs.rows(half), noise)[0])
    error = float(np.std(values, ddof=1)) if num_splits > 1 else float("nan")
    return Score(name, float(value), error, parts)
