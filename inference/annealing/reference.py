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
        """Return how far each draw lies out, beyond a Normal's, (K, U, 1), with the covariance unchanged."""
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


class FromReference(AnnealingPath):
    """The path from a fitted density to p(x, z), in the coordinates of another path.

    Args:
        path: the other path, all of whose coordinates are free.
        reference: fitted to draws in them.
    """

    def __init__(self, path: AnnealingPath, reference: Reference) -> None:
        self.bound_program, self.coordinates = path.bound_program, path.coordinates
        self.path, self.reference = path, reference

    def draw(self, num_chains: int) -> Tensor:
        return self._draw(num_chains)

    def log_densities(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.reference.log_density(u), self.path.log_densities(u)[1]

    def coordinates_of(self, latents: poutine.Trace) -> Tensor:
        return self.path.coordinates_of(latents)

    def _draw(self, num_chains: int) -> Tensor:
        return self.reference.draw(num_chains)

    def _log_densities(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.log_densities(u)

    def _trace_at(self, placement: Placement, num_chains: int) -> poutine.Trace:
        return self.path._trace_at(placement, num_chains)
