"""Gaussian guides; they differ in how much of the covariance they model."""

import pyro.distributions as dist
from torch import Tensor

from pyro_vae.distributions import LowRankMultivariateNormal
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.guides.guide import AmortizedGuide
from pyro_vae.links import SCALE, log_link
from pyro_vae.networks import MLP, NetworkFactory, Shape


def diagonal_normal(loc: Tensor, log_scale: Tensor) -> dist.Independent:
    """Return prod_d Normal(z_d | loc_d, scale_d), ``batch | Z``, with scale = exp(log_scale).

    Above exp(3), about 20, a scale grows only linearly (:func:`pyro_vae.links.log_link`).
    """
    return dist.Normal(loc, log_link(log_scale, SCALE).exp()).to_event(1)


class MeanFieldNormal(AmortizedGuide):
    """Draw z from a diagonal Gaussian: q(z | x) = prod_d Normal(z_d | loc_d(x), scale_d(x)).

    Above exp(3), about 20, a scale grows only linearly in the encoder's output; so it does in other guides.

    >>> MeanFieldNormal((1, 8, 8), 4)(torch.zeros(5, 1, 8, 8)).batch_shape
    torch.Size([5])
    """

    def parameter_shape(self) -> Shape:
        return 2, self.latent_dim

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        return diagonal_normal(*self.encoder(x).unbind(-2))


class FullCovarianceNormal(AmortizedGuide):
    """Draw z from a Gaussian with a full covariance: q(z | x) = Normal(z | loc(x), L(x) L(x)').

    L is lower triangular with the diagonal exp(log_scale(x)).

    Source: M. Titsias, M. Lázaro-Gredilla, "Doubly stochastic variational Bayes for non-conjugate
    inference", 2014, https://proceedings.mlr.press/v32/titsias14.html.

    >>> FullCovarianceNormal((6,), 3)(torch.zeros(5, 6)).covariance_matrix.shape
    torch.Size([5, 3, 3])
    """

    def parameter_shape(self) -> Shape:
        return 2 + self.latent_dim, self.latent_dim

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        parameters = self.encoder(x)  # (B | 2 + Z, Z)
        loc, log_scale, raw_tril = parameters.split((1, 1, self.latent_dim), -2)
        diagonal = log_link(log_scale.squeeze(-2), SCALE).exp().diag_embed()
        return dist.MultivariateNormal(loc.squeeze(-2), scale_tril=raw_tril.tril(-1) + diagonal)


class LowRankNormal(AmortizedGuide):
    """Draw z from a Gaussian of low rank: q(z | x) = Normal(z | loc(x), W(x) W(x)' + diag(scale(x)^2)).

    Args:
        data_shape: shape of x.
        latent_dim: size Z of z.
        encoder: makes the network from an input and an output shape.
        rank: columns of W.

    Raises:
        InputError: ``rank`` is not between 1 and ``latent_dim``.

    Source: D. J. Rezende, S. Mohamed, D. Wierstra, "Stochastic backpropagation and approximate inference in
    deep generative models", 2014, https://arxiv.org/abs/1401.4082 (for the precision).

    >>> LowRankNormal((6,), 3, rank=2)(torch.zeros(5, 6)).cov_factor.shape
    torch.Size([5, 3, 2])
    """

    def __init__(
        self, data_shape: Shape, latent_dim: int, encoder: NetworkFactory = MLP, rank: int = 1
    ) -> None:
        if not at_least_1("rank", rank) <= latent_dim:
            raise InputError(
                f"rank is {rank}",
                subject="rank",
                expected=f"a whole number from 1 to latent_dim, {latent_dim}",
            )
        self.rank = rank
        super().__init__(data_shape, latent_dim, encoder)

    def parameter_shape(self) -> Shape:
        return 2 + self.rank, self.latent_dim

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        parameters = self.encoder(x)  # (B | 2 + R, Z)
        loc, log_scale, factor = parameters.split((1, 1, self.rank), -2)
        variance = (2 * log_link(log_scale.squeeze(-2), SCALE)).exp()
        return LowRankMultivariateNormal(loc.squeeze(-2), factor.mT, variance)
