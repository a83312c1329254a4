"""What makes a positive parameter of any number that a network gives, without running away.

Networks that meet data of any size, as raw counts are, start with outputs of tens, of which exp makes 1e10
and a gradient that training does not recover from.
"""

from torch import Tensor

SCALE = 0.0  # a posterior's scales lie below its prior's, most of which are near 1
RATE = 15.0  # counts of up to 3 million


def log_link(raw: Tensor, bend: float) -> Tensor:
    """log f(raw) with f = exp up to ``bend``, and beyond it the tangent there, exp(bend) (1 + raw - bend).

    >>> import torch
    >>> log_link(torch.tensor([-20.0, 0.0, 2.0]), SCALE).exp()
    tensor([2.0612e-09, 1.0000e+00, 3.0000e+00])
    """
    over = (raw - bend).relu()
    return raw - over + over.log1p()
