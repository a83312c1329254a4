"""What a metric gives: a number with its error, and the numbers behind it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, Self, TypeVar

import numpy as np

from pyro_vae import argument_checks as checks
from pyro_vae.errors import at_least
from pyro_vae.metrics.arrays import Array
from pyro_vae.progress import progress_bar

SPLITS = 20  # random halves, for an error


class Halved(Protocol):
    """Rows that a metric is of, which can be halved."""

    def __len__(self) -> int: ...

    def half(self, noise: np.random.Generator) -> Self: ...


Rows = TypeVar("Rows", bound=Halved)
Compute = Callable[[Rows, np.random.Generator], "tuple[float, Mapping[str, Array]]"]


@dataclass(frozen=True)
class MetricValue:
    """Hold a metric of arrays.

    Attributes:
        name: of the metric.
        value: of a metric of disentanglement, 1 is best.
        standard_error: over samples of rows.
        parts: further arrays, by name: by factor, by code or by row.
        num_rows: n, of the smallest array.
        bias: how far the expectation at n rows is above that of infinitely many, if it falls as 1/n; 0 for
            an unbiased metric.
        notes: sentences that the reader should know.
    """

    name: str
    value: float
    standard_error: float
    parts: Mapping[str, Array] = field(default_factory=dict, repr=False)
    num_rows: int = 0
    bias: float = math.nan
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        about = [f"n = {self.num_rows:,}"] if self.num_rows else []
        if not math.isnan(self.bias):
            about.append(f"bias {signed(self.bias, self._places)}" if self.bias else "no bias")
        line = f"{self.name} {self.cell()}" + (f" ({', '.join(about)})" if about else "")
        return "\n".join((line, *(f"note: {text}" for text in self.notes)))

    def cell(self) -> str:
        """Return the value and its error in print; no error where it is 0.

        >>> MetricValue("MIG", 0.5, 0.02).cell(), MetricValue("kernel distance", 2.04e-5, 3.1e-6).cell()
        ('0.500 ± 0.020', '0.0000204 ± 0.0000031')
        """
        value, error = (
            f"{round(x, self._places) + 0.0:.{self._places}f}"
            for x in (self.value, self.standard_error)
        )
        if self.standard_error == 0:
            return value
        return f"{value} ± {'unknown' if math.isnan(self.standard_error) else error}"

    def extrapolated(self) -> "MetricValue":
        """Return the metric at infinitely many rows, to first order in 1/n: 2 v(n) - v(n/2).

        Source: M. J. Chong, D. Forsyth, "Effectively unbiased FID and Inception score and where to find
        them", 2020, https://arxiv.org/abs/1911.07023.

        >>> MetricValue("Frechet distance", 1.5, 0.1, num_rows=100, bias=0.25).extrapolated().value
        1.25
        """
        if math.isnan(self.bias) or not self.bias:
            return self
        name, value = f"{self.name} at infinite n", self.value - self.bias
        return replace(self, name=name, value=value, bias=math.nan)  # what is left is unknown

    @property
    def _places(self) -> int:
        return places_of(self.standard_error)


def places_of(error: float) -> int:
    """Return how many places show two digits of an error; three or more."""
    known = math.isfinite(error) and error > 0
    return max(3, 1 - math.floor(math.log10(error))) if known else 3


def signed(value: float, places: int) -> str:
    """Return a number with its sign, in print.

    >>> signed(0.25, 2), signed(-0.001, 2)
    ('+0.25', '+0.00')
    """
    return f"{round(value, places) + 0.0:+.{places}f}"


def scored(
    name: str,
    compute: "Compute[Rows]",
    rows: Rows,
    num_splits: int,
    seed: int,
    *,
    is_unbiased: bool = False,
    notes: tuple[str, ...] = (),
) -> MetricValue:
    """Return a metric with its error, by a bootstrap that draws half of the rows without replacement.

    The spread of a mean over random halves is the standard error of the mean over all rows (a half has
    twice its variance, and half of that is shared). Rows that are drawn twice, as in the usual bootstrap,
    would look like rows of the same value. The mean of the halves, less the value, is its bias, if that
    falls as 1/n.

    Args:
        name: of the metric.
        compute: the metric of some rows; its noise comes from the generator.
        rows: all of them.
        num_splits: how many halves are drawn; 0 for no error.
        seed: of all noise.
        is_unbiased: whether the expectation does not depend on the number of rows.
        notes: of the score.

    Source: P. J. McCarthy, "Pseudo-replication: half samples", 1969, https://doi.org/10.2307/1402116.
    """
    at_least(0, "num_splits", num_splits)
    checks.seed("seed", seed)
    value, parts = compute(rows, np.random.default_rng(seed))
    values = []
    with progress_bar(num_splits, None, "half", delay=2) as bar:
        for split in range(num_splits):
            noise = np.random.default_rng((seed, split))
            values.append(compute(rows.half(noise), noise)[0])
            bar.update()
    error = float(np.std(values, ddof=1)) if num_splits > 1 else math.nan
    bias = float(np.mean(values)) - value if num_splits else math.nan
    return MetricValue(
        name, float(value), error, parts, len(rows), 0.0 if is_unbiased else bias, notes
    )


def mean_of_rows(name: str, values: Array, notes: tuple[str, ...] = ()) -> MetricValue:
    """Return the mean of a figure of each row, with its standard error; it has no bias."""
    n = len(values)
    error = float(np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    return MetricValue(name, float(np.mean(values)), error, {"by_row": values}, n, 0.0, notes)
