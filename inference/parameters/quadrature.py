"""log p(x) of units with one or two latents, by adaptive Gauss-Hermite quadrature."""

import math

import numpy as np
import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.annealing.laplace import FromLaplace
from pyro_vae.inference.annealing.paths import FromPrior
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.float64 import in_float64

NODES = {1: 40, 2: 21}  # in each direction, by the number of a unit's latents
OTHER = 0.7  # of these nodes: a rule that has to agree
TOLERANCE = 1e-4  # nats of a unit, by which rules may differ
PRIOR_DRAWS, MOST_ERRORS = 1000, 6.0  # that look for another mode, and how far they may show one


def by_quadrature(bound_program: BoundProgram, share: float = 1.0) -> Tensor:
    """Return log p(x), ``units |``, of a program whose units have D = 1 or 2 unconstrained latents u.

    With nodes t_k and weights w_k of the measure exp(-t^2 / 2) dt, a mode m of p(x, u) and a root L of the
    inverse of minus the Hessian of its logarithm there,

        log p(x) = log sum_k w_k exp(|t_k|^2 / 2) p(x, m + L t_k) + log det L.

    The nodes stay where they are as the parameters move: the integral does not depend on them.

    Args:
        bound_program: the call.
        share: of the nodes.

    Source: J. C. Pinheiro, D. M. Bates, "Approximations to the log-likelihood function in the nonlinear
    mixed-effects model", 1995, https://doi.org/10.1080/10618600.1995.10474663.
    """
    with torch.no_grad():
        path = FromLaplace(bound_program)
        mode, root = path.reference.mean, path.reference.root
        t, log_weights = _rule(int(share * NODES[mode.shape[-1]]), mode)
        u = mode + torch.einsum("uij,kj->kui", root, t)
        log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_joint = path.log_densities(u)[1]  # (K, U)
    return (log_joint + log_weights.unsqueeze(-1)).logsumexp(0) + log_det


def check_quadrature(example: BoundProgram) -> None:
    """Check that quadrature finds the integral of a program, with another rule and draws of the prior.

    Raises:
        InputError: a unit has no latents or more than two, or a part of the integral is missed.
    """
    if not num_nodes(example):
        raise InputError("a unit has no latents, or more than two", subject="quadrature")
    with torch.no_grad(), in_float64(example) as wide:
        path = FromPrior(wide)
        found = by_quadrature(wide)
        off = (by_quadrature(wide, OTHER) - found).abs()
        start, end = path.log_densities(path.draw(PRIOR_DRAWS))
        weights = (end - start - found).exp()
        more = (weights.mean(0) - 1) / weights.std(0) * math.sqrt(PRIOR_DRAWS)
        if not (off < TOLERANCE).all() or (more > MOST_ERRORS).any():
            raise InputError("the rule misses a part of the integral", subject="quadrature")


def num_nodes(example: BoundProgram) -> int:
    """Return how many nodes a unit has; 0 where it has too many latents, none, or some without density."""
    try:
        coordinates = FromPrior(example).coordinates
    except InputError:
        return 0
    size: int = coordinates.size
    return NODES.get(size, 0) ** size if bool(coordinates.free.all()) else 0


def _rule(count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return nodes t, (K, D), and log w + |t|^2 / 2, (K,), of a grid of the dimension of ``like``."""
    size = like.shape[-1]
    nodes, weights = (torch.tensor(each) for each in np.polynomial.hermite_e.hermegauss(count))
    t = torch.cartesian_prod(*[nodes] * size).reshape(-1, size)
    log_weights = torch.cartesian_prod(*[weights.log()] * size).reshape(-1, size).sum(-1)
    return t.to(like), (log_weights + t.square().sum(-1) / 2).to(like)
