"""Draws with one weight each, made from draws with many."""

import torch
from torch import Tensor


def resample(weights: Tensor, num_draws: int) -> Tensor:
    """Return the numbers of the particles that are drawn, (draws, U), by systematic resampling.

    A particle of weight w comes in floor(S w) or one more of the S draws, and in S w on average. The order
    is random for each unit, so a draw of all units together is one of their joint distribution.

    Args:
        weights: (K, U), which sum to 1.
        num_draws: S.

    Source: J. Carpenter, P. Clifford, P. Fearnhead, "Improved particle filter for nonlinear problems",
    1999, https://doi.org/10.1049/ip-rsn:19990255.

    >>> resample(torch.tensor([[0.5], [0.0], [0.5]]), 4).sort(0).values.T
    tensor([[0, 0, 2, 2]])
    """
    num_particles, units = weights.shape
    cumulative = weights.T.double().cumsum(-1).contiguous()  # (U, K)
    offsets = torch.rand(units, 1, dtype=torch.float64, device=weights.device)
    steps = torch.arange(num_draws, dtype=torch.float64, device=weights.device)
    places = (steps + offsets) / num_draws * cumulative[:, -1:]  # (U, S)
    chosen = torch.searchsorted(cumulative, places, right=True).clamp(max=num_particles - 1)
    order = torch.rand(units, num_draws, device=weights.device).argsort(-1)
    return chosen.gather(-1, order).T
