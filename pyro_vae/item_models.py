"""Item models p(x_i | z) of a questionnaire: answers given the traits z of a person.

Each is made from the number of traits and the answers' shape, and maps z, ``batch | latent_dim``, to
independent answers, ``batch, X |``.
"""

import abc
from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_vae import distributions
from pyro_vae.errors import at_least
from pyro_vae.networks import Shape
from pyro_vae.parts import Part

__all__ = ["Graded", "Item", "ItemFactory", "OneParameter", "TwoParameter"]


class Item(Part):
    """Map traits to the distribution of the answers.

    Args:
        latent_dim: number of traits.
        data_shape: shape of one person's answers.
    """

    @abc.abstractmethod
    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(x | z), ``batch, X |``, from traits ``batch | latent_dim``."""


ItemFactory = Callable[[int, Shape], Item]


class TwoParameter(Item):
    """Model right and wrong answers by 2PL: p(x_i = 1 | z) = sigmoid(a_i'z - b_i).

    a are the discriminations, b the difficulties.

    >>> TwoParameter(1, (4,))(torch.zeros(5, 1)).batch_shape
    torch.Size([5, 4])
    """

    def __init__(self, latent_dim: int, data_shape: Shape) -> None:
        super().__init__()
        # positive, so that all items agree on a trait's direction
        start = 0.5 + 0.1 * torch.randn(*data_shape, latent_dim)
        self.discrimination = nn.Parameter(start)  # a
        self.difficulty = nn.Parameter(torch.zeros(*data_shape))  # b

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return dist.Bernoulli(logits=ability(z, self.discrimination) - self.difficulty)


class OneParameter(Item):
    """Model right and wrong answers by 1PL (Rasch): p(x_i = 1 | z) = sigmoid(a (z_1 + ... + z_Z) - b_i).

    All items share one discrimination a; b are the difficulties.

    >>> OneParameter(1, (4,))(torch.zeros(5, 1)).batch_shape
    torch.Size([5, 4])
    """

    def __init__(self, latent_dim: int, data_shape: Shape) -> None:
        super().__init__()
        self.log_discrimination = nn.Parameter(torch.zeros(()))  # log a
        self.difficulty = nn.Parameter(torch.zeros(*data_shape))  # b

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        total = z.sum(-1).reshape(*z.shape[:-1], *(1,) * self.difficulty.dim())
        return dist.Bernoulli(logits=self.log_discrimination.exp() * total - self.difficulty)


class Graded(Item):
    """Model graded answers 0, ..., L - 1: p(x_i >= k | z) = sigmoid(a_i'z - b_ik), b_i1 < b_i2 < ...

    Args:
        latent_dim: number of traits.
        data_shape: shape of one person's answers.
        levels: L, the number of grades.

    Raises:
        InputError: ``levels`` is below 2.

    Source: F. Samejima, "Estimation of latent ability using a response pattern of graded scores", 1969,
    https://doi.org/10.1007/BF03372160.

    >>> Graded(1, (4,))(torch.zeros(3, 1)).mean[0].round().tolist()
    [2.0, 2.0, 2.0, 2.0]
    """

    def __init__(self, latent_dim: int, data_shape: Shape, levels: int = 5) -> None:
        super().__init__()
        at_least(2, "levels", levels)
        start = 0.5 + 0.1 * torch.randn(*data_shape, latent_dim)
        self.discrimination = nn.Parameter(start)  # a
        self.difficulty = nn.Parameter(torch.full((*data_shape, 1), 1 - levels / 2))  # b_i1
        raw_steps = torch.full((*data_shape, levels - 2), 0.5413)  # softplus makes them 1
        self.raw_steps = nn.Parameter(raw_steps)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        steps = torch.cat([self.difficulty, softplus(self.raw_steps)], -1)
        return distributions.OrderedLogistic(ability(z, self.discrimination), steps.cumsum(-1))


def ability(z: Tensor, discrimination: Tensor) -> Tensor:
    """Return a_i'z of each item, ``batch, X``."""
    return (z @ discrimination.flatten(0, -2).mT).unflatten(-1, discrimination.shape[:-1])
