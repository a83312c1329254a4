"""A table of people: numbers of several kinds, words, a date, and gaps."""

import numpy as np
import pandas as pd

JOBS = np.array(["clerk", "nurse", "cook"])


def people(rows: int = 300, gaps: float = 0.1, seed: int = 24) -> pd.DataFrame:
    """Columns age (real), income (positive), visits (count), smoker, job and admitted (date)."""
    rng = np.random.default_rng(seed)
    k, z = rng.integers(0, 3, rows), rng.normal(size=rows)
    frame = pd.DataFrame(
        {
            "age": (40 + 12 * z + 5 * k).round(1),
            "income": np.exp(8 + 0.5 * z + 0.4 * k + 0.3 * rng.normal(size=rows)).round(2),
            "visits": rng.poisson(np.exp(0.3 + 0.5 * z)),
            "smoker": np.where(rng.random(rows) < 1 / (1 + np.exp(2 - 2 * k)), "yes", "no"),
            "job": JOBS[(k + (rng.random(rows) < 0.1)) % 3],
            "admitted": (np.datetime64("2020-01-01") + rng.integers(0, 900, rows)).astype(str),
        }
    )
    return frame.mask(rng.random(frame.shape) < gaps)
