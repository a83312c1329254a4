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
    """Draw one of ``latent_dim`` classes, one-hot: p(z = e_k) = softmax(logits)_k, with learned logits.

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
    """Draw a relaxed one-hot z from the simplex: p(z) = Concrete(z | temperature, softmax(logits)).

    The logits are learned. A lower temperature puts z nearer to a corner.

    Args:
        latent_dim: number of classes.
        guide: not used.
        temperature: positive; in the limit 0, z is one-hot.

    Raises:
        InputError: ``temperature`` is not positive.

    Source: C. J. Maddison, A. Mnih, Y. W. Teh, "The concrete distribution: a continuous relaxation of
    discrete random variables", 2016, https://arxiv.org/abs/1611.00712; E. Jang, S. Gu, B. Poole,
    "Categorical reparameterization with Gumbel-softmax", 2016, https://arxiv.org/abs/1611.01144.

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
