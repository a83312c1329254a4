"""Distributions over sequences in which each category depends on those before it."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import one_hot

from pyro_vae.distributions.expandable import Expandable


class AutoregressiveCategorical(Expandable):
    """Draw one-hot c_1, ..., c_T in turn: p(c) = prod_t softmax(logits_t(c_1, ..., c_(t-1)))_(c_t).

    The shape is ``batch | T, K``. A density takes one call of the network, a draw T calls.

    Args:
        logits: maps c, ``..., T, K``, to logits of that shape; those of step t depend on earlier c only.
        zero: zeros, (T, K).
        batch_shape: ``batch``.

    >>> p = AutoregressiveCategorical(torch.zeros_like, torch.zeros(3, 2), torch.Size([5]))
    >>> p.log_prob(p.sample()).exp()
    tensor([0.1250, 0.1250, 0.1250, 0.1250, 0.1250])
    """

    support = constraints.independent(constraints.one_hot, 1)

    def __init__(
        self, logits: Callable[[Tensor], Tensor], zero: Tensor, batch_shape: torch.Size
    ) -> None:
        self.logits, self.zero = logits, zero
        super().__init__(batch_shape, zero.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.log_prob_of_steps(value).sum(-1)

    def log_prob_of_steps(self, value: Tensor) -> Tensor:
        """Return log p(c_t | c_1, ..., c_(t-1)) of each step, ``batch, T``."""
        return (value * self.logits(value).log_softmax(-1)).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        steps, num_categories = self.zero.shape
        value = self.zero.new_zeros(self._extended_shape(torch.Size(sample_shape)))
        for t in range(steps):
            drawn = dist.Categorical(logits=self.logits(value)[..., t, :]).sample()
            value[..., t, :] = one_hot(drawn, num_categories).to(value)
        return value


class Sentences(Expandable):
    """Draw token ids x_1, ..., x_T in turn, ``batch | T``, up to the first ``end``.

    After the first ``end`` every id is ``end``, at 0 nats, so sentences of every length up to T have a
    probability.

    Args:
        one_hot_tokens: the distribution of the one-hot tokens, ``batch | T, K``.
        end: the id that ends a sentence; None: every sentence has T tokens.

    >>> p = Sentences(AutoregressiveCategorical(torch.zeros_like, torch.zeros(3, 2), torch.Size()), end=0)
    >>> p.log_prob(torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 1]])).exp()
    tensor([0.5000, 0.2500, 0.1250])
    """

    event_dims_of: ClassVar = {"one_hot_tokens": 0}

    def __init__(
        self,
        one_hot_tokens: AutoregressiveCategorical,
        end: int | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.one_hot_tokens, self.end = one_hot_tokens, end
        steps, self.num_tokens = one_hot_tokens.event_shape
        event_shape = torch.Size([steps])
        super().__init__(one_hot_tokens.batch_shape, event_shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.integer_interval(0, self.num_tokens - 1), 1)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        c = one_hot(value.long().clamp(0, self.num_tokens - 1), self.num_tokens)
        steps = self.one_hot_tokens.log_prob_of_steps(c.to(self.one_hot_tokens.zero))  # ..., T
        if self.end is not None:
            is_end = value == self.end
            is_after = is_end.cumsum(-1) > is_end.long()
            steps = torch.where(is_after, torch.where(is_end, 0.0, -torch.inf).to(steps), steps)
        return steps.sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        value = self.one_hot_tokens.sample(sample_shape).argmax(-1).to(self.one_hot_tokens.zero)
        if self.end is None:
            return value
        is_end = value == self.end
        return torch.where(is_end.cumsum(-1) > 0, float(self.end), value)
