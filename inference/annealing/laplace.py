"""The path from a Laplace approximation of the posterior."""

import torch
from torch import Tensor

from pyro_vae.inference.annealing.paths import AnnealingPath, FromPrior
from pyro_vae.inference.annealing.reference import FromReference, Reference
from pyro_vae.program.bound_program import BoundProgram

PRIOR_SHARE = 0.1  # of the draws
PRIOR_DRAWS = 32  # whose median is where the search for the mode starts
ITERATIONS, ROUNDS = 100, 3  # of L-BFGS
LEAST_CURVATURE = 1e-4  # relative to the prior draws' variance: where the posterior is flat


class FromLaplace(FromReference):
    """The path from the Laplace approximation of each unit's posterior to p(x, z).

    The mode of p(x, z) is found in unconstrained coordinates, their Jacobian counted, from the prior's
    median. The start is a Student's t about it, whose covariance is the inverse of minus the Hessian
    there; where the Hessian is not negative definite, its eigenvalues are replaced by their absolute
    values. The start is a proposal: a poor one costs effective draws, and leaves the evidence unbiased.

    A tenth of the draws come from the prior, so no weight exceeds ten times the likelihood over the
    evidence. The Student's t alone misses shelves, tails and other modes of the posterior, and the tail of
    its own weights does not show them.

    Source: L. Tierney, J. B. Kadane, "Accurate approximations for posterior moments and marginal
    densities",
    1986, https://doi.org/10.1080/01621459.1986.10478240.
    """

    def __init__(self, bound_program: BoundProgram) -> None:
        path = FromPrior(bound_program)
        draws = path.draw(PRIOR_DRAWS)
        mode = find_mode(path, draws.median(0, keepdim=True).values)
        reference = Reference(mode[0], covariance_root(path, mode, draws))
        super().__init__(path, reference, PRIOR_SHARE)


def find_mode(path: AnnealingPath, u: Tensor) -> Tensor:
    """Return a mode of the end's log-density for each unit, from coordinates (1, U, D)."""
    leaf = u.clone().requires_grad_()
    best, lowest = u, float("inf")
    for _ in range(ROUNDS if u.numel() else 0):
        optimizer = torch.optim.LBFGS([leaf], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            nonlocal best, lowest
            optimizer.zero_grad()  # noqa: B023  # called within this round
            with torch.enable_grad():
                total = -path.log_densities(leaf)[1].sum()
                (leaf.grad,) = torch.autograd.grad(total, leaf)
            if float(total.detach()) < lowest:
                best, lowest = leaf.detach().clone(), float(total.detach())
            return total.detach()

        try:
            optimizer.step(loss)
        except RuntimeError as error:
            if "overflow" not in str(error):
                raise  # else the line search left what the type holds: the best place so far stays
        with torch.no_grad():
            leaf.copy_(best)
    return best


def covariance_root(path: AnnealingPath, mode: Tensor, draws: Tensor) -> Tensor:
    """Return a root of the inverse of minus the Hessian of the end's log-density, (U, D, D)."""
    size = mode.shape[-1]
    with torch.enable_grad():
        leaf = mode.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(
            path.log_densities(leaf)[1].sum(), leaf, create_graph=True
        )
        rows = [
            torch.autograd.grad(gradient[..., d].sum(), leaf, retain_graph=True)[0][0].detach()
            for d in range(size)
        ]
    hessian = (
        torch.stack(rows, -2).double() if size else mode.new_zeros(mode.shape[1], 0, 0).double()
    )
    spread = draws.double().std(0).clamp(min=1e-6)  # coordinates of one scale
    scaled = -(hessian + hessian.mT) / 2 * spread.unsqueeze(-1) * spread.unsqueeze(-2)
    values, vectors = torch.linalg.eigh(scaled.nan_to_num(0.0))
    inverse = 1 / values.abs().clamp(min=LEAST_CURVATURE)
    covariance = vectors @ torch.diag_embed(inverse) @ vectors.mT
    covariance = covariance * spread.unsqueeze(-1) * spread.unsqueeze(-2)
    return torch.linalg.cholesky(covariance).to(mode.dtype)
