"""The maximum of a likelihood near the fitted parameters, by Newton's method."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pyro_vae.inference.parameters.derivatives import Derivatives

MOST_STEPS, MOST_HALVINGS = 30, 12
ENOUGH = 1e-9  # nats that a further step would gain
FLOOR = 1e-4  # of a curvature, relative to the largest: a step along a flat direction stays short

Evaluate = Callable[[Sequence[Tensor]], Derivatives]
"""Returns the derivatives of the log-likelihood at parameters."""


def maximize(evaluate: Evaluate, start: Sequence[Tensor]) -> tuple[list[Tensor], Derivatives]:
    """Return parameters where the log-likelihood has a maximum, and its derivatives there.

    A fit ends close to one: the noise of its last steps is left. A step that would not climb is halved;
    where none climbs, rounding ends the way.

    Args:
        evaluate: of all data.
        start: the fitted parameters.
    """
    at, found = [each.double() for each in start], evaluate(start)
    for _ in range(MOST_STEPS):
        gradient = found.scores.sum(0)
        step = newton_step(found.hessian, gradient)
        if not step.isfinite().all() or float(gradient @ step) / 2 < ENOUGH:
            break
        for halving in range(MOST_HALVINGS):
            there = _moved(at, step / 2**halving)
            other = evaluate(there)
            if float(other.values.sum()) > float(found.values.sum()):  # False of NaN
                break
        else:
            break
        at, found = there, other
    return at, found


def newton_step(hessian: Tensor, gradient: Tensor) -> Tensor:
    """Return a step uphill, (P,): Newton's where the log-likelihood is concave."""
    variances = hessian.diagonal().abs()
    scale = torch.where(variances > 0, variances, 1.0).rsqrt()
    scaled = scale[:, None] * hessian * scale
    if not scaled.isfinite().all():
        return torch.full_like(gradient, torch.nan)
    eigenvalues, vectors = torch.linalg.eigh(scaled)
    sizes = eigenvalues.abs()
    sizes = sizes.clamp(min=FLOOR * float(sizes.max()))
    return scale * (vectors @ ((vectors.T @ (scale * gradient)) / sizes))


def _moved(at: Sequence[Tensor], step: Tensor) -> list[Tensor]:
    parts = step.split([each.numel() for each in at])
    return [each + part.reshape(each.shape) for each, part in zip(at, parts, strict=True)]
