"""Distributions over sequences of names, each of which depends on those before it."""

from collections.abc import Callable, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import one_hot


class Chain(dist.TorchDistribution):
    """p(c) = prod_t softmax(logits_t(c_1, ..., c_(t-1)))_(c_t), of one-hot c_t, ``batch | T, K``.

    A density takes one call of the network, a draw T of them.

    :param logits: maps c, ``..., T, K``, to logits of the same shape, of which those of t look at earlier c
        alone.
    :param zero: zeros, (T, K).
    :param batch_shape: ``batch``.

    >>> p = Chain(torch.zeros_like, torch.zeros(3, 2), torch.Size([5]))
    >>> p.log_prob(p.sample()).exp()
    tensor([0.1250, 0.1250, 0.1250, 0.1250, 0.1250])
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own protocol
    support = constraints.independent(constraints.one_hot, 1)

    def __init__(
        self, logits: Callable[[Tensor], Tensor], zero: Tensor, batch_shape: torch.Size
    ) -> None:
        self.logits, self.zero = logits, zero
        super().__init__(batch_shape, zero.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        return (value * self.logits(value).log_softmax(-1)).sum((-1, -2))

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        steps, names = self.zero.shape
        value = self.zero.new_zeros(self._extended_shape(torch.Size(sample_shape)))
        for t in range(steps):
            drawn = dist.Categorical(logits=self.logits(value)[..., t, :]).sample()
            value[..., t, :] = one_hot(drawn, names).to(value)
        return value

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "Chain":
        return type(self)(self.logits, self.zero, torch.Size(batch_shape))


class Sentences(dist.TorchDistribution):
    """The same of names by number, 0 to K - 1, ``batch | T``, up to the first that is ``end``.

    Beyond that one there is nothing but ``end``, which counts 0 nats, so that sentences of every length
    up to T have their probability.

    :param chain: the distribution of one-hot names.
    :param end: None where all have T.

    >>> p = Sentences(Chain(torch.zeros_like, torch.zeros(3, 2), torch.Size()), end=0)
    >>> p.log_prob(torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 1]])).exp()
    tensor([0.5000, 0.2500, 0.1250])
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(
        self, chain: Chain, end: int | None = None, validate_args: bool | None = None
    ) -> None:
        self.chain, self.end = chain, end
        super().__init__(chain.batch_shape, chain.event_shape[:1], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        names = constraints.integer_interval(0, self.chain.event_shape[-1] - 1)
        return constraints.independent(names, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        names = self.chain.event_shape[-1]
        c = one_hot(value.long().clamp(0, names - 1), names).to(self.chain.zero)
        each = (c * self.chain.logits(c).log_softmax(-1)).sum(-1)  # ..., T
        if self.end is not None:
            is_end = value == self.end
            over = is_end.cumsum(-1) > is_end.long()
            each = torch.where(over, torch.where(is_end, 0.0, -torch.inf).to(each), each)
        return each.sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        value = self.chain.sample(sample_shape).argmax(-1).to(self.chain.zero)
        if self.end is None:
            return value
        is_end = value == self.end
        return torch.where(is_end.cumsum(-1) > 0, float(self.end), value)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "Sentences":
        return Sentences(self.chain.expand(batch_shape), self.end, self._validate_args)
