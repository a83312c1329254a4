"""A density that is fitted to draws, and the path from it to the posterior."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.inference.annealing.paths import AnnealingPath
from pyro_vae.program.unconstrained import Placement

MAX_DENSE = 128  # coordinates whose covariance is kept; of more, the variances alone
SMALLEST = 1e-12  # variance, relative to the largest, below which draws do not differ
HEAVINESS = 10.0  # degrees of freedom
HEAVY = 0.5  # Pareto k above which weights against a fitted density have no variance


def scale_of(u: Tensor, free: Tensor) -> Tensor:
    """Return a square root of the draws' covariance, (U, D, D), or their spreads, (U, D), if D is large.

    The covariance is drawn towards its diagonal by the weight of D + 5 draws.

    Args:
        u: coordinates (K, U, D).
        free: which of them have a density, (U, D); the others get 0.

    >>> u = torch.tensor([2.0, 1.0]) * torch.randn(10_000, 1, 2)
    >>> scale_of(u, torch.ones(1, 2, dtype=torch.bool)).round().abs()
    tensor([[[2., 0.],
             [0., 1.]]])
    """
    size = u.shape[-1]
    centred = (u - u.mean(0)).double()
    variance = centred.square().mean(0)
    floor = variance.amax(-1, keepdim=True) * SMALLEST
    variance = torch.where(variance > floor, variance, 1.0)
    if size > MAX_DENSE:
        return torch.where(free, variance.sqrt(), 0.0).to(u.dtype)
    covariance = torch.einsum("kui,kuj->uij", centred, centred) / len(u)
    weight = len(u) / (len(u) + size + 5)
    both_free = free.unsqueeze(-1) & free.unsqueeze(-2)
    covariance = torch.where(both_free, weight * covariance, 0.0)
    diagonal = torch.where(free, (1 - weight) * variance, 1.0)
    root = torch.linalg.cholesky(covariance + torch.diag_embed(diagonal))
    return torch.where(both_free, root, 0.0).to(u.dtype)


@dataclass(frozen=True)
class Reference:
    """Hold a multivariate Student's t for each unit, with the mean and covariance of some draws.

    Attributes:
        mean: (U, D).
        root: of the covariance, (U, D, D), or the spreads, (U, D).
        heaviness: degrees of freedom; infinite for a Normal distribution.
    """

    mean: Tensor
    root: Tensor
    heaviness: float = HEAVINESS

    @classmethod
    def of(cls, u: Tensor, free: Tensor, heaviness: float = HEAVINESS) -> "Reference":
        """Fit one to coordinates (K, U, D)."""
        return cls(u.mean(0), scale_of(u, free), heaviness)

    def draw(self, num_draws: int) -> Tensor:
        """Return coordinates (K, U, D)."""
        noise = torch.randn(num_draws, *self.mean.shape).to(self.mean)
        if self.root.dim() == 2:
            moved = self.root * noise
        else:
            moved = torch.einsum("uij,kuj->kui", self.root, noise)
        return self.mean + moved * self._stretch(num_draws)

    def _stretch(self, num_draws: int) -> Tensor:
        """Return how far each draw lies out, beyond a Normal's, (K, U, 1), with the covariance
        unchanged."""
        shape = (num_draws, len(self.mean), 1)
        if self.heaviness == math.inf:
            return torch.ones(shape).to(self.mean)
        half = torch.full(shape, self.heaviness / 2, dtype=torch.float64)
        return ((self.heaviness / 2 - 1) / torch._standard_gamma(half)).sqrt().to(self.mean)

    def log_density(self, u: Tensor) -> Tensor:
        """Return the log-density of coordinates (K, U, D), in nats, (K, U)."""
        size, centred = self.mean.shape[-1], u - self.mean
        if self.root.dim() == 2:
            white, log_det = centred / self.root, self.root.log().sum(-1)
        else:
            log_det = self.root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            white = torch.einsum("uij,kuj->kui", self._inverse, centred)
        distance = white.square().sum(-1)
        if self.heaviness == math.inf:
            normaliser = size / 2 * math.log(2 * math.pi)
            return -distance / 2 - normaliser - log_det
        nu = self.heaviness
        normaliser = math.lgamma((nu + size) / 2) - math.lgamma(nu / 2)
        normaliser -= size / 2 * math.log((nu - 2) * math.pi)
        return normaliser - log_det - (nu + size) / 2 * (distance / (nu - 2)).log1p()

    @cached_property
    def _inverse(self) -> Tensor:
        identity = torch.eye(self.root.shape[-1]).to(self.root)
        return torch.linalg.solve_triangular(self.root, identity, upper=False)


def tail_index(log_ratio: Tensor) -> Tensor:
    """Return the Pareto k of weights p / q, from log p - log q at draws of p, (K, U) to (U,).

    Where weights under q exceed x with probability x^(-1/k), those under p do with x^(1 - 1/k). So the
    upper tail of their logs is exponential there, with mean m = k / (1 - k): the mean excess over the
    largest tenth's start, which is Hill's estimate. Draws of p see regions that q never reaches.

    Source: B. M. Hill, "A simple general approach to inference about the tail of a distribution", 1975,
    https://doi.org/10.1214/aos/1176343247.

    >>> log_ratio = torch.distributions.Exponential(0.25).sample((5000, 1))
    >>> bool((tail_index(log_ratio) - 0.8).abs() < 0.05)
    True
    """
    count = max(1, len(log_ratio) // 10)
    largest = log_ratio.double().nan_to_num(-math.inf).topk(count + 1, dim=0).values
    mean = (largest[:-1] - largest[-1]).mean(0).nan_to_num(0.0)
    return mean / (1 + mean)


class FromReference(AnnealingPath):
    """The path from a fitted density, mixed with the start of another path, to p(x, z).

    The start is (1 - s) times the reference plus s times the other start. Where that is the prior, no
    weight exceeds p(x | z) / s, also in the neck of a funnel, which no Student's t fits.

    Args:
        path: the other path, all of whose coordinates are free.
        reference: fitted to draws in them.
        share: s; at 0 the reference alone.

    Source: of the mixture: T. Hesterberg, "Weighted average importance sampling and defensive mixture
    distributions", 1995, https://doi.org/10.1080/00401706.1995.10484303.
    """

    def __init__(self, path: AnnealingPath, reference: Reference, share: float = 0.0) -> None:
        self.bound_program, self.coordinates = path.bound_program, path.coordinates
        self.path, self.reference, self.share = path, reference, share

    def draw(self, num_chains: int) -> Tensor:
        return self._draw(num_chains)

    def log_densities(self, u: Tensor) -> tuple[Tensor, Tensor]:
        start, end = self.path.log_densities(u)
        own = self.reference.log_density(u)
        if not self.share:
            return own, end
        mixed = torch.logaddexp(own + math.log1p(-self.share), start + math.log(self.share))
        return mixed.to(end.dtype), end

    def coordinates_of(self, latents: poutine.Trace) -> Tensor:
        return self.path.coordinates_of(latents)

    def _draw(self, num_chains: int) -> Tensor:
        u = self.reference.draw(num_chains)
        is_other = torch.rand(u.shape[:2], device=u.device) < self.share
        count = int(is_other.sum(0).max())
        if not count:
            return u
        others = self.path.draw(count).to(u.dtype)  # (count, U, D)
        rank = (is_other.cumsum(0) - 1).clamp(min=0).unsqueeze(-1).expand_as(u)
        return torch.where(is_other.unsqueeze(-1), others.gather(0, rank), u)

    def _log_densities(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.log_densities(u)

    def _trace_at(self, placement: Placement, num_chains: int) -> poutine.Trace:
        return self.path._trace_at(placement, num_chains)
