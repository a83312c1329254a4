"""A link function: it turns any output of a network into a positive parameter.

A network that reads data of any size, such as raw counts, starts with outputs of tens and hundreds; exp
turns these into infinity, 0, or 1e10 with a gradient from which training does not recover.
"""

from torch import Tensor

LEAST = -15.0  # log 3e-7
SCALE = 3.0  # log 20: a posterior scale lies below the prior's, which is near 1 for most
RATE = 15.0  # log of 3 million counts


def log_link(raw: Tensor, bend: float) -> Tensor:
    """Return log f(raw), with f = exp between ``LEAST`` and ``bend``, and at most linear growth beyond.

    Above, f = exp(bend) (1 + raw - bend); below, 1 / f = exp(-LEAST) (1 + LEAST - raw).

    >>> import torch
    >>> log_link(torch.tensor([-10.0, 0.0, 2.0]), 0.0).exp()
    tensor([4.5400e-05, 1.0000e+00, 3.0000e+00])
    """
    over, under = (raw - bend).relu(), (LEAST - raw).relu()
    return raw.clamp(LEAST, bend) + over.log1p() - under.log1p()
