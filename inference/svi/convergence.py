"""Whether a fit ended before it had converged."""

import math
from collections.abc import Sequence

import numpy as np

# nats that are worth a word, of joint figures and of each unit's
LEAST_GAIN = {True: 1.0, False: 0.01}
STRETCH = 0.1  # of a run's way, whose figures are compared with those of the stretch before
CERTAIN = 3.0  # standard errors
# a figure beyond float32's last place of a nat, and so many times as far from 0 as at first: rounding alone
ROUNDED, TIMES_FIRST = 1 / float(np.finfo(np.float32).eps), 1e3
FEW_STEPS, FAR = 1_000, 10.0  # of a run that may end before a parameter has come to its place


def late_gain(figures: Sequence[float], rates: Sequence[float]) -> tuple[float, float] | None:
    """Return the mean of the last tenth of a run's figures minus that of the tenth before, and its error.

    A tenth is one of the way, the sum of the learning rates: where a schedule lets the rate fall to 0, the
    last epochs stand still, and figures that stay as they are show nothing. None where either tenth has
    fewer than two epochs.

    >>> gain, error = late_gain([-float(epoch) for epoch in range(100, 0, -1)], [0.01] * 100)
    >>> gain, late_gain([-3.0, -1.0], [0.01, 0.01])
    (10.0, None)
    """
    steps = np.asarray(rates, dtype=float)
    way = (steps.cumsum() - steps / 2) / max(steps.sum(), np.finfo(float).tiny)
    values = np.asarray(figures, dtype=float)
    last = values[way > 1 - STRETCH]
    before = values[(way > 1 - 2 * STRETCH) & (way <= 1 - STRETCH)]
    if min(len(before), len(last)) < 2:
        return None
    # from one epoch to the next, where a trend does not count
    variances = [np.square(np.diff(part)).mean() / 2 / len(part) for part in (before, last)]
    return float(last.mean() - before.mean()), math.sqrt(sum(variances))


def is_certain(gain: float, error: float, is_joint: bool) -> bool:
    """Return whether a change of a figure is beyond its noise, and large enough to matter."""
    return abs(gain) > max(CERTAIN * error, LEAST_GAIN[is_joint])


def verdict(
    name: str,
    figures: Sequence[float],
    rates: Sequence[float],
    is_joint: bool,
    times: str,
    steps_per_epoch: int = 1,
) -> str:
    """Say in a sentence whether a figure had converged at the end of a run.

    A short run may stand still only by the measure of its figure. A step of Adam moves a parameter by the
    rate, at most. A guide that is narrow and has not arrived gains little from step to step; its weights
    have light tails, so that Pareto's k is small, too. The sentence then says how far the steps reach.

    Args:
        name: of the figure, as in "the ELBO".
        figures: of each epoch, in nats.
        rates: the learning rate of each epoch.
        is_joint: whether the figures are of all data together.
        times: what the run counts, "steps" or "epochs".
        steps_per_epoch: how many steps each rate is of.

    >>> print(verdict("the ELBO", [-3.0] * 1_000, [0.1] * 1_000, True, "steps"))
    the ELBO had levelled off: it changed by 0.00 ± 0.00 nats over the last tenth of the steps
    """
    first, last = figures[0], figures[-1]
    if abs(last) > max(ROUNDED, TIMES_FIRST * abs(first)):
        return (
            f"the fit has diverged: {name} went from {first:,.2f} to {last:.2g} nats, where float32 holds "
            "no digit of a nat; try a smaller learning rate or gradient clipping (clip_norm)"
        )
    found = late_gain(figures, rates)
    if found is None:
        return f"there are too few {times} to tell whether {name} had converged"
    gain, error = found
    places = 0 if abs(gain) > 10 else 1 if abs(gain) > 1 else 2 if is_joint else 3
    weighted = ", weighted by the learning rate" if min(rates) < max(rates) else ""
    over = f"over the last tenth of the {times}{weighted}"
    if not is_certain(gain, error, is_joint):
        change = f"it changed by {gain:,.{places}f} ± {error:,.{places}f} nats {over}"
        if error * CERTAIN > LEAST_GAIN[is_joint]:
            change = f"the noise of {name} hides whether it had levelled off: {change}"
        else:
            change = f"{name} had levelled off: {change}"
        return change + (_reach(rates, steps_per_epoch) if is_joint else "")
    if gain < 0:
        return f"{name} was falling at the end, by {-gain:,.{places}f} nats {over}"
    return (
        f"{name} was still rising at the end, by {gain:,.{places}f} nats {over}: more {times}, or a larger "
        "learning rate, would go further"
    )


def _reach(rates: Sequence[float], steps_per_epoch: int) -> str:
    """Say how far a parameter can have moved, where that may be too little."""
    steps, way = len(rates) * steps_per_epoch, sum(rates) * steps_per_epoch
    if steps >= FEW_STEPS or way >= FAR:
        return ""
    return (
        f"; but {steps:,} steps of Adam at such learning rates move a parameter by {way:.2g} at most: if "
        "more steps change the results, the guide had not arrived"
    )
