"""The maximum mean discrepancy of aggregate posterior and prior, from draws of both."""

import abc
from collections.abc import Sequence

from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.errors import positive
from pyro_vae.inference.objectives.aggregate import Aggregate, latent_vector, off_diagonal
from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.requirements import ProgramSites


class Kernel(abc.ABC):
    """Compute the similarity of two vectors."""

    @abc.abstractmethod
    def __call__(self, squares: Tensor, dim: int) -> Tensor:
        """Return k of squared distances between vectors of ``dim`` numbers, in the same shape."""


SCALES = checks.each(positive, "a list of positive numbers", least=1)


class InverseMultiquadric(Kernel):
    """Compute k(d) = sum_s c / (c + d^2) with c = 2 s Z for each of some scales s.

    Its tails are heavy, so a draw far from the prior still has a gradient.

    Source: I. Tolstikhin et al., "Wasserstein auto-encoders", 2017, https://arxiv.org/abs/1711.01558.

    Args:
        scales: s.
    """

    def __init__(self, scales: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)) -> None:
        checks.check_arguments({"scales": SCALES}, locals())
        self.scales = tuple(scales)

    def __call__(self, squares: Tensor, dim: int) -> Tensor:
        terms = [2 * dim * scale / (2 * dim * scale + squares) for scale in self.scales]
        return sum(terms[1:], start=terms[0])


class Gaussian(Kernel):
    """Compute k(d) = exp(-d^2 / (2 bandwidth^2 Z)).

    Args:
        bandwidth: in the unit of one number of a vector.
    """

    def __init__(self, bandwidth: float = 1.0) -> None:
        self.bandwidth = positive("bandwidth", bandwidth)

    def __call__(self, squares: Tensor, dim: int) -> Tensor:
        return (-squares / (2 * dim * self.bandwidth**2)).exp()


KERNEL = checks.optional(checks.instance(Kernel, "a Kernel such as Gaussian()"))


class InfoVAE(Aggregate):
    """Maximise sum_n E[log p(x | z)] - (1 - alpha) KL_n - (alpha + weight - 1) MMD^2(q(z), p(z)).

    MMD^2 = E k(z, z') + E k(y, y') - 2 E k(z, y) compares the batch's draws z, of the aggregate posterior,
    with as many draws y of the prior; the estimate is unbiased. Not a bound: a fit reports the objective,
    and validates by the ELBO. With alpha = 1 it is ``WAE``.

    Source: S. Zhao, J. Song, S. Ermon, "InfoVAE: information maximizing variational autoencoders", 2017,
    https://arxiv.org/abs/1706.02262; A. Gretton et al., "A kernel two-sample test", 2012.

    Args:
        weight: lambda.
        alpha: the part of the KL term that is left out.
        kernel: by default InverseMultiquadric().
    """

    separates_prior = True

    def __init__(
        self,
        weight: float = 10.0,
        alpha: float = 0.0,
        kernel: Kernel | None = None,
    ) -> None:
        super().__init__()
        self.alpha = checks.number("alpha", alpha)
        self.weight = checks.number("weight", weight, least=1 - self.alpha)
        checks.check_arguments({"kernel": KERNEL}, locals())
        self.kernel = InverseMultiquadric() if kernel is None else kernel

    def check(self, sites: ProgramSites) -> None:
        super().check(sites)
        sites.require_prior_draws(type(self).__name__)

    def value(self, draws: GuideDraws) -> Tensor:
        guide, model = latent_vector(draws)
        prior = model[
            "fn"
        ]().detach()  # `sample` looks for negative scales, and a GPU is waited for
        discrepancy = squared_mmd(guide["value"], prior.expand_as(guide["value"]), self.kernel)
        log_probs = draws.log_probs
        bound = (log_probs.log_likelihood - (1 - self.alpha) * log_probs.rate).sum()
        return draws.scale * bound - draws.count * (self.alpha + self.weight - 1) * discrepancy


class WAE(InfoVAE):
    """Maximise sum_n E[log p(x | z)] - weight MMD^2(q(z), p(z)): InfoVAE without any KL term.

    It pulls the guides to the prior as a whole, not that of each datum. Not a bound: a fit reports the
    objective, and validates by the ELBO, which may be low.

    Source: I. Tolstikhin, O. Bousquet, S. Gelly, B. Schölkopf, "Wasserstein auto-encoders", 2017,
    https://arxiv.org/abs/1711.01558 (WAE-MMD).

    Args:
        weight: lambda.
        kernel: by default InverseMultiquadric().
    """

    def __init__(
        self,
        weight: float = 10.0,
        kernel: Kernel | None = None,
    ) -> None:
        super().__init__(weight, 1.0, kernel)


def squared_mmd(one: Tensor, other: Tensor, kernel: Kernel) -> Tensor:
    """Return the unbiased estimate from draws (U, Z) of each, ``|``; 0 from a single one.

    >>> abs(float(squared_mmd(torch.randn(2000, 2), torch.randn(2000, 2), InverseMultiquadric()))) < 0.02
    True
    """
    count, dim = one.shape
    if count < 2:
        return one.new_zeros(())

    def mean(a: Tensor, b: Tensor) -> Tensor:
        squares = (a.unsqueeze(1) - b).square().sum(-1)
        values = kernel(squares, dim)
        return (values if a is not b else off_diagonal(values)).sum()

    within = (mean(one, one) + mean(other, other)) / (count * (count - 1))
    return within - 2 * mean(one, other) / count**2
