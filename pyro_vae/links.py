"""What makes a positive parameter of any number that a network gives, without running away.

Networks that meet data of any size, as raw counts are, start with outputs of tens and hundreds. Of these
exp makes infinity, 0, or 1e10 and a gradient that training does not recover from.
"""

from torch import Tensor

LEAST = -15.0  # 3e-7
SCALE = 3.0  # 20: posteriors' scales lie below their priors', most of which are near 1
RATE = 15.0  # counts of up to 3 million


def log_link(raw: Tensor, bend: float) -> Tensor:
    """log f(raw) with f = exp from ``LEAST`` to ``bend``, and beyond these no more than linear.

    Above, f = exp(bend) (1 + raw - bend); below, 1 / f = exp(-LEAST) (1 + LEAST - raw).

    >>> import torch
    >>> log_link(torch.tensor([-10.0, 0.0, 2.0]), 0.0).exp()
    tensor([4.5400e-05, 1.0000e+00, 3.0000e+00])
    """
    over, under = (raw - bend).relu(), (LEAST - raw).relu()
    return raw.clamp(LEAST, bend) + over.log1p() - under.log1p()
