"""A Gaussian whose covariance is a diagonal plus a matrix of low rank."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution


class LowRankMultivariateNormal(dist.LowRankMultivariateNormal):
    """Draw z from Normal(loc, W W' + diag(d)), as torch's class of this name does.

    torch checks the Cholesky factor of I + W' diag(d)^-1 W, which a GPU is waited for in every step. That
    matrix is positive definite; where it overflows, the density is NaN.

    Args:
        loc: ``batch | Z``.
        cov_factor: W, ``batch | Z, R``.
        cov_diag: d, ``batch | Z``.

    >>> parameters = torch.randn(5, 3), torch.randn(5, 3, 2), torch.ones(5, 3)
    >>> ours, torchs = LowRankMultivariateNormal(*parameters), dist.LowRankMultivariateNormal(*parameters)
    >>> torch.equal(ours.log_prob(torch.ones(5, 3)), torchs.log_prob(torch.ones(5, 3)))
    True
    """

    def __init__(
        self,
        loc: Tensor,
        cov_factor: Tensor,
        cov_diag: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        shape = torch.broadcast_shapes(loc.shape, cov_factor.shape[:-1], cov_diag.shape)
        self.loc, self.cov_diag = loc.expand(shape), cov_diag.expand(shape)
        self.cov_factor = cov_factor.expand((*shape, cov_factor.shape[-1]))
        self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag = cov_factor, cov_diag
        weighted = cov_factor.mT / cov_diag.unsqueeze(-2)
        capacitance = weighted @ cov_factor
        identity = cov_diag.new_ones(cov_factor.shape[-1]).diag()
        self._capacitance_tril = torch.linalg.cholesky_ex(capacitance + identity).L
        Distribution.__init__(self, shape[:-1], shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return super().expand(batch_shape, _instance or self.__new__(type(self)))
