"""Gaussian guides, by how much of the covariance they know."""

import pyro.distributions as dist
from torch import Tensor

from pyro_vae.errors import InputError, at_least_1
from pyro_vae.guides.guide import AmortizedGuide
from pyro_vae.links import SCALE, log_link
from pyro_vae.networks import MLP, NetworkFactory, Shape


class MeanFieldNormal(AmortizedGuide):
    """q(z | x) = prod_d Normal(z_d | loc_d(x), scale_d(x)), with scale = exp(log_scale).

    Above exp(3), about 20, scales grow in proportion to the encoder's outputs only
    (:func:`pyro_vae.links.log_link`), here and in the guides below.

    >>> MeanFieldNormal((1, 8, 8), 4)(torch.zeros(5, 1, 8, 8)).batch_shape
    torch.Size([5])
    """

    def numbers(self) -> Shape:
        return 2, self.latent_dim

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        loc, log_scale = self.encoder(x).unbind(-2)  # (B | Z) each
        return dist.Normal(loc, log_link(log_scale, SCALE).exp()).to_event(1)


class FullCovarianceNormal(AmortizedGuide):
    """q(z | x) = Normal(z | loc(x), L(x) L(x)'), L lower triangular with diagonal exp(log_scale(x)).

    Source: M. Titsias, M. Lázaro-Gredilla, "Doubly stochastic variational Bayes for non-conjugate
    inference", 2014, https://proceedings.mlr.press/v32/titsias14.html.

    >>> FullCovarianceNormal((6,), 3)(torch.zeros(5, 6)).covariance_matrix.shape
    torch.Size([5, 3, 3])
    """

    def numbers(self) -> Shape:
        return 2 + self.latent_dim, self.latent_dim

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        numbers = self.encoder(x)  # (B | 2 + Z, Z)
        loc, log_scale, raw = numbers[..., 0, :], numbers[..., 1, :], numbers[..., 2:, :]
        diagonal = log_link(log_scale, SCALE).exp().diag_embed()
        return dist.MultivariateNormal(loc, scale_tril=raw.tril(-1) + diagonal)


class LowRankNormal(AmortizedGuide):
    """q(z | x) = Normal(z | loc(x), W(x) W(x)' + diag(scale(x)^2)), W of ``rank`` columns.

    Source: D. J. Rezende, S. Mohamed, D. Wierstra, "Stochastic backpropagation and approximate inference
    in deep generative models", 2014, https://arxiv.org/abs/1401.4082 (there of the precision).

    Args:
        data_shape: shape of x.
        latent_dim: size Z of z.
        encoder: makes the network from the two shapes.
        rank: columns of W.

    :raises InputError: ``rank`` is not between 1 and ``latent_dim``.

    >>> LowRankNormal((6,), 3, rank=2)(torch.zeros(5, 6)).cov_factor.shape
    torch.Size([5, 3, 2])
    """

    def __init__(
        self, data_shape: Shape, latent_dim: int, encoder: NetworkFactory = MLP, rank: int = 1
    ) -> None:
        if not at_least_1("rank", rank) <= latent_dim:
            raise InputError(f"rank must lie between 1 and latent_dim, {latent_dim}, not be {rank}")
        self.rank = rank
        super().__init__(data_shape, latent_dim, encoder)

    def numbers(self) -> Shape:
        return 2 + self.rank, self.latent_dim

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        numbers = self.encoder(x)  # (B | 2 + R, Z)
        loc, log_scale, factor = numbers[..., 0, :], numbers[..., 1, :], numbers[..., 2:, :].mT
        return dist.LowRankMultivariateNormal(loc, factor, (2 * log_link(log_scale, SCALE)).exp())
