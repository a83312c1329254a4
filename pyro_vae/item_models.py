"""Item models p(x_i | z) of a questionnaire: answers given the traits z of a person.

Each is made from the number of traits and the answers' shape, and maps z, ``batch | latent_dim``, to
independent answers, ``batch, X |``. The parameters are slopes a and thresholds d, as in a'z - d, where the
likelihood is well behaved; :attr:`Item.difficulty` has the textbook's b = d / a, as in a (z - b).
"""

import abc
from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_vae import distributions
from pyro_vae.errors import InputError, at_least
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

    @property
    @abc.abstractmethod
    def slopes(self) -> Tensor:
        """The slope of each item in each trait, ``X, latent_dim |``."""

    @property
    @abc.abstractmethod
    def thresholds(self) -> Tensor:
        """The threshold d of each item, ``X |``; of graded answers d_1, ..., d_(L-1), ``X | L - 1``."""

    @property
    def difficulty(self) -> Tensor:
        """The difficulty b of each item: the trait at which p(x = 1) is 1/2, or p(x >= k), as thresholds.

        With one trait b = d / a. With several it is the distance from the origin to where that probability
        is 1/2, along the steepest direction, d / |a| (M. D. Reckase, "The difficulty of test items that
        measure more than one ability", 1985, https://doi.org/10.1177/014662168500900409).

        >>> item = TwoParameter(1, (2,))
        >>> item.discrimination.data = torch.tensor([[0.5], [2.0]])
        >>> item.threshold.data.fill_(1.0)
        tensor([1., 1.])
        >>> item.difficulty.tolist()
        [2.0, 0.5]
        """
        slopes, d = self.slopes, self.thresholds
        steepness = slopes[..., 0] if slopes.shape[-1] == 1 else slopes.norm(dim=-1)
        return d / steepness.reshape(*steepness.shape, *(1,) * (d.dim() - steepness.dim()))

    @property
    def derived(self) -> dict[str, Tensor]:
        """What a table of the items shows beside the parameters: the difficulty, ``X |``, by name."""
        return {"difficulty": self.difficulty}

    @torch.no_grad()
    def information(self, z: Tensor) -> Tensor:
        """Return the Fisher information on the trait in each item, ``T, X |``, at traits ``T |``.

        It is E[(d log p(x_i | z) / dz)^2]. Items add up to the information of the test, I(z). An estimate
        of z has a standard error of at least I(z)^(-1/2).

        Raises:
            InputError: there are several traits.

        Source: F. M. Lord, "Applications of item response theory to practical testing problems", 1980.

        >>> item = OneParameter(1, (3,))
        >>> item.information(torch.tensor([0.0]))  # a^2 p (1 - p)
        tensor([[0.2500, 0.2500, 0.2500]])
        """
        if self.slopes.shape[-1] != 1:
            raise InputError(
                f"the items measure {self.slopes.shape[-1]} traits, and the information is a matrix",
                subject="latent_dim",
                expected="items of one trait",
            )
        z = z.reshape(-1, 1).to(self.slopes)
        answers = self(z).enumerate_support(expand=False)  # (L, 1, ...)

        def log_p(one: Tensor) -> Tensor:
            log_probs: Tensor = self(one).log_prob(answers)[:, 0]  # (L, X)
            return log_probs

        by_trait = z.unsqueeze(1)  # (T, 1, 1)
        probs = torch.func.vmap(log_p)(by_trait).exp()
        slope = torch.func.vmap(torch.func.jacrev(log_p))(by_trait)[..., 0, 0]
        return (probs * slope.square()).sum(1)


ItemFactory = Callable[[int, Shape], Item]


class TwoParameter(Item):
    """Model right and wrong answers by 2PL: p(x_i = 1 | z) = sigmoid(a_i'z - d_i).

    a are the discriminations, b = d / a the difficulties.

    >>> TwoParameter(1, (4,))(torch.zeros(5, 1)).batch_shape
    torch.Size([5, 4])
    """

    def __init__(self, latent_dim: int, data_shape: Shape) -> None:
        super().__init__()
        # positive, so that all items agree on a trait's direction
        start = 0.5 + 0.1 * torch.randn(*data_shape, latent_dim)
        self.discrimination = nn.Parameter(start)  # a
        self.threshold = nn.Parameter(torch.zeros(*data_shape))  # d

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return dist.Bernoulli(logits=ability(z, self.discrimination) - self.threshold)

    @property
    def slopes(self) -> Tensor:
        return self.discrimination

    @property
    def thresholds(self) -> Tensor:
        return self.threshold


class OneParameter(Item):
    """Model right and wrong answers by 1PL (Rasch): p(x_i = 1 | z) = sigmoid(a (z_1 + ... + z_Z) - d_i).

    All items share one discrimination a.

    >>> OneParameter(1, (4,))(torch.zeros(5, 1)).batch_shape
    torch.Size([5, 4])
    """

    def __init__(self, latent_dim: int, data_shape: Shape) -> None:
        super().__init__()
        self.log_discrimination = nn.Parameter(torch.zeros(()))  # log a
        self.threshold = nn.Parameter(torch.zeros(*data_shape))  # d
        self.latent_dim = latent_dim

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        total = z.sum(-1).reshape(*z.shape[:-1], *(1,) * self.threshold.dim())
        return dist.Bernoulli(logits=self.log_discrimination.exp() * total - self.threshold)

    @property
    def derived(self) -> dict[str, Tensor]:
        return {"discrimination": self.log_discrimination.exp(), **super().derived}

    @property
    def slopes(self) -> Tensor:
        return self.log_discrimination.exp().expand(*self.threshold.shape, self.latent_dim)

    @property
    def thresholds(self) -> Tensor:
        return self.threshold


class Graded(Item):
    """Model graded answers 0, ..., L - 1: p(x_i >= k | z) = sigmoid(a_i'z - d_ik), d_i1 < d_i2 < ...

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
        self.threshold = nn.Parameter(torch.full((*data_shape, 1), 1 - levels / 2))  # d_i1
        raw_steps = torch.full((*data_shape, levels - 2), 0.5413)  # softplus makes them 1
        self.raw_steps = nn.Parameter(raw_steps)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return distributions.OrderedLogistic(ability(z, self.discrimination), self.thresholds)

    @property
    def slopes(self) -> Tensor:
        return self.discrimination

    @property
    def thresholds(self) -> Tensor:
        return torch.cat([self.threshold, softplus(self.raw_steps)], -1).cumsum(-1)


def ability(z: Tensor, discrimination: Tensor) -> Tensor:
    """Return a_i'z of each item, ``batch, X``."""
    return (z @ discrimination.flatten(0, -2).mT).unflatten(-1, discrimination.shape[:-1])
