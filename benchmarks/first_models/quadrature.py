"""Integrals in float64: nodes and log-weights, and products of them."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

CHUNK = 20_000  # nodes at a time
Rule = tuple[Tensor, Tensor]  # nodes and log-weights, each ``nodes |``


def gauss_legendre(low: float, high: float, count: int) -> Rule:
    """Return a rule for integrals over an interval; exact for polynomials of degree 2 ``count`` - 1."""
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(count))
    return low + (high - low) * (nodes + 1) / 2, (weights * (high - low) / 2).log()


def gauss_hermite(count: int) -> Rule:
    """Return a rule for expectations under Normal(0, 1)."""
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(count))
    return nodes, (weights / weights.sum()).log()


def log_integral(log_density: Callable[..., Tensor], *rules: Rule) -> float:
    """Return log of the integral of exp(log_density), over the product of one rule a variable.

    Args:
        log_density: of a tensor of nodes for each variable, ``nodes |``.
        rules: of the variables.
    """
    nodes = torch.cartesian_prod(*(rule[0] for rule in rules)).reshape(-1, len(rules))
    log_weights = torch.cartesian_prod(*(rule[1] for rule in rules)).reshape(-1, len(rules)).sum(1)
    parts = [
        (log_density(*some.unbind(1)) + weights).logsumexp(0)
        for some, weights in zip(nodes.split(CHUNK), log_weights.split(CHUNK), strict=True)
    ]
    return float(torch.stack(parts).logsumexp(0))
