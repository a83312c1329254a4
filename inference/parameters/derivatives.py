"""Scores of units, and the Hessian of their sum, by reverse-mode differentiation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Derivatives:
    """Hold log-likelihoods with their derivatives by P parameters, in float64.

    Attributes:
        values: log p(x) of each unit, (U,), nats.
        scores: their gradients, (U, P).
        hessian: that of their sum, (P, P).
    """

    values: Tensor
    scores: Tensor
    hessian: Tensor

    @classmethod
    def joined(cls, parts: "Sequence[Derivatives]") -> "Derivatives":
        """Return the derivatives of several tiles as one."""
        return cls(
            torch.cat([part.values for part in parts]),
            torch.cat([part.scores for part in parts]),
            torch.stack([part.hessian for part in parts]).sum(0),
        )


def differentiate(
    values: Tensor, parameters: Sequence[Tensor], advance: Callable[[], object]
) -> Derivatives:
    """Return the derivatives of each unit's value, one backward pass for each number of the parameters.

    The gradient of sum_u v_u l_u by the parameters depends on v; its own gradient by v holds the scores,
    and by the parameters, at v = 1, the Hessian.

    Args:
        values: l, (U,), with its graph.
        parameters: leaves of that graph.
        advance: called after each pass.
    """
    weights = torch.ones_like(values, requires_grad=True)
    gradient = _flat(
        torch.autograd.grad(
            (weights * values).sum(), parameters, create_graph=True, materialize_grads=True
        )
    )
    scores, rows = [], []
    for slope in gradient:
        by_weights, *row = torch.autograd.grad(
            slope, (weights, *parameters), retain_graph=True, materialize_grads=True
        )
        scores.append(by_weights.double())
        rows.append(_flat(row).double())
        advance()
    hessian = torch.stack(rows)
    return Derivatives(
        values.detach().double(), torch.stack(scores, -1), (hessian + hessian.mT) / 2
    )


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
