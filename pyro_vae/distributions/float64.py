"""Distributions of torch whose log-densities need float64 where the parameters are large.

Their constants are differences of lgamma. At half a million lgamma is 6e6, where float32 has steps of 0.5.
"""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
from torch import Tensor


class StudentT(dist.StudentT):
    """Draw from torch's Student t, and compute log p in float64.

    >>> import torch
    >>> StudentT(torch.tensor(1e6)).log_prob(torch.tensor(0.0))
    tensor(-0.9189)
    """

    def log_prob(self, value: Tensor) -> Tensor:
        return log_prob_in_float64(self, value, dist.StudentT, self.df, self.loc, self.scale)


class Beta(dist.Beta):
    """Draw from torch's beta distribution, and compute log p in float64.

    >>> import torch
    >>> Beta(torch.tensor(1e6), torch.tensor(1e6)).log_prob(torch.tensor(0.5))
    tensor(7.0285)
    """

    def log_prob(self, value: Tensor) -> Tensor:
        a, b = self.concentration1, self.concentration0
        return log_prob_in_float64(self, value, dist.Beta, a, b)


def log_prob_in_float64(
    p: Any, value: Tensor, family: Callable[..., Any], *parameters: Tensor, **named: Tensor
) -> Tensor:
    """Return log p(value), computed by ``family`` in float64, in the dtype of the parameters."""
    if p._validate_args:
        p._validate_sample(value)
    wide = family(
        *(parameter.double() for parameter in parameters),
        **{name: parameter.double() for name, parameter in named.items()},
        validate_args=False,
    )
    return wide.log_prob(value.double()).to((*parameters, *named.values())[-1].dtype)
