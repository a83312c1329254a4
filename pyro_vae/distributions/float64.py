"""Distributions of torch whose log-densities need float64 where the parameters are large.

Their constants are differences of lgamma. At half a million lgamma is 6e6, where float32 has steps of 0.5.
"""

import pyro.distributions as dist
from torch import Tensor


class StudentT(dist.StudentT):
    """Draw from torch's Student t, and compute log p in float64.

    >>> import torch
    >>> StudentT(torch.tensor(1e6)).log_prob(torch.tensor(0.0))
    tensor(-0.9189)
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        df, loc, scale = (p.double() for p in (self.df, self.loc, self.scale))
        wide = dist.StudentT(df, loc, scale, validate_args=False)
        return wide.log_prob(value.double()).to(self.loc.dtype)


class Beta(dist.Beta):
    """Draw from torch's beta distribution, and compute log p in float64.

    >>> import torch
    >>> Beta(torch.tensor(1e6), torch.tensor(1e6)).log_prob(torch.tensor(0.5))
    tensor(7.0285)
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        a, b = self.concentration1.double(), self.concentration0.double()
        wide = dist.Beta(a, b, validate_args=False)
        return wide.log_prob(value.double()).to(self.concentration1.dtype)
