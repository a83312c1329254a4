"""The evidence without Monte Carlo, where the program has one."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.annealing.hmc import Sampler
from pyro_vae.inference.annealing.paths import FromPrior
from pyro_vae.inference.evidence.annealed_chains import MAX_MEMORY, bytes_per_chain
from pyro_vae.inference.evidence.method import (
    Advance,
    Estimator,
    Method,
    UnitEstimates,
    Workload,
)
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.float64 import in_float64
from pyro_vae.program.isolation import seed_all
from pyro_vae.program.unconstrained import Immovable

ROUNDING = 200  # units in the last place of a log-density
# The Gaussian must hold about the mode: at these distances, in standard deviations, in so many directions;
RADII, DIRECTIONS = (0.3, 1.0, 2.0, 3.0, 5.0), 8
# at draws of the prior (of each unit at least, and of all units together) and of the guide; and on lines
# through two of them, at these multiples of their distance.
MIN_PRIOR_DRAWS, PRIOR_DRAWS, GUIDE_DRAWS, MULTIPLES = 16, 256, 8, (0.0, 1.0, 4.0)
SEED = 0


@dataclass(frozen=True)
class Exact(Method):
    """Compute log p(x) in closed form, where the model has one.

    Three kinds of program have one:

    - an object with a method ``log_evidence(*data)``, which returns log p(x), ``units |``;
    - one whose latents are all marked for enumeration: they are summed out;
    - one that is linear and Gaussian in its latents, in unconstrained coordinates u, as factor analysis
      and state space models are. Then log p(x, u) = log p(x, m) - (u - m)' H (u - m) / 2, and
      log p(x) = log p(x, m) + D/2 log 2 pi - 1/2 log det H. D + 1 gradients give m and H; the quadratic is
      then compared with the program itself, about m and where prior and guide draw latents. A second
      mode is missed if none of some hundred draws comes near it.

    Raises:
        InputError: when used on another program.

    >>> import pyro, pyro.distributions as dist
    >>> from pyro_vae import log_evidence
    >>> def model(x):
    ...     with pyro.plate("data", len(x)):
    ...         z = pyro.sample("z", dist.Normal(0.0, 1.0))
    ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
    >>> def guide(x):
    ...     with pyro.plate("data", len(x)):
    ...         pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
    >>> x = torch.tensor([0.3, -2.0])
    >>> exact = dist.Normal(0.0, 2**0.5).log_prob(x).double()
    >>> torch.allclose(log_evidence((model, guide), x, method="exact").log_evidence, exact, atol=1e-5)
    True
    """

    num_particles = 1
    is_exact = True

    @property
    def description(self) -> str:
        return "exact"

    def estimator(self, example: BoundProgram, work: Workload) -> Estimator:
        evaluate = _own_log_evidence if example.program.log_evidence else _gaussian_log_evidence

        def estimate(bound_program: BoundProgram, advance: Advance) -> Iterator[ExactEstimate]:
            yield ExactEstimate(evaluate(bound_program, work).double())
            advance(1.0)

        evaluate(example, work)
        return estimate


@dataclass(frozen=True)
class ExactEstimate:
    """Hold log-evidence that took no draw."""

    log_evidence: Tensor
    count: int = 1

    def unit_estimates(self) -> UnitEstimates:
        log_evidence = self.log_evidence
        return UnitEstimates(
            log_evidence,
            standard_error=torch.zeros_like(log_evidence),
            ess=torch.ones_like(log_evidence),
            pareto_k=torch.full_like(log_evidence, -math.inf),
        )


def _own_log_evidence(bound_program: BoundProgram, _: Workload) -> Tensor:
    assert bound_program.program.log_evidence is not None
    value = bound_program.program.log_evidence(*bound_program.args, **bound_program.kwargs)
    units = (bound_program.structure.num_units,)
    if not isinstance(value, Tensor) or value.reshape(-1).shape != units:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(
            f"the program's own log_evidence gives {shape} for {units[0]} units",
            subject="log_evidence",
            expected="one log p(x) for each unit",
        )
    return value.reshape(-1)


def _gaussian_log_evidence(bound_program: BoundProgram, work: Workload) -> Tensor:
    """Integrate a log-density that is quadratic in all latents, in float64 where the program takes it."""
    seed_all(SEED)  # the refusal, too, must not depend on the seed of the call
    with in_float64(bound_program) as wide:
        if _stays_in_float64(wide):
            return _integral(wide, work)
    return _integral(bound_program, work)


def _stays_in_float64(bound_program: BoundProgram) -> bool:
    try:
        path = FromPrior(bound_program)
        path.log_densities(path.coordinates_of(bound_program.guide(1)))
    except (ValueError, RuntimeError, TypeError):
        return False  # the program's own precision shows what is wrong
    return all(block.dtype == torch.float64 for block in path.coordinates.blocks.values())


def _integral(bound_program: BoundProgram, work: Workload) -> Tensor:
    try:
        path = FromPrior(bound_program)
    except Immovable as error:
        raise _refusal(error.fact) from error
    if bound_program.structure.enumerated and path.coordinates.size:
        raise _refusal(
            "a mixture over the values of " + ", ".join(bound_program.structure.enumerated)
        )
    if not path.coordinates.size:
        return path.log_densities(path.draw(1))[1][0]
    budget = work.memory(bound_program.device, MAX_MEMORY)
    sampler = Sampler(path, 1, max(1, budget // bytes_per_chain(path)))
    draws = path.draw(max(MIN_PRIOR_DRAWS, PRIOR_DRAWS // bound_program.structure.num_units))
    is_nan = _log_joint(sampler, draws).isnan().all(0)  # units whose data hold NaN
    quadratic = _fit_quadratic(sampler, draws, is_nan)
    proposed = torch.cat([path.coordinates_of(bound_program.guide(1)) for _ in range(GUIDE_DRAWS)])
    starts = torch.cat([draws, proposed.to(draws)])
    between = starts - starts.roll(1, 0)
    for u in (quadratic.around(), *(starts + multiple * between for multiple in MULTIPLES)):
        _check_quadratic(sampler, quadratic, u.to(draws.dtype), is_nan)
    return torch.where(is_nan, math.nan, quadratic.log_integral())


@dataclass(frozen=True)
class _Quadratic:
    """Hold the quadratic top - |root' (u - mode)|^2 / 2 of each of U units, in float64."""

    top: Tensor  # (U,)
    mode: Tensor  # (1, U, D)
    root: Tensor  # (U, D, D)
    free: Tensor  # (U, D): False where a mask takes a coordinate out, which then has no density

    def values(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return its values (K, U) at u (K, U, D), and the magnitude of their summands."""
        away = ((u - self.mode) * self.free).transpose(0, 1)  # (U, K, D)
        value = self.top - (away @ self.root).square().sum(-1).T / 2
        reach = ((u.abs() + self.mode.abs()) * self.free).transpose(0, 1)
        size = ((reach @ (self.root @ self.root.mT).abs()) * away.abs()).sum(-1).T
        return value, size + self.top.abs()

    def around(self) -> Tensor:
        """Return points (K, U, D), in all directions from the mode."""
        radii = self.mode.new_tensor(RADII).repeat(DIRECTIONS).reshape(-1, 1, 1)
        noise = radii * torch.randn(len(radii), *self.mode.shape[1:]).to(self.mode)
        away = torch.linalg.solve_triangular(self.root.mT, noise.permute(1, 2, 0), upper=True)
        return self.mode + away.permute(2, 0, 1) * self.free

    def log_integral(self) -> Tensor:
        """Return the log of the integral of its exponential over u."""
        log_det = self.root.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # half of it
        return self.top + self.mode.shape[-1] / 2 * math.log(2 * math.pi) - log_det


def _fit_quadratic(sampler: Sampler, draws: Tensor, is_nan: Tensor) -> _Quadratic:
    """Fit the quadratic by D + 1 gradients, as far apart as draws of the prior; not of the NaN units."""
    free = sampler.path.coordinates.free
    step = draws.std(0)
    step = torch.where(step.isfinite() & (step > 0), step, 1.0)
    origin, size = draws[:1], draws.shape[-1]
    at = torch.cat([origin, origin + torch.diag_embed(step).transpose(0, 1)])  # (1 + D, U, D)
    step = (at[1:] - origin).diagonal(dim1=0, dim2=2).double()  # as rounded
    slopes = sampler.state(at).end_gradient.double()
    curvature = ((slopes[0] - slopes[1:]) / step.T.unsqueeze(-1)).transpose(0, 1)  # (U, D, D)
    unit = torch.eye(size, dtype=torch.float64, device=free.device)
    curvature = torch.where(free.unsqueeze(-1), curvature, 2 * math.pi * unit)
    curvature = torch.where(is_nan.reshape(-1, 1, 1), unit, curvature)
    root, failed = torch.linalg.cholesky_ex((curvature + curvature.mT) / 2)
    if failed.any():
        raise _refusal("at some latent it does not decrease as a Gaussian does", draws.dtype)
    mode = origin.double()
    for _ in range(2):  # the second time corrects the rounding
        slope = sampler.state(mode.to(draws.dtype)).end_gradient.double() * free
        slope = torch.where(is_nan.unsqueeze(-1), 0.0, slope)
        mode = mode + torch.cholesky_solve(slope.permute(1, 2, 0), root).permute(2, 0, 1)
    mode = mode.to(draws.dtype)
    return _Quadratic(_log_joint(sampler, mode)[0].double(), mode.double(), root, free)


def _check_quadratic(sampler: Sampler, quadratic: _Quadratic, u: Tensor, is_nan: Tensor) -> None:
    """Raise InputError unless the log-density at u (K, U, D) is the quadratic's, up to rounding."""
    counts = ~is_nan & u.isfinite().all(-1)  # a guide may draw outside of the prior's support
    places = torch.where(counts.unsqueeze(-1), u, quadratic.mode.to(u.dtype))
    log_joint = _log_joint(sampler, places).double()
    if not log_joint[:, ~is_nan].isfinite().all():
        raise _refusal("at some latent its log-density is not finite")
    expected, size = quadratic.values(u.double())
    off = torch.where(counts, (log_joint - expected).abs(), 0.0)
    eps = max(torch.finfo(u.dtype).eps, 1e-11)  # roots are taken in float64
    if not (off <= ROUNDING * eps * (10 + size + expected.abs()))[counts].all():
        raise _refusal(f"its log-density is {float(off.max()):.3g} nats off a Gaussian's", u.dtype)


def _log_joint(sampler: Sampler, u: Tensor) -> Tensor:
    """Return the log-densities (K, U) of data and latents."""
    return torch.cat([sampler.path.log_densities(some)[1] for some in u.split(sampler.at_once)])


def _refusal(reason: str, dtype: torch.dtype = torch.float64) -> InputError:
    if dtype != torch.float64:
        kind = str(dtype).removeprefix("torch.")
        reason += f", computed in {kind}, maybe by its rounding: try `.double()` on model and data"
    return InputError(
        "this program has no exact evidence: it has no method log_evidence, and it is not linear and "
        f"Gaussian in its latents ({reason})",
        subject="exact",
        remedy="estimate the evidence by method='auto'",
    )
