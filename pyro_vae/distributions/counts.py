"""Distributions over counts: exact for large counts, and with extra zeros.

log p of a count of 1e6 is a difference of terms of 1e7, which float32 rounds to whole numbers. These
distributions therefore compute it in float64.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from pyro_vae.distributions.expandable import Expandable
from pyro_vae.distributions.float64 import log_prob_in_float64


class Poisson(Expandable):
    """Draw a count from its log rate: p(x) = exp(x log_rate - exp(log_rate)) / x!.

    The log rate may be so small that the rate is 0 in float32.

    Args:
        log_rate: ``batch``.

    >>> Poisson(torch.tensor(0.0)).log_prob(torch.tensor([0.0, 1.0, 2.0])).exp()
    tensor([0.3679, 0.3679, 0.1839])
    """

    arg_constraints = {"log_rate": constraints.real}  # noqa: RUF012 - torch's own protocol
    event_dims_of: ClassVar = {"log_rate": 0}
    support = constraints.nonnegative_integer

    def __init__(self, log_rate: Tensor, validate_args: bool | None = None) -> None:
        self.log_rate = log_rate
        super().__init__(log_rate.shape, validate_args=validate_args)

    @property
    def rate(self) -> Tensor:
        return self.log_rate.exp()

    mean = rate
    variance = rate

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        log_rate, x = self.log_rate.double(), value.double()
        return (x * log_rate - log_rate.exp() - (x + 1).lgamma()).to(self.log_rate.dtype)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return torch.poisson(self.rate.expand(self._extended_shape(torch.Size(sample_shape))))


class NegativeBinomial(dist.NegativeBinomial):
    """Draw from torch's negative binomial, and compute log p in float64.

    >>> r, logits = torch.tensor([1e5]), torch.tensor([2.3026])
    >>> NegativeBinomial(r, logits=logits).log_prob(torch.tensor([1e6]))
    tensor([-9.0257])
    """

    def log_prob(self, value: Tensor) -> Tensor:
        r, logits = self.total_count, self.logits
        return log_prob_in_float64(self, value, dist.NegativeBinomial, r, logits=logits)


class ZeroInflated(Expandable):
    """Draw 0 with probability g, or from the base: p(x) = g [x = 0] + (1 - g) base(x).

    Pyro's own cannot be expanded after a draw.

    Args:
        base: a distribution over 0, 1, 2, ..., ``batch |``.
        gate_logits: the logit of g, ``batch``.

    >>> ZeroInflated(dist.Poisson(torch.tensor(50.0)), torch.tensor(0.0)).log_prob(torch.tensor(0.0)).exp()
    tensor(0.5000)
    """

    arg_constraints = {"gate_logits": constraints.real}  # noqa: RUF012
    event_dims_of: ClassVar = {"base_dist": 0, "gate_logits": 0}
    support = constraints.nonnegative_integer

    def __init__(self, base: Any, gate_logits: Tensor, validate_args: bool | None = None) -> None:
        self.base_dist, self.gate_logits = base, gate_logits
        super().__init__(base.batch_shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean * (-self.gate_logits).sigmoid()

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        log_counted = logsigmoid(-self.gate_logits) + self.base_dist.log_prob(value)
        log_zero = torch.logaddexp(logsigmoid(self.gate_logits), log_counted)
        return torch.where(value == 0, log_zero, log_counted)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        counts = self.base_dist.sample(torch.Size(sample_shape))
        return torch.where(torch.rand_like(counts) < self.gate_logits.sigmoid(), 0.0, counts)
