"""Priors p(z): modules that return a distribution over a latent vector, ``| latent_dim``."""

import abc

import pyro.distributions as dist
import torch
from torch import Tensor, nn


class Prior(nn.Module, abc.ABC):
    """``prior()`` is a distribution of event shape ``(latent_dim,)`` and no batch shape."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    @abc.abstractmethod
    def forward(self) -> dist.TorchDistribution: ...


class StandardNormal(Prior):
    """p(z) = Normal(z | 0, I).

    >>> StandardNormal(3)().event_shape
    torch.Size([3])
    """

    zero: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        return dist.Normal(self.zero, torch.ones_like(self.zero)).to_event(1)
