"""The kind of a column: the one whose distribution explains its values best."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from pyro_vae.data.columns.column import Kind

Values = npt.NDArray[Any]

HIGHEST_GRADE = 60  # whole numbers up to this may each have their own probability
HIGHEST_ANSWER = 20  # whole numbers up to this are never measurements
LEAST_OF_HIGHEST = 5  # rows that must have the highest grade: at the end of a tail there are fewer
MARGIN = 5.0  # nats by which logs must be better, and for whole numbers anything but a count
HIGHEST_COUNT = 2**24  # float32 counts no further
ROWS, COLUMNS = 10_000, 500  # that decide, where there are more


def kind_of(values: Values) -> Kind:
    """Return the kind of a column of numbers (N,), with NaN where one is missing.

    Zeros and ones are binary. Otherwise the kind maximises the Bayesian information criterion, its
    distribution's log-likelihood at the fitted parameters less ``parameters / 2 log(rows)``: a negative
    binomial (count), one probability each (grade), a normal (real), a log-normal (positive). The first two
    are for whole numbers from 0; of whole numbers the last two give the probability of ``x - 1/2`` to
    ``x + 1/2``. Whole numbers from 0 are counts unless another kind is better by 5 nats; values are real
    unless their logs are better by 5 nats. Grades end at the highest, so a highest that is as rare as
    the end of a tail excludes them: other rows may go beyond. Numbers from 0 to 20 are never
    measurements, because a draw must be one of them, and not 3.7.

    >>> kind_of(np.array([18.5, 40.2, 33.1, 25.0])), kind_of(np.array([1.0, 5.0, 5.0, 1.0] * 9))
    (<Kind.REAL: 'real'>, <Kind.GRADE: 'grade'>)
    """
    return kind_of_all([values])


def kind_of_all(columns: Iterable[Values]) -> Kind:
    """Return the one kind that suits all columns of a matrix best."""
    total: dict[Kind, float] = {}
    highest, times = -np.inf, 0
    columns = list(columns)
    for number, values in enumerate(columns[:: -(-len(columns) // COLUMNS)]):
        some = values[:: -(-len(values) // ROWS)].astype(np.float64)
        some = some[~np.isnan(some)]
        # a variance may overflow
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            scores = _scores(some)
        top = some.max(initial=-np.inf)
        times = int((some == top).sum()) + times * (top == highest) if top >= highest else times
        highest = max(top, highest)
        shared = total.keys() & scores.keys() if number else scores.keys()
        total = {kind: total.get(kind, 0.0) + scores[kind] for kind in scores if kind in shared}
    if times < LEAST_OF_HIGHEST:
        total.pop(Kind.GRADE, None)
    handicap = {Kind.COUNT: MARGIN, Kind.POSITIVE: -MARGIN}
    return max(total, key=lambda kind: total[kind] + handicap.get(kind, 0.0))


def _scores(x: Values) -> dict[Kind, float]:
    """Return how well each possible kind explains the values, in nats."""
    values, counts = np.unique(x, return_counts=True)
    if len(values) < 2:
        return _scores_of_constant(values, len(x))
    is_whole = bool((values == values.round()).all() and values[-1] < HIGHEST_COUNT)
    is_scale = is_whole and values[0] >= 0 and values[-1] <= HIGHEST_ANSWER
    half = 0.5 if is_whole else 0.0
    scores = {Kind.REAL: -np.inf if is_scale else _normal(values, counts, half)}
    if values[0] > 0:
        scores[Kind.POSITIVE] = -np.inf if is_scale else _log_normal(values, counts, half)
    if is_whole and values[0] >= 0:
        scores[Kind.COUNT] = _count(values, counts)
        if values[-1] <= HIGHEST_GRADE:
            scores[Kind.GRADE] = _grade(counts)
        if values[-1] <= 1:
            scores[Kind.BINARY] = np.inf
    return scores


def _scores_of_constant(values: Values, rows: int) -> dict[Kind, float]:
    """Return the scores of a column with one value, or none."""
    scores = {Kind.REAL: -1.0}  # possible for any, but the last choice
    for value in values:
        if value > 0:
            scores[Kind.POSITIVE] = -1.0
        if value >= 0 and value == round(value) and value < HIGHEST_COUNT:
            scores[Kind.COUNT] = -rows / 2 * np.log(max(1.0, 2 * np.pi * value))  # Poisson's
            scores |= {Kind.GRADE: 0.0} if value <= HIGHEST_GRADE else {}
            scores |= {Kind.BINARY: np.inf} if value <= 1 else {}
    return scores


def _penalty(counts: Values, parameters: int) -> float:
    return float(parameters / 2 * np.log(counts.sum()))


def _normal(x: Values, counts: Values, half: float) -> float:
    mean = np.average(x, weights=counts)
    scale = np.sqrt(np.average((x - mean) ** 2, weights=counts))
    if half:
        log_p = _log_mass((x - half - mean) / scale, (x + half - mean) / scale)
    else:
        log_p = _log_density_of_normal(x, mean, scale)
    return float(counts @ log_p) - _penalty(counts, 2)


def _log_normal(x: Values, counts: Values, half: float) -> float:
    log_x = np.log(x)
    mean = np.average(log_x, weights=counts)
    scale = np.sqrt(np.average((log_x - mean) ** 2, weights=counts))
    if half:
        log_p = _log_mass((np.log(x - half) - mean) / scale, (np.log(x + half) - mean) / scale)
    else:
        log_p = _log_density_of_normal(log_x, mean, scale) - log_x
    return float(counts @ log_p) - _penalty(counts, 2)


def _log_density_of_normal(x: Values, mean: float, scale: float) -> Values:
    return -(((x - mean) / scale) ** 2) / 2 - np.log(scale) - np.log(2 * np.pi) / 2


def _log_mass(low: Values, high: Values) -> Values:
    """Return log(Phi(high) - Phi(low)), from the tail that keeps its digits."""
    from scipy import special  # imported here as it takes a fifth of a second

    above = low > 0
    low, high = np.where(above, -high, low), np.where(above, -low, high)
    log_high = special.log_ndtr(high)
    return log_high + np.log(-np.expm1(special.log_ndtr(low) - log_high))


def _count(x: Values, counts: Values) -> float:
    from scipy import optimize, special

    mean = np.average(x, weights=counts)

    def loss(log_r: float) -> float:
        r = np.exp(log_r)
        coefficient = special.gammaln(x + r) - special.gammaln(r) - special.gammaln(x + 1)
        log_p = coefficient + r * np.log(r / (r + mean)) + x * np.log(mean / (r + mean))
        return -float(counts @ log_p)

    best = optimize.minimize_scalar(loss, bounds=(-7, 14), method="bounded", options={"xatol": 0.1})
    return -float(best.fun) - _penalty(counts, 2)


def _grade(counts: Values) -> float:
    return float(counts @ np.log(counts / counts.sum())) - _penalty(counts, len(counts) - 1)
