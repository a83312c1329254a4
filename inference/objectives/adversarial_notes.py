"""How a game went: whether a side has won, and whether modes are missing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.metrics.balls import covered
from pyro_vae.program.contract import Program
from pyro_vae.program.parameters import named_parameters

LATE = 0.1  # of the epochs, by which a game is judged
SURE, UNSURE = 0.99, 0.55  # of "told_apart", beyond which a side has won
NEIGHBOURS, LEAST_COVERAGE = 5, 0.5


def auc(real: Tensor, made: Tensor) -> float:
    """Return how often a real row has a higher logit than a made one; 0.5 where nothing tells them apart.

    >>> auc(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.5]))
    0.75
    """
    difference = real.unsqueeze(1) - made
    return float((difference > 0).double().mean() + (difference == 0).double().mean() / 2)


def coverage(real: Tensor, made: Tensor) -> float:
    """Return which part of the real rows has a made one nearer than its fifth real neighbour.

    Rows (U, D) of one distribution give 0.97, whatever it is; :func:`pyro_vae.metrics.coverage` has the
    error of this figure, too.

    >>> x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> coverage(x, x.flip(0) + 0.01) > 0.95, coverage(x, torch.zeros(500, 2)) < 0.1
    (True, True)
    """
    x, y = (rows.double().cpu().numpy() for rows in (real, made))
    return float(covered(x, y, min(NEIGHBOURS, len(x) - 1)).mean())


def gradient_norm(objective: Tensor, program: Program) -> float:
    """Return the norm of the program's gradient."""
    parameters = [p for p in named_parameters(program).values() if p.requires_grad]
    if not parameters or not objective.requires_grad:
        return 0.0
    found = torch.autograd.grad(objective, parameters, allow_unused=True)
    return float(sum((g.square().sum() for g in found if g is not None), torch.zeros(())).sqrt())


def verdict(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Say in a sentence who was ahead over the last tenth of the epochs, and whether modes are missing.

    >>> verdict([{"told_apart": 0.7, "coverage": 0.9}] * 20)
    'neither side has won: the discriminator tells 70 % of pairs apart; draws are near 90 % of the data'
    """
    late = metrics[-max(1, round(LATE * len(metrics))) :]

    def mean(name: str) -> float:
        return float(np.mean([record[name] for record in late if name in record] or [np.nan]))

    told, near = mean("told_apart"), mean("coverage")
    if np.isnan(told):
        return ""
    draws = "" if np.isnan(near) else f"; draws are near {100 * near:.0f} % of the data"
    pairs = f"{100 * told:.0f} % of pairs apart"
    if told > SURE:
        return (
            f"the discriminator has won: it tells {pairs}{draws}. Give it a penalty (R1R2), a lower "
            "learning rate or a smaller network"
        )
    if near < LEAST_COVERAGE:
        return (
            f"modes have collapsed, or were never found{draws}; the discriminator tells {pairs}. "
            "Relativistic with R1R2, a larger batch or more epochs may help"
        )
    if told < UNSURE and np.isnan(near):
        return f"the generator is ahead: the discriminator tells {pairs}, hardly better than chance"
    return f"neither side has won: the discriminator tells {pairs}{draws}"
