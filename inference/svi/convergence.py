"""Whether a fit ended before it had converged."""

import math
from collections.abc import Sequence

import numpy as np

MIN_GAIN = 1.0  # nats over the last tenth of the epochs that are worth a note


def late_gain(figures: Sequence[float]) -> float | None:
    """Return the mean of the last tenth of the figures minus that of the tenth before.

    None where there are too few, or where it is within 3 standard errors of 0.

    >>> late_gain([-float(epoch) for epoch in range(100, 0, -1)]), late_gain([-3.0, -1.0])
    (10.0, None)
    """
    count = len(figures) // 10
    if count < 2:
        return None
    before, last = np.array(figures[-2 * count :], dtype=float).reshape(2, count)
    error = math.sqrt((np.diff(before).var() + np.diff(last).var()) / 2 / count)
    gain = float(last.mean() - before.mean())
    return gain if gain > 3 * error else None


def convergence_notes(name: str, figures: Sequence[float]) -> list[str]:
    """Return a sentence if the figure ``name`` still rose by more than a nat at the end."""
    gain = late_gain(figures)
    if gain is None or gain < MIN_GAIN:
        return []
    return [
        f"{name} still rose by {gain:,.{0 if gain > 10 else 1}f} nats over the last tenth of the "
        "epochs: more of them, or a larger learning rate, would go further"
    ]
