"""Categorical distributions whose categories have no order, or have one."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class Nominal(dist.Categorical):
    """Draw a category without order, which therefore has no mean.

    >>> Nominal(logits=torch.zeros(3, 4)).log_prob(torch.tensor([0, 1, 2])).exp()
    tensor([0.2500, 0.2500, 0.2500])
    """

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError("categories have no mean")


class OrderedLogistic(dist.Categorical):
    """Draw an ordered category 0, ..., L - 1: p(x >= k) = sigmoid(predictor - cutpoint_k).

    Pyro's own loses the digits of small probabilities.

    Args:
        predictor: ``batch``.
        cutpoints: ``batch, L - 1``, increasing.

    >>> OrderedLogistic(torch.zeros(2), torch.tensor([-1.0, 1.0])).mean
    tensor([1., 1.])
    """

    def __init__(self, predictor: Tensor, cutpoints: Tensor) -> None:
        above = logsigmoid(predictor.unsqueeze(-1) - cutpoints)  # log p(x >= k), k = 1, ..., L - 1
        below = logsigmoid(cutpoints - predictor.unsqueeze(-1))
        # s(a) - s(b) = s(a) s(-b) (1 - exp(b - a)) keeps its digits in the tails
        width = torch.log(-torch.expm1(cutpoints[..., :-1] - cutpoints[..., 1:]))
        between = above[..., :-1] + below[..., 1:] + width
        super().__init__(logits=torch.cat([below[..., :1], between, above[..., -1:]], -1))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return super().expand(batch_shape, _instance or self.__new__(type(self)))

    @property
    def mean(self) -> Tensor:
        probs = self.probs
        return probs @ torch.arange(probs.shape[-1], dtype=probs.dtype, device=probs.device)
