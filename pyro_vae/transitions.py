"""How a state moves from one step of a sequence to the next: p(z_t | z_(t-1)).

Each is made from the size of the state, and maps z_(t-1), ``batch | latent_dim``, to independent numbers,
``batch, latent_dim |``.
"""

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from pyro_vae.networks import MLP


class LinearTransition(nn.Module):
    """p(z_t | z_(t-1)) = Normal(A z_(t-1), I), that of :class:`~pyro_vae.models.StateSpace`.

    >>> LinearTransition(2)(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 2])
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.9 * torch.eye(latent_dim))  # A

    def forward(self, z: Tensor) -> dist.Normal:
        return dist.Normal(z @ self.weight.T, torch.ones_like(z))  # (B, Z |)


class GatedTransition(nn.Module):
    """p(z_t | z_(t-1)) = Normal((1 - g) * (A z + a) + g * h(z), s(h(z))), with a gate g(z) for each number.

    Args:
        latent_dim: size of the state.
        hidden_dim: width of the hidden layers of g and h.

    >>> GatedTransition(2)(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 2])
    """

    def __init__(self, latent_dim: int, hidden_dim: int = 64) -> None:
        super().__init__()
        self.gate = MLP((latent_dim,), (latent_dim,), (hidden_dim,))
        self.proposal = MLP((latent_dim,), (latent_dim,), (hidden_dim,))
        self.linear, self.scale = (nn.Linear(latent_dim, latent_dim) for _ in range(2))

    def forward(self, z: Tensor) -> dist.Normal:
        gate, proposal = self.gate(z).sigmoid(), self.proposal(z)
        loc = (1 - gate) * self.linear(z) + gate * proposal
        return dist.Normal(loc, 1e-3 + softplus(self.scale(silu(proposal))))  # (B, Z |)
