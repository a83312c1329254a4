"""A penalty on the distance of the aggregate posterior's covariance from the identity."""

import abc

from torch import Tensor

from pyro_vae.argument_checks import number
from pyro_vae.errors import InputError
from pyro_vae.inference.objectives.aggregate import (
    Aggregate,
    covariance,
    latent_vector,
    off_diagonal,
)
from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.requirements import ProgramSites


class DIP(Aggregate, abc.ABC):
    """Maximise the ELBO less a penalty on a covariance C over the batch."""

    def __init__(self, off_diagonal: float = 10.0, diagonal: float = 10.0) -> None:
        super().__init__()
        self.off_diagonal = number("off_diagonal", off_diagonal, least=0)
        self.diagonal = number("diagonal", diagonal, least=0)

    def check(self, sites: ProgramSites) -> None:
        super().check(sites)
        for name, site in sites.guide.items():
            try:
                site["fn"].mean, site["fn"].variance
            except NotImplementedError as error:
                raise InputError(
                    f"{type(self).__name__} needs the mean and variance of the guide's site {name!r}, and "
                    f"{type(site['fn']).__name__} has none in closed form",
                    subject=name,
                    remedy="use a Gaussian guide, or InfoVAE",
                ) from error

    @abc.abstractmethod
    def covariance(self, draws: GuideDraws) -> Tensor:
        """Return C, (Z, Z)."""

    def value(self, draws: GuideDraws) -> Tensor:
        covariance = self.covariance(draws)
        squares = off_diagonal(covariance).square().sum()
        spread = (covariance.diagonal() - 1).square().sum()
        penalty = self.off_diagonal * squares + self.diagonal * spread
        return draws.scale * draws.log_probs.log_weights.sum() - draws.count * penalty


class DIPVAE1(DIP):
    """Maximise the ELBO less a penalty on the covariance of the guide's means, C = Cov E_q[z].

    The penalty is off_diagonal sum_{i != j} C_ij^2 + diagonal sum_i (C_ii - 1)^2 for each unit. A lower
    bound, but one that stays away from the evidence: a fit reports the objective, and validates by the
    ELBO.

    Source: A. Kumar, P. Sattigeri, A. Balakrishnan, "Variational inference of disentangled latent concepts
    from unlabeled observations", 2017, https://arxiv.org/abs/1711.00848 (DIP-VAE-I).

    Args:
        off_diagonal: weight of the covariances.
        diagonal: weight of the variances' distance from 1.
    """

    def covariance(self, draws: GuideDraws) -> Tensor:
        return covariance(latent_vector(draws)[0]["fn"].mean)


class DIPVAE2(DIP):
    """Maximise the ELBO less a penalty on the aggregate posterior's covariance.

    C = E Cov_q[z] + Cov E_q[z]; everything else is as in :class:`DIPVAE1`.

    Source: A. Kumar, P. Sattigeri, A. Balakrishnan, "Variational inference of disentangled latent concepts
    from unlabeled observations", 2017, https://arxiv.org/abs/1711.00848 (DIP-VAE-II).

    Args:
        off_diagonal: weight of the covariances.
        diagonal: weight of the variances' distance from 1.
    """

    def covariance(self, draws: GuideDraws) -> Tensor:
        fn = latent_vector(draws)[0]["fn"]
        within = getattr(fn, "covariance_matrix", None)
        within = fn.variance.diag_embed() if within is None else within
        return within.mean(0) + covariance(fn.mean)
