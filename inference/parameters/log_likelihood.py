"""log p(x) of each unit as a function of the parameters that autograd can follow."""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.annealing.paths import FromPrior
from pyro_vae.inference.evidence.exact import Exact
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.method import Workload
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.inference.parameters.quadrature import by_quadrature, check_quadrature
from pyro_vae.inference.posterior.at_draws import each_particle, trace_of
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.particles import score_model

MOST_BAD = 0.05  # of the units: whose estimate a few weights may decide
REPEATS = 4  # of an estimate, whose spread shows its Monte-Carlo error

Evaluate = Callable[[BoundProgram], Tensor]
"""Returns log p(x) of a tile's units, ``units |``, with the graph of its computation."""


@dataclass(frozen=True)
class LogLikelihood:
    """Hold how log p(x) of a tile is computed.

    Attributes:
        evaluate: computes it.
        description: in a phrase.
        repeats: how often, each time with other draws.
    """

    evaluate: Evaluate
    description: str
    repeats: int = 1

    @property
    def is_exact(self) -> bool:
        return self.repeats == 1

    def notes(self) -> tuple[str, ...]:
        """Return what the reader should know of the estimates so far.

        Raises:
            InputError: they cannot be trusted.
        """
        return self.evaluate.notes() if isinstance(self.evaluate, Estimated) else ()


def log_likelihood_of(example: BoundProgram, work: Workload) -> LogLikelihood:
    """Return the log-likelihood, exact or by quadrature where the program has one, or else its estimate.

    Args:
        example: the program on the first units.
        work: the number of particles, for an estimate.

    Raises:
        InputError: neither is possible.
    """
    latents = set(example.structure.latents) - set(example.structure.enumerated)
    if example.program.log_evidence is not None:
        return LogLikelihood(_own, "by the program's own log_evidence")
    if not latents:
        summed = "summed over " + ", ".join(example.structure.enumerated)
        return LogLikelihood(_summed_out, summed if example.structure.enumerated else "exact")
    with suppress(InputError):
        Exact().estimator(example, work)
        return LogLikelihood(_gaussian, "exact, linear and Gaussian in the latents")
    with suppress(InputError):
        check_quadrature(example)
        return LogLikelihood(by_quadrature, "adaptive Gauss-Hermite quadrature")
    return LogLikelihood(
        Estimated(example, work),
        f"importance sampling, {REPEATS} times with {work.num_particles:,} draws of the guide",
        REPEATS,
    )


def _own(bound_program: BoundProgram) -> Tensor:
    assert bound_program.program.log_evidence is not None
    value = bound_program.program.log_evidence(*bound_program.args, **bound_program.kwargs)
    return value.reshape(-1)


def _summed_out(bound_program: BoundProgram) -> Tensor:
    single = bound_program.single()
    log_likelihood, log_prior = score_model(single.joint(1, single.guide(1)), single.structure, 1)
    return (log_likelihood + log_prior)[0]


def _gaussian(bound_program: BoundProgram) -> Tensor:
    """Integrate a log-density f that is quadratic in the latents u, whatever the parameters are.

    From any u, log p(x) = f(u) + g' A^-1 g / 2 + D/2 log 2 pi - 1/2 log det A, with the gradient g and
    minus the Hessian A at u. That f is quadratic is checked, as in method="exact".
    """
    with torch.no_grad():
        Exact().estimator(bound_program, Workload(1, (bound_program.structure.num_units,)))
        path = FromPrior(bound_program.single())
        u = path.draw(1)
    for _ in range(2):  # the second time at the mode, where nothing cancels
        u = u.detach().requires_grad_()
        value = path.log_densities(u)[1][0]  # (U,)
        (slope,) = torch.autograd.grad(value.sum(), u, create_graph=True)
        rows = [
            torch.autograd.grad(part, u, create_graph=True, materialize_grads=True)[0][0]
            for part in slope[0].sum(0)
        ]
        free = path.coordinates.free  # masks take others out
        unit = torch.eye(u.shape[-1], dtype=u.dtype, device=u.device)
        curvature = torch.where(free.unsqueeze(-1), -torch.stack(rows, -2), 2 * math.pi * unit)
        slope = slope[0] * free
        root = torch.linalg.cholesky((curvature + curvature.mT) / 2)
        step = torch.cholesky_solve(slope.unsqueeze(-1), root).squeeze(-1)
        u = u + step
    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # half of it
    return value + (slope * step).sum(-1) / 2 + u.shape[-1] / 2 * math.log(2 * math.pi) - log_det


class Estimated:
    """Estimate log p(x) by the mean weight of draws that do not move with the parameters."""

    def __init__(self, example: BoundProgram, work: Workload) -> None:
        self.draw, self.num_particles = Importance().drawer(example, work), work.num_particles
        self.units, self.bad, self.worst = 0, 0, -math.inf  # of all tiles so far

    def __call__(self, bound_program: BoundProgram) -> Tensor:
        with torch.no_grad():
            drawn = self.draw(bound_program, lambda _: None)
            self._look_at(drawn.log_weights)

        def score(num_particles: int, values: dict[str, Tensor]) -> dict[str, Tensor]:
            trace = bound_program.joint(num_particles, trace_of(values))
            log_likelihood, log_prior = score_model(trace, bound_program.structure, num_particles)
            total = log_likelihood + log_prior
            return {"log_joint": total if bound_program.vectorized else total[0]}

        scores = each_particle(bound_program, score, self.num_particles, drawn.latents)
        log_joint = scores["log_joint"]  # (K, U)
        counts = drawn.log_weights > -math.inf
        change = torch.where(counts, log_joint - log_joint.detach(), 0.0)
        log_weights = drawn.log_weights.to(change.dtype) + change
        return log_weights.logsumexp(0) - math.log(self.num_particles)

    def _look_at(self, log_weights: Tensor) -> None:
        """Count the units whose estimate a few weights decide."""
        sums = WeightSums(self.num_particles, log_weights.shape[1], log_weights.device)
        sums.add(log_weights)
        estimates = sums.unit_estimates()
        bad = estimates.without_error
        self.units, self.bad = self.units + len(bad), self.bad + int(bad.sum())
        if bad.any():
            self.worst = max(self.worst, float(estimates.pareto_k[bad].nan_to_num(-math.inf).max()))

    def notes(self) -> tuple[str, ...]:
        """Return a note on units with bad weights, if they are few.

        Raises:
            InputError: they are many.
        """
        share = self.bad / max(self.units, 1)
        words = (
            f"a few weights decide it in {share:.2g} of the units (Pareto k up to {self.worst:.2f})"
        )
        if share > MOST_BAD:
            raise InputError(
                f"the log-likelihood is not well estimated: {words}, and its derivatives more so",
                subject="num_particles",
                remedy="fit the guide longer, take one of a richer family, or raise num_particles",
            )
        return (f"of the estimated log-likelihood, {words}",) if self.bad else ()
