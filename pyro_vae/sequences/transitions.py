"""How a state moves from one step of a sequence to the next: p(z_t | z_(t-1)).

Each is made from the size of the state, and maps z_(t-1), ``batch | latent_dim``, to independent numbers,
``batch, latent_dim |``.
"""

import abc
from collections.abc import Callable, Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from pyro_vae.networks import MLP
from pyro_vae.parts import Part

__all__ = ["GatedTransition", "LinearTransition", "Transition", "TransitionFactory", "from_later"]


class Transition(Part):
    """The next state's distribution as a function of the state."""

    @abc.abstractmethod
    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """``batch, latent_dim |`` from ``batch | latent_dim``."""


TransitionFactory = Callable[[int], Transition]


class LinearTransition(Transition):
    """p(z_t | z_(t-1)) = Normal(A z_(t-1), I), that of :class:`~pyro_vae.models.StateSpace`.

    >>> LinearTransition(2)(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 2])
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.9 * torch.eye(latent_dim))  # A

    def forward(self, z: Tensor) -> dist.Normal:
        return dist.Normal(z @ self.weight.T, torch.ones_like(z))  # (B, Z |)


class GatedTransition(Transition):
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


def from_later(
    potentials: Sequence[tuple[Tensor, Tensor]], transition: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """What each z_t is told by its own potential and all later ones, where z_t ~ Normal(A z_(t-1), I).

    A weight W, ([B,] Z, Z), and a field f, (B, Z), stand for exp(f'z - z'Wz / 2).

    >>> one = torch.ones(1, 1)
    >>> from_later([(one, one), (one, one)], 2 * one)[0]
    (tensor([[3.]]), tensor([[2.]]))
    """
    identity = torch.eye(len(transition)).to(transition)
    weight, field = torch.zeros_like(transition), torch.zeros_like(potentials[0][1])
    found = []
    for own_weight, own_field in reversed(potentials):
        weight, field = weight + own_weight, field + own_field
        found.append((weight, field))
        share = torch.linalg.inv(identity + weight)  # z_t, of unit noise, is integrated out
        field = (share @ field.unsqueeze(-1)).squeeze(-1) @ transition
        weight = transition.T @ (identity - share) @ transition
    return found[::-1]
