"""Losses of two players: what a discriminator minimises, and what a generator does."""

import abc

from torch import Tensor
from torch.nn.functional import relu, softplus


class AdversarialLoss(abc.ABC):
    """Give each side's loss from a discriminator's logits: r of real rows, f of made ones, U each.

    A pair (r_n, f_n) belongs to a unit, and so does its loss. A generator that the real rows depend on, too
    (an encoder), plays the other part, with -f for r and -r for f: its rows are to look made.
    """

    @abc.abstractmethod
    def discriminator(self, real: Tensor, made: Tensor) -> Tensor:
        """Return the discriminator's loss of each unit, U, in nats where it is a cross-entropy."""

    @abc.abstractmethod
    def generator(self, real: Tensor, made: Tensor) -> Tensor:
        """Return the generator's loss of each unit, U."""


class NonSaturating(AdversarialLoss):
    """Play -log sigmoid(r) - log sigmoid(-f) against -log sigmoid(f).

    The best discriminator is the log-ratio of the two densities, and its loss then 2 log 2 minus twice
    their Jensen-Shannon divergence. The generator's loss keeps a gradient where the discriminator is sure.

    Source: I. Goodfellow et al., "Generative adversarial nets", 2014, https://arxiv.org/abs/1406.2661.

    >>> import torch
    >>> NonSaturating().discriminator(torch.zeros(1), torch.zeros(1))
    tensor([1.3863])
    """

    def discriminator(self, real: Tensor, made: Tensor) -> Tensor:
        return softplus(-real) + softplus(made)

    def generator(self, real: Tensor, made: Tensor) -> Tensor:
        return softplus(-made)


class LogRatio(NonSaturating):
    """Play the same against -f: with the best discriminator, KL(made || real).

    Source: C. K. Sønderby, J. Caballero, L. Theis, W. Shi, F. Huszár, "Amortised MAP inference for image
    super-resolution", 2016, https://arxiv.org/abs/1610.04490.
    """

    def generator(self, real: Tensor, made: Tensor) -> Tensor:
        return -made


class Hinge(AdversarialLoss):
    """Play max(0, 1 - r) + max(0, 1 + f) against -f.

    Source: J. H. Lim, J. C. Ye, "Geometric GAN", 2017, https://arxiv.org/abs/1705.02894.
    """

    def discriminator(self, real: Tensor, made: Tensor) -> Tensor:
        return relu(1 - real) + relu(1 + made)

    def generator(self, real: Tensor, made: Tensor) -> Tensor:
        return -made


class LeastSquares(AdversarialLoss):
    """Play ((r - 1)^2 + (f + 1)^2) / 2 against (f - 1)^2 / 2: a regression on labels of 1 and -1.

    Source: X. Mao et al., "Least squares generative adversarial networks", 2016,
    https://arxiv.org/abs/1611.04076 (there with labels of 1 and 0, which is the same with other units).
    """

    def discriminator(self, real: Tensor, made: Tensor) -> Tensor:
        return ((real - 1).square() + (made + 1).square()) / 2

    def generator(self, real: Tensor, made: Tensor) -> Tensor:
        return (made - 1).square() / 2


class Wasserstein(AdversarialLoss):
    """Play f - r against -f: over functions of slope 1, minus f - r is the Wasserstein distance.

    A penalty (``GradientPenalty``) or a network part (``networks.SpectralNorm``) keeps the slope; nothing
    else bounds the figures. Let the critic take several steps for one of the generator.

    Source: M. Arjovsky, S. Chintala, L. Bottou, "Wasserstein GAN", 2017, https://arxiv.org/abs/1701.07875.
    """

    def discriminator(self, real: Tensor, made: Tensor) -> Tensor:
        return made - real

    def generator(self, real: Tensor, made: Tensor) -> Tensor:
        return -made


class Relativistic(AdversarialLoss):
    """Play -log sigmoid(r - f) against -log sigmoid(f - r): each made row has a real one beside it.

    With ``R1R2`` it is the objective of R3GAN, which converges locally and reaches all modes.

    Source: A. Jolicoeur-Martineau, "The relativistic discriminator", 2018,
    https://arxiv.org/abs/1807.00734; N. Huang et al., "The GAN is dead; long live the GAN! A modern GAN
    baseline", 2025, https://arxiv.org/abs/2501.05441.
    """

    def discriminator(self, real: Tensor, made: Tensor) -> Tensor:
        return softplus(made - real)

    def generator(self, real: Tensor, made: Tensor) -> Tensor:
        return softplus(real - made)
