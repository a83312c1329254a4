"""The evidence without Monte Carlo, where the program has one."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.annealing.hmc import Sampler
from pyro_vae.inference.annealing.paths import FromPrior
from pyro_vae.inference.evidence.annealed import MAX_MEMORY
from pyro_vae.inference.evidence.chains import bytes_per_chain
from pyro_vae.inference.evidence.method import Estimator, Figures, Method, Tick, memory
from pyro_vae.inference.evidence.tiles import UNITS
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.float64 import in_float64
from pyro_vae.program.isolation import seed_all
from pyro_vae.program.unconstrained import Immovable

ROUNDING = 200  # units in the last place of a log-density
# where the Gaussian must be right: at the mode, by standard deviations, in so many directions each;
RADII, PROBES = (0.3, 1.0, 2.0, 3.0, 5.0), 8
# at draws from the prior, of a unit and of all together, and from the guide, and on lines through two of
# them: the ends, and beyond
DRAWS, DRAWS_IN_ALL, GUIDE_DRAWS, REACHES = 16, 256, 8, (0.0, 1.0, 4.0)
SEED = 0


@dataclass(frozen=True)
class Exact(Method):
    """log p(x) in closed form. Three kinds of program have one:

    - an object with a method ``log_evidence(*data)`` of its own, which gives log p(x), ``units |``;
    - one whose latents are all marked for enumeration: they are summed out;
    - one that is linear and Gaussian in its latents, in unconstrained coordinates u, as factor analysis
      and state space models are. Then log p(x, u) = log p(x, m) - (u - m)' H (u - m) / 2, and
      log p(x) = log p(x, m) + D/2 log 2 pi - 1/2 log det H. D + 1 gradients give m and H; the quadratic is
      then held against the program itself, about m and wherever prior and guide draw latents. A second
      mode that none of some hundred draws comes near is not seen.

    :raises InputError: when used on another program.

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
    tile = UNITS
    is_exact = True

    @property
    def described(self) -> str:
        return "exact"

    def estimator(
        self, example: BoundProgram, num_particles: int, max_memory: int | None
    ) -> Estimator:
        evaluate = _known if example.program.log_evidence else _gaussian

        def estimate(call: BoundProgram, tick: Tick) -> Iterator[Known]:
            yield Known(evaluate(call, max_memory).double())
            tick(1.0)

        evaluate(example, max_memory)
        return estimate


@dataclass(frozen=True)
class Known:
    """Log-evidence that needed no draw."""

    log_evidence: Tensor
    count: int = 1

    def figures(self) -> Figures:
        log_evidence = self.log_evidence
        return {
            "log_evidence": log_evidence,
            "standard_error": torch.zeros_like(log_evidence),
            "ess": torch.ones_like(log_evidence),
            "pareto_k": torch.full_like(log_evidence, -math.inf),
        }


def _known(call: BoundProgram, _: int | None) -> Tensor:
    assert call.program.log_evidence is not None
    value = call.program.log_evidence(*call.args, **call.kwargs)
    units = (call.structure.num_units,)
    if not isinstance(value, Tensor) or value.reshape(-1).shape != units:
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(
            f"the program's own log_evidence gives {found} for {units[0]} units; it should give one "
            "log p(x) for each"
        )
    return value.reshape(-1)


def _gaussian(call: BoundProgram, max_memory: int | None) -> Tensor:
    """The integral over all latents of a log-density that is quadratic in them, in float64 if it can be."""
    seed_all(SEED)  # what is found out depends on no seed that is given
    with in_float64(call) as wide:
        if _stays_in_float64(wide):
            return _integral(wide, max_memory)
    return _integral(call, max_memory)


def _stays_in_float64(call: BoundProgram) -> bool:
    try:
        path = FromPrior(call)
        path.log_densities(path.at(call.guide(1)))
    except (ValueError, RuntimeError, TypeError):
        return False  # its own precision will say what is wrong, if anything is
    return all(block.dtype == torch.float64 for block in path.coordinates.blocks.values())


