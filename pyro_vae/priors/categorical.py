"""Priors over one of several classes."""

from typing import ClassVar

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import nn

from pyro_vae.errors import positive
from pyro_vae.guides import AmortizedGuide
from pyro_vae.priors.prior import Prior


class Categorical(Prior):
    """p(z = e_k) = softmax(logits)_k, learned: z is one of latent_dim classes, one-hot.

    >>> Categorical(3)().sample().sum()
    tensor(1.)
    """

    support: ClassVar = constraints.one_hot

    def __init__(self, latent_dim: int, guide: AmortizedGuide | None = None) -> None:
        super().__init__(latent_dim, guide)
        self.logits = nn.Parameter(torch.zeros(latent_dim))

    def forward(self) -> dist.TorchDistribution:
        return dist.OneHotCategorical(logits=self.logits)


class RelaxedCategorical(Prior):
    """One of latent_dim classes, relaxed: z lies in the simplex, the nearer to a corner the colder.

    Source: C. J. Maddison, A. Mnih, Y. W. Teh, "The concrete distribution: a continuous relaxation of
    discrete random variables", 2016, https://arxiv.org/abs/1611.00712; E. Jang, S. Gu, B. Poole,
    "Categorical reparameterization with Gumbel-softmax", 2016, https://arxiv.org/abs/1611.01144.

    Args:
        latent_dim: number of classes.
        guide: not used.
        temperature: 0 would be one-hot.

    :raises InputError: ``temperature`` is not positive.

    >>> round(RelaxedCategorical(3)().sample().sum().item(), 5)
    1.0
    """

    support: ClassVar = constraints.simplex
    temperature: torch.Tensor

    def __init__(
        self, latent_dim: int, guide: AmortizedGuide | None = None, temperature: float = 0.5
    ) -> None:
        super().__init__(latent_dim, guide)
        temperature = positive("temperature", temperature)
        self.register_buffer("temperature", torch.tensor(temperature), persistent=False)
        self.logits = nn.Parameter(torch.zeros(latent_dim))

    def forward(self) -> dist.TorchDistribution:
        return dist.RelaxedOneHotCategorical(self.temperature, logits=self.logits)
