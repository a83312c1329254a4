"""Counts with more zeros than a distribution has by itself."""

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid


class ZeroInflated(dist.TorchDistribution):
    """p(x) = g [x = 0] + (1 - g) base(x), with g = sigmoid(gate_logits).

    Pyro's own cannot be expanded once it has been drawn from.

    :param base: a distribution over 0, 1, 2, ..., ``batch |``.
    :param gate_logits: ``batch``.

    >>> ZeroInflated(dist.Poisson(torch.tensor(50.0)), torch.tensor(0.0)).log_prob(torch.tensor(0.0)).exp()
    tensor(0.5000)
    """

    arg_constraints = {"gate_logits": constraints.real}  # noqa: RUF012 - torch's own protocol
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

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> "ZeroInflated":
        shape = torch.Size(batch_shape)
        base, gate_logits = self.base_dist.expand(shape), self.gate_logits.expand(shape)
        return ZeroInflated(base, gate_logits, validate_args=False)