def _integral(call: BoundProgram, max_memory: int | None) -> Tensor:
    try:
        path = FromPrior(call)
    except Immovable as error:
        raise _refusal(error.fact) from error
    if call.structure.enumerated and path.coordinates.size:
        raise _refusal("a mixture over the values of " + ", ".join(call.structure.enumerated))
    if not path.coordinates.size:
        return path.log_densities(path.draw(1))[1][0]
    budget = memory(max_memory, call.device, MAX_MEMORY)
    sampler = Sampler(path, 1, max(1, budget // bytes_per_chain(path)))
    draws = path.draw(max(DRAWS, DRAWS_IN_ALL // call.structure.num_units))
    lost = _end(sampler, draws).isnan().all(0)  # NaN in the data are their unit's affair
    quadratic = _fitted(sampler, draws, lost)
    proposed = torch.cat([path.at(call.guide(1)) for _ in range(GUIDE_DRAWS)])
    starts = torch.cat([draws, proposed.to(draws)])
    towards = starts - starts.roll(1, 0)
    for u in (quadratic.around(), *(starts + reach * towards for reach in REACHES)):
        _check(sampler, quadratic, u.to(draws.dtype), lost)
    return torch.where(lost, math.nan, quadratic.log_integral())


@dataclass(frozen=True)
class _Quadratic:
    """top - |root' (u - mode)|^2 / 2 for each of U units, in float64."""

    top: Tensor  # (U,)
    mode: Tensor  # (1, U, D)
    root: Tensor  # (U, D, D)
    free: Tensor  # (U, D): a coordinate that a mask takes out has no density, and counts 1

    def at(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Its values (K, U) at u (K, U, D), and the magnitude of the terms that they are sums of."""
        away = ((u - self.mode) * self.free).transpose(0, 1)  # (U, K, D)
        value = self.top - (away @ self.root).square().sum(-1).T / 2
        reach = ((u.abs() + self.mode.abs()) * self.free).transpose(0, 1)
        size = ((reach @ (self.root @ self.root.mT).abs()) * away.abs()).sum(-1).T
        return value, size + self.top.abs()

    def around(self) -> Tensor:
        """Points (K, U, D), in all directions from the mode."""
        radii = self.mode.new_tensor(RADII).repeat(PROBES).reshape(-1, 1, 1)
        noise = radii * torch.randn(len(radii), *self.mode.shape[1:]).to(self.mode)
        away = torch.linalg.solve_triangular(self.root.mT, noise.permute(1, 2, 0), upper=True)
        return self.mode + away.permute(2, 0, 1) * self.free

    def log_integral(self) -> Tensor:
        log_det = self.root.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # half of it
        return self.top + self.mode.shape[-1] / 2 * math.log(2 * math.pi) - log_det


def _fitted(sampler: Sampler, draws: Tensor, lost: Tensor) -> _Quadratic:
    """By D + 1 gradients, as far apart as draws from the prior are; of lost units it says nothing."""
    free = sampler.path.coordinates.free.to(draws.device)
    step = draws.std(0)
    step = torch.where(step.isfinite() & (step > 0), step, 1.0)
    origin, size = draws[:1], draws.shape[-1]
    at = torch.cat([origin, origin + torch.diag_embed(step).transpose(0, 1)])  # (1 + D, U, D)
    step = (at[1:] - origin).diagonal(dim1=0, dim2=2).double()  # as rounded
    slopes = sampler.point(at).end_gradient.double()
    curvature = ((slopes[0] - slopes[1:]) / step.T.unsqueeze(-1)).transpose(0, 1)  # (U, D, D)
    unit = torch.eye(size, dtype=torch.float64, device=free.device)
    curvature = torch.where(free.unsqueeze(-1), curvature, 2 * math.pi * unit)
    curvature = torch.where(lost.reshape(-1, 1, 1), unit, curvature)
    root, failed = torch.linalg.cholesky_ex((curvature + curvature.mT) / 2)
    if failed.any():
        reason = "at some latent it does not fall off as a Gaussian does"
        raise _refusal(reason, draws.dtype)
    mode = origin.double()
    for _ in range(2):  # once would do, but for rounding
        slope = sampler.point(mode.to(draws.dtype)).end_gradient.double() * free
        slope = torch.where(lost.unsqueeze(-1), 0.0, slope)
        mode = mode + torch.cholesky_solve(slope.permute(1, 2, 0), root).permute(2, 0, 1)
    mode = mode.to(draws.dtype)
    return _Quadratic(_end(sampler, mode)[0].double(), mode.double(), root, free)


def _check(sampler: Sampler, quadratic: _Quadratic, u: Tensor, lost: Tensor) -> None:
    """:raises InputError: the log-density at u (K, U, D) is not the quadratic's, but for rounding."""
    counts = ~lost & u.isfinite().all(-1)  # a guide may draw what the prior has not
    found = _end(sampler, torch.where(counts.unsqueeze(-1), u, quadratic.mode.to(u.dtype))).double()
    if not found[:, ~lost].isfinite().all():
        raise _refusal("at some latent its log-density is not finite")
    expected, size = quadratic.at(u.double())
    off = torch.where(counts, (found - expected).abs(), 0.0)
    eps = max(torch.finfo(u.dtype).eps, 1e-11)  # roots are taken in float64
    if not (off <= ROUNDING * eps * (10 + size + expected.abs()))[counts].all():
        raise _refusal(f"its log-density is {float(off.max()):.3g} nats off a Gaussian's", u.dtype)


def _end(sampler: Sampler, u: Tensor) -> Tensor:
    """The log-densities (K, U) of data and latents."""
    return torch.cat([sampler.path.log_densities(some)[1] for some in u.split(sampler.at_once)])


def _refusal(reason: str, dtype: torch.dtype = torch.float64) -> InputError:
    if dtype != torch.float64:
        kind = str(dtype).removeprefix("torch.")
        reason += (
            f", computed in {kind}, whose rounding it may be: try `.double()` on model and data"
        )
    return InputError(
        "there is no exact evidence of this program: it has no method log_evidence, and it is not linear "
        f"and Gaussian in its latents ({reason}). Estimate it by method='auto'"
    )
