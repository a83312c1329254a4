"""The evidence without Monte Carlo, where the program has one."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.annealed import MAX_MEMORY
from pyro_vae.inference.call import Call
from pyro_vae.inference.coordinates import Immovable
from pyro_vae.inference.hmc import Sampler
from pyro_vae.inference.method import Estimator, Figures, Method, Tick, memory
from pyro_vae.inference.paths import FromPrior
from pyro_vae.inference.tiles import UNITS
from pyro_vae.inference.walks import bytes_per_chain

ROUNDING = 200  # units in the last place of a log-density
RADII = (
    0.3,
    1.0,
    2.0,
    3.0,
    5.0,
)  # standard deviations from the mode where the Gaussian must be right
PROBES = 8  # directions, at each radius


@dataclass(frozen=True)
class Exact(Method):
    """log p(x) in closed form. Three kinds of program have one:

    - an object with a method ``log_evidence(*data)`` of its own, which gives log p(x), ``units |``;
    - one whose latents are all marked for enumeration: they are summed out;
    - one that is linear and Gaussian in its latents, in unconstrained coordinates u, as factor analysis
      and state space models are. Then log p(x, u) = log p(x, m) - (u - m)' H (u - m) / 2, and
      log p(x) = log p(x, m) + D/2 log 2 pi - 1/2 log det H. D + 1 gradients give m and H; at further
      points the quadratic is held against the program itself.

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

    def estimator(self, few: Call, num_particles: int, max_memory: int | None) -> Estimator:
        evaluate = _known if few.program.log_evidence else _gaussian

        def estimate(call: Call, tick: Tick) -> Iterator[Known]:
            yield Known(evaluate(call, max_memory).double())
            tick(1.0)

        evaluate(few, max_memory)
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


def _known(call: Call, _: int | None) -> Tensor:
    assert call.program.log_evidence is not None
    value = call.program.log_evidence(*call.args, **call.kwargs)
    units = (call.layout.num_units,)
    if not isinstance(value, Tensor) or value.reshape(-1).shape != units:
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(
            f"the program's own log_evidence gives {found} for {units[0]} units; it should give one "
            "log p(x) for each"
        )
    return value.reshape(-1)


def _gaussian(call: Call, max_memory: int | None) -> Tensor:
    """The integral over all latents of a log-density that is quadratic in them."""
    try:
        path = FromPrior(call)
    except Immovable as error:
        raise _refusal(error.fact) from error
    if call.layout.enumerated and path.coordinates.size:
        raise _refusal("a mixture over the values of " + ", ".join(call.layout.enumerated))
    free, size = path.coordinates.free.to(call.device), path.coordinates.size
    origin = path.draw(1)
    if not size:
        return path.log_densities(origin)[1][0]
    budget = memory(max_memory, call.device, MAX_MEMORY)
    sampler = Sampler(path, 1, max(1, budget // bytes_per_chain(path)))
    units = torch.eye(size, device=call.device, dtype=origin.dtype).unsqueeze(1)  # (D, 1, D)
    slopes = sampler.point(torch.cat([origin, origin + units])).end_gradient.double()
    curvature = (slopes[0] - slopes[1:]).permute(1, 0, 2)  # (U, D, D)
    # a masked coordinate has no density; it is to count 1
    curvature = torch.where(
        free.unsqueeze(-1), curvature, 2 * math.pi * torch.eye(size).to(free.device)
    )
    root, failed = torch.linalg.cholesky_ex((curvature + curvature.mT) / 2)
    if failed.any():
        raise _refusal("at some latent it does not fall off as a Gaussian does")
    mode = origin.double()
    for _ in range(2):  # once would do, but for rounding
        slope = sampler.point(mode.to(origin.dtype)).end_gradient.double() * free
        mode = mode + torch.cholesky_solve(slope.permute(1, 2, 0), root).permute(2, 0, 1)
    radii = torch.tensor(RADII, dtype=mode.dtype, device=call.device).repeat(PROBES)
    noise = radii.reshape(-1, 1, 1) * torch.randn(
        len(radii), *mode.shape[1:], dtype=mode.dtype, device=call.device
    )
    away = torch.linalg.solve_triangular(root.mT, noise.permute(1, 2, 0), upper=True)
    at = torch.cat([mode, mode + away.permute(2, 0, 1) * free]).to(origin.dtype)
    _, found = path.log_densities(at)
    top = found[0].double()
    expected = top - (noise.square() * free).sum(-1) / 2
    off = (found[1:].double() - expected).abs()
    eps = max(torch.finfo(origin.dtype).eps, 1e-11)  # roots are taken in float64
    if not off.isfinite().all():
        raise _refusal("at some latent its log-density is not finite")
    if not (off < ROUNDING * eps * (10 + top.abs() + expected.abs())).all():
        raise _refusal(f"its log-density is {float(off.max()):.3g} nats off a Gaussian's")
    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # half of it
    return top + size / 2 * math.log(2 * math.pi) - log_det


def _refusal(reason: str) -> InputError:
    return InputError(
        "there is no exact evidence of this program: it has no method log_evidence, and it is not linear "
        f"and Gaussian in its latents ({reason}). Estimate it by method='auto'"
    )
