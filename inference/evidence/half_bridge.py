"""One bridge: between draws of the posterior and a density that is fitted to others of them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.inference.annealing.paths import AnnealingPath
from pyro_vae.inference.annealing.reference import FromReference, Reference, tail_index

TOLERANCE, MAX_ITERATIONS = 1e-10, 1000
PRIOR_SHARE = 0.1  # of the proposals
AT_ONCE = 1024  # draws scored together


@dataclass(frozen=True)
class HalfBridge:
    """Hold log p(x), its relative error the effective number of the weighed draws and the Pareto k of
    their weights against the fitted density, each ``units |``."""

    log_evidence: Tensor
    error: Tensor
    ess: Tensor
    tail: Tensor


def bridge(path: AnnealingPath, fitted: Tensor, weighed: Tensor, num_particles: int) -> HalfBridge:
    """Return the estimate from draws (chains, N, U, D) that are fitted to, and others that are weighed."""
    reference = Reference.of(fitted.flatten(0, 1), torch.ones_like(path.coordinates.free))
    proposal = FromReference(path, reference, PRIOR_SHARE)
    at_draws = _log_ratio(proposal, weighed.flatten(0, 1))
    at_proposals = _log_ratio(proposal, proposal.draw(num_particles))
    ess = effective_size(weighed.flatten(2)).unflatten(-1, weighed.shape[2:]).median(-1).values
    log_evidence = iterate(at_draws, at_proposals, ess)
    error, effective = _relative_error(at_draws, at_proposals, ess, log_evidence, len(weighed))
    of_fit = _log_ratio(FromReference(path, reference), weighed.flatten(0, 1))
    return HalfBridge(log_evidence, error, effective, tail_index(first_of_each(of_fit)))


def _log_ratio(proposal: AnnealingPath, u: Tensor) -> Tensor:
    """Return log p(x, u) - log g(u), (K, U), float64."""
    pairs = [proposal.log_densities(some) for some in u.split(AT_ONCE)]
    ratio = torch.cat([end.double() - start.double() for start, end in pairs])
    return ratio.nan_to_num(-math.inf, math.inf, -math.inf)


def first_of_each(values: Tensor) -> Tensor:
    """Return values, ``draws | units``, descending, with minus infinity in place of repeats.

    A chain that stays where it is, as in the neck of a funnel, says nothing more of a tail.

    >>> first_of_each(torch.tensor([1.0, 3.0, 3.0]))
    tensor([3., -inf, 1.])
    """
    ranked = values.sort(0, descending=True).values
    is_first = torch.ones_like(ranked, dtype=torch.bool)
    is_first[1:] = ranked[1:] != ranked[:-1]
    return torch.where(is_first, ranked, -math.inf)


def iterate(at_draws: Tensor, at_proposals: Tensor, ess: Tensor) -> Tensor:
    """Return log p(x), ``units |``, as the fixed point of the optimal bridge.

    Args:
        at_draws: log p(x, u) - log g(u) at draws of the posterior, (N, U).
        at_proposals: the same at draws of g, (K, U).
        ess: how many independent draws the first are worth, ``units |``.
    """
    share = ess / (ess + len(at_proposals))
    log_s, log_rest = share.log(), (-share).log1p()
    log_evidence = at_proposals.logsumexp(0) - math.log(len(at_proposals))
    for _ in range(MAX_ITERATIONS):
        rest = log_rest + log_evidence
        above = (at_proposals - torch.logaddexp(log_s + at_proposals, rest)).logsumexp(0)
        below = (-torch.logaddexp(log_s + at_draws, rest)).logsumexp(0)
        after = above - below + math.log(len(at_draws) / len(at_proposals))
        moved = (after - log_evidence).abs().nan_to_num(0.0).max()
        log_evidence = after
        if moved < TOLERANCE:
            break
    return log_evidence


def _relative_error(
    at_draws: Tensor, at_proposals: Tensor, ess: Tensor, log_evidence: Tensor, num_chains: int
) -> tuple[Tensor, Tensor]:
    """Return the standard error of log p(x), and the effective number of draws for the denominator."""
    share = ess / (ess + len(at_proposals))
    log_s, log_rest = share.log(), (-share).log1p()
    draws, proposals = at_draws - log_evidence, at_proposals - log_evidence  # posterior over g
    above = (proposals - torch.logaddexp(log_s + proposals, log_rest)).exp()
    below = (-torch.logaddexp(log_s + draws, log_rest)).exp()
    effective = effective_size(below.unflatten(0, (num_chains, -1))).clamp(max=len(below))
    squared = above.var(0) / above.mean(0).square() / len(above)
    squared = squared + below.var(0) / below.mean(0).square() / effective
    return squared.sqrt(), effective


def effective_size(chains: Tensor) -> Tensor:
    """Return the effective number of draws for the mean of each of some quantities.

    Args:
        chains: (chains, draws, quantities).

    >>> bool((effective_size(torch.randn(2, 5000, 3)) > 8000).all())
    True
    """
    import arviz
    import xarray

    data = xarray.Dataset({"x": (("chain", "draw", "of"), chains.double().cpu().numpy())})
    sizes = torch.as_tensor(arviz.ess(data, method="mean")["x"].values.copy())
    total = float(chains.shape[0] * chains.shape[1])
    return sizes.nan_to_num(total).to(chains.device)  # of a constant
