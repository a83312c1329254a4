"""Drawn numbers as the file could have them: as many decimals as its numbers have, within their range."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pyro_vae.data import Split

DECIMALS = 6  # of numbers in a file, at most
BY_LUCK = -10.0  # log-probability that numbers without decimals would look as if they had them


def as_in_file(x: Tensor, split: Split) -> Tensor:
    """Return drawn rows of a table as the file could have them, in float64.

    A column of whole numbers gets whole numbers, one of numbers with two decimals two decimals. A number
    beyond the range of ``split`` moves to its end.

    Args:
        x: drawn rows, ``rows | columns``, in units of the file.
        split: rows to take after: those that the model was fitted to.

    >>> from pyro_vae.data import load
    >>> as_in_file(torch.full((1, 14), 1e5), load("wine").train)[0, :2].tolist()
    [14.83, 5.8]
    """
    data = split.to_original(split.read(torch.arange(len(split)))).double().numpy()
    pairs = zip(x.double().numpy().T, data.T, strict=True)
    return torch.from_numpy(np.stack([_like(new, known) for new, known in pairs], 1))


def _like(x: npt.NDArray[np.float64], known: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    known = known[~np.isnan(known)]
    if not len(known):
        return x
    low, high, decimals = known.min(), known.max(), decimals_of(known)
    if decimals is None:  # the shortest decimal that is this number in float32
        return np.array([float(str(v)) for v in x.clip(low, high).astype(np.float32)])
    return x.round(decimals).clip(low.round(decimals), high.round(decimals))


def decimals_of(known: npt.NDArray[np.float64]) -> int | None:
    """Return how many decimals numbers have, or None where they are too many to tell.

    Large numbers went through float32, which has 7 digits: each one is near some multiple of 0.01, say,
    whatever it was. So all of them together must lie nearer than numbers would by luck.

    >>> decimals_of(np.array([3.0, 4.0])), decimals_of(np.array([0.25, 1.5]))
    (0, 2)
    """
    values = np.unique(np.abs(known[known != 0]))
    slack = 1e-9 + 1e-7 * values
    for decimals in range(DECIMALS + 1):
        luck = np.minimum(1.0, 2 * slack * 10.0**decimals)
        are_near = bool((np.abs(values - values.round(decimals)) <= slack).all())
        if are_near and (not len(values) or np.log(luck).sum() < BY_LUCK):
            return decimals
    return None
