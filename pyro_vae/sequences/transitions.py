"""Transitions p(z_t | z_(t-1)) of a state from one step of a sequence to the next.

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

__all__ = [
    "GatedTransition",
    "LinearTransition",
    "Transition",
    "TransitionFactory",
    "backward_messages",
]


class Transition(Part):
    """Map a state to the distribution of the next one.

    Args:
        latent_dim: size of the state.
    """

    @abc.abstractmethod
    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(z_t | z_(t-1)), ``batch, latent_dim |``, from ``batch | latent_dim``."""


TransitionFactory = Callable[[int], Transition]


class LinearTransition(Transition):
    """Move the state linearly: p(z_t | z_(t-1)) = Normal(A z_(t-1), I).

    :class:`~pyro_vae.models.StateSpace` has this transition.

    >>> LinearTransition(2)(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 2])
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.9 * torch.eye(latent_dim))  # A

    def forward(self, z: Tensor) -> dist.Normal:
        return dist.Normal(z @ self.weight.T, torch.ones_like(z))  # (B, Z |)


class GatedTransition(Transition):
    """Move the state by a gated network, where z = z_(t-1) and each number has a gate g(z).

        p(z_t | z) = Normal((1 - g) * (A z + a) + g * h(z), s(h(z))).

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


def backward_messages(
    potentials: Sequence[tuple[Tensor, Tensor]], transition: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Return each z_t's potential times the message from later steps, where z_t ~ Normal(A z_(t-1), I).

    A weight W, ([B,] Z, Z), and a field f, (B, Z), stand for the potential exp(f'z - z'Wz / 2).

    Args:
        potentials: weight and field of each z_t.
        transition: A, (Z, Z).

    Returns:
        Weight and field of each z_t, given its own and all later potentials.

    >>> one = torch.ones(1, 1)
    >>> backward_messages([(one, one), (one, one)], 2 * one)[0]
    (tensor([[3.]]), tensor([[2.]]))
    """
    identity = transition.new_ones(len(transition)).diag()
    weight, field = torch.zeros_like(transition), torch.zeros_like(potentials[0][1])
    messages = []
    for own_weight, own_field in reversed(potentials):
        weight, field = weight + own_weight, field + own_field
        messages.append((weight, field))
        # integrates out z_t, whose noise is a unit; a check of the inverse would wait for the device
        share = torch.linalg.inv_ex(identity + weight).inverse
        field = (share @ field.unsqueeze(-1)).squeeze(-1) @ transition
        weight = transition.T @ (identity - share) @ transition
    return messages[::-1]


def scale_tril(precision: Tensor) -> Tensor:
    """Return the Cholesky factor of the inverse of a positive definite matrix, ``... | Z, Z``.

    torch's own check of the factor, which a GPU is waited for, is left out.

    >>> scale_tril(torch.tensor([[4.0]]))
    tensor([[0.5000]])
    """
    root = torch.linalg.cholesky_ex(precision.flip(-2, -1)).L.flip(-2, -1).mT
    identity = precision.new_ones(precision.shape[-1]).diag()
    return torch.linalg.solve_triangular(root, identity, upper=False)
