"""A flat density."""

import pyro.distributions as dist
import torch
from torch import Tensor


class ImproperUniform(dist.ImproperUniform):
    """Score every value of the support 0 nats, on the value's device; Pyro's zeros are the CPU's.

    >>> p = ImproperUniform(dist.constraints.real_vector, (), (3,))
    >>> p.log_prob(torch.ones(5, 3))
    tensor([0., 0., 0., 0., 0.])
    """

    def log_prob(self, value: Tensor) -> Tensor:
        batch_shape = value.shape[: value.dim() - self.event_dim]
        shape = torch.broadcast_shapes(batch_shape, self.batch_shape)
        return torch.zeros((), device=value.device).expand(shape)
