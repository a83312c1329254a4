"""Whether a fit ended before it had arrived."""

import math
from collections.abc import Sequence

import numpy as np

LEAST_RISE = 1.0  # nats over the last tenth of the epochs that are worth a word
TENTHS = 10


def rise(figures: Sequence[float]) -> float | None:
    """How much the figures of the last tenth are above those of the tenth before, on average.

    None where there are too few to tell, or where it is within 3 standard errors of 0.

    >>> rise([-float(epoch) for epoch in range(100, 0, -1)]), rise([-3.0, -1.0])
    (10.0, None)
    """
    count = len(figures) // TENTHS
    if count < 2:
        return None
    before, last = np.array(figures[-2 * count :], dtype=float).reshape(2, count)
    error = math.sqrt((np.diff(before).var() + np.diff(last).var()) / 2 / count)
    found = float(last.mean() - before.mean())
    return found if found > 3 * error else None


def what_rises(name: str, figures: Sequence[float]) -> list[str]:
    """A sentence, if what was maximised still rose by more than a nat at the end."""
    found = rise(figures)
    if found is None or found < LEAST_RISE:
        return []
    return [
        f"{name} still rose by {found:,.{0 if found > 10 else 1}f} nats over the last tenth of the "
        "epochs: more of them, or a larger learning rate, would go further"
    ]
