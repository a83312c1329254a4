"""Priors p(z): modules that return a distribution over a latent vector, ``| latent_dim``.

Each is made from the latent dimension and the model's guide.
"""

from pyro_vae.priors.categorical import Categorical, RelaxedCategorical
from pyro_vae.priors.flow import FlowPrior
from pyro_vae.priors.mixture import GaussianMixture, VampPrior
from pyro_vae.priors.normal import LearnedNormal, StandardNormal
from pyro_vae.priors.prior import Prior, PriorFactory
from pyro_vae.priors.sphere import SphericalUniform

__all__ = [
    "Categorical",
    "FlowPrior",
    "GaussianMixture",
    "LearnedNormal",
    "Prior",
    "PriorFactory",
    "RelaxedCategorical",
    "SphericalUniform",
    "StandardNormal",
    "VampPrior",
]
