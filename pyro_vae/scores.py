"""log p(value) with the event's dimensions summed, in as few passes over memory as it takes.

Scoring a decoder's output costs what the passes over it cost, so the two distributions that most
decoders and guides end in are summed here in three or four; ``log_prob`` itself takes nine.
"""

import math
from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import softplus


def log_prob(fn: dist.TorchDistribution, value: Tensor) -> Tensor:
    """``fn.log_prob(value)``, up to rounding.

    >>> fn, x = dist.Bernoulli(logits=torch.randn(5, 3, 2)).to_event(2), torch.ones(4, 1, 3, 2)
    >>> torch.allclose(log_prob(fn, x), fn.log_prob(x))
    True
    """
    base, event_dim = fn, 0
    while isinstance(base, dist.Independent):
        base, event_dim = base.base_dist, event_dim + base.reinterpreted_batch_ndims
    summed = SUMMED.get(type(base))
    shape = value.shape[value.dim() - event_dim :]
    if not summed or not event_dim or base._validate_args or shape != fn.event_shape:
        return fn.log_prob(value)
    return summed(base, value, tuple(range(-event_dim, 0)))


def bernoulli(fn: dist.Bernoulli, value: Tensor, dims: tuple[int, ...]) -> Tensor:
    """sum_i x_i l_i - log(1 + exp(l_i)) with logits l."""
    x, logits = torch.broadcast_tensors(value.to(fn.logits.dtype), fn.logits)
    if torch.is_grad_enabled() or not logits.is_cpu:
        # in place: a tenth faster
        return softplus(logits).addcmul_(x, logits, value=-1).sum(dims).neg()
    # log p = log sigmoid(|l|) - (max(l, 0) - x l), whose last term is summed where nothing cancels
    linear = logits.relu().addcmul_(x, logits, value=-1).sum(dims)
    return sum_of_logs(logits.abs().sigmoid_().flatten(-len(dims))) - linear


def sum_of_logs(x: Tensor) -> Tensor:
    """sum_i log x_i over the last dimension, for x in [1/2, 1], which is overwritten.

    On a CPU a logarithm costs as much as ten products; so it is taken of products of up to sixteen.
    """
    for _ in range(4):
        half = -(-x.shape[-1] // 2)
        x, other = x[..., :half], x[..., half:]
        x[..., : other.shape[-1]].mul_(other)
    return x.log_().sum(-1)


def normal(fn: dist.Normal, value: Tensor, dims: tuple[int, ...]) -> Tensor:
    x, _ = torch.broadcast_tensors(value, fn.loc)
    loc, scale = unexpanded(fn.loc, len(dims)), unexpanded(fn.scale, len(dims))
    standard = x - loc
    if torch.is_grad_enabled():
        standard = (standard / scale).square()
    else:
        standard.div_(scale).square_()
    return -0.5 * standard.sum(dims) - (scale.log() + 0.5 * math.log(2 * math.pi)).sum(dims)


SUMMED: dict[type, Callable[..., Tensor]] = {dist.Bernoulli: bernoulli, dist.Normal: normal}


def unexpanded(parameter: Tensor, event_dim: int) -> Tensor:
    """One of the equal copies along each batch dimension that it was expanded to."""
    strides = parameter.stride()[: parameter.dim() - event_dim]
    return parameter[tuple(slice(None if stride else 1) for stride in strides)]
