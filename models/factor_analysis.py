"""Factor analysis: the linear-Gaussian VAE, whose evidence and posterior are known exactly."""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae.distributions import LowRankMultivariateNormal
from pyro_vae.errors import sizes
from pyro_vae.networks import Shape
from pyro_vae.priors import StandardNormal
from pyro_vae.scaling import Scaling


class FactorAnalysis(nn.Module):
    """Model data by linear factors: z ~ Normal(0, I), y ~ Normal(W z + b, diag(scale^2)), x = m + s y.

    The guide is q(z | x) = Normal(A y + c, L L'). m and s are the data's location and scale, 0 and 1 until
    a fit sees rows (:mod:`pyro_vae.scaling`). All densities are those of x.

    The guide's family holds the exact posterior, so a fitted ELBO can reach the evidence
    log Normal(y | b, W W' + diag(scale^2)) - sum log s. With one scale for all values the model is
    probabilistic principal component analysis.

    Args:
        data_shape: shape X of one datum, flattened to one vector of D values.
        latent_dim: number of factors Z.
        isotropic: whether all values share one scale.

    Raises:
        InputError: a size is below 1.

    Source: D. J. Bartholomew, M. Knott, I. Moustaki, "Latent variable models and factor analysis", 3rd
    edition, 2011, chapter 3; M. E. Tipping, C. M. Bishop, "Probabilistic principal component analysis",
    1999, https://doi.org/10.1111/1467-9868.00196.

    >>> x = torch.zeros(2, 5)
    >>> fa = FactorAnalysis((5,), 2)
    >>> fa.log_evidence(x).shape, fa.posterior(x).event_shape
    (torch.Size([2]), torch.Size([2]))
    """

    def __init__(self, data_shape: Shape, latent_dim: int = 2, isotropic: bool = False) -> None:
        super().__init__()
        self.data_shape, self.latent_dim = sizes("data_shape", data_shape), latent_dim
        self.prior = StandardNormal(latent_dim)
        size = math.prod(self.data_shape)
        self.loadings = nn.Parameter(torch.randn(size, latent_dim) / math.sqrt(size))  # W
        self.bias = nn.Parameter(torch.zeros(size))  # b
        self.log_scale = nn.Parameter(torch.zeros(1 if isotropic else size))
        # where all values share one noise scale, they also share m and s
        self.scaling = Scaling(() if isotropic else (size,))
        self.regression = nn.Linear(size, latent_dim)  # A, c
        self.raw_tril = nn.Parameter(torch.zeros(latent_dim, latent_dim))  # L

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())  # (B | Z)
            loc = self.scaling.location + self.scaling.scale * (z @ self.loadings.T + self.bias)
            scale = (self.scaling.scale * self.log_scale.exp()).expand_as(self.bias)
            p = dist.Normal(loc.unflatten(-1, self.data_shape), scale.reshape(self.data_shape))
            pyro.sample("x", p.to_event(len(self.data_shape)), obs=x)  # (B | X)

    def guide(self, x: Tensor) -> None:
        tril = self.raw_tril.tril(-1) + self.raw_tril.diagonal().exp().diag()
        with pyro.plate("data", len(x)):
            loc = self.regression(self._scaled(x.flatten(1)))  # (B, Z)
            pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=tril))  # (B | Z)

    def learn_scaling(self, x: Tensor) -> None:
        self.scaling.learn(x.flatten(1))

    def _scaled(self, flat: Tensor) -> Tensor:
        return (flat - self.scaling.location) / self.scaling.scale

    def log_evidence(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, exactly: ``batch |`` from x, ``batch | X``."""
        variance = (2 * self.log_scale).exp().expand_as(self.bias)
        evidence = LowRankMultivariateNormal(self.bias, self.loadings, variance)
        log_units = self.scaling.scale.log().expand_as(self.bias).sum()
        return evidence.log_prob(self._scaled(x.flatten(-len(self.data_shape)))) - log_units

    def posterior(self, x: Tensor) -> dist.MultivariateNormal:
        """Return p(z | x), exactly, ``batch | Z``."""
        weighted = self.loadings / (2 * self.log_scale).exp().unsqueeze(-1)  # (D, Z)
        precision = weighted.new_ones(self.latent_dim).diag() + self.loadings.T @ weighted
        residual = self._scaled(x.flatten(1)) - self.bias  # (B, D)
        loc = torch.linalg.solve(precision, (residual @ weighted).mT).mT
        return dist.MultivariateNormal(loc, precision_matrix=precision)
