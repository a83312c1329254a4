"""Likelihoods p(x | z): a decoder's output as a distribution over the data.

Each is made from the latent dimension, the data's shape and a decoder, which is anything that makes a
network from an input and an output shape. It maps z, ``batch | latent_dim``, to a distribution
``batch | data_shape``.
"""

from pyro_vae.likelihoods.counts import (
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)
from pyro_vae.likelihoods.grey_levels import (
    Categorical,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
)
from pyro_vae.likelihoods.in_turn import InTurn
from pyro_vae.likelihoods.likelihood import Likelihood, LikelihoodFactory
from pyro_vae.likelihoods.pixels import PixelCNN
from pyro_vae.likelihoods.quantiles import Quantiles
from pyro_vae.likelihoods.real import (
    FixedScaleNormal,
    HeteroscedasticNormal,
    LogNormal,
    Normal,
    StudentT,
)
from pyro_vae.likelihoods.tables import Heterogeneous, Missing
from pyro_vae.likelihoods.tokens import Sentences, Tokens
from pyro_vae.likelihoods.unit_interval import Bernoulli, Beta, ContinuousBernoulli

__all__ = [
    "Bernoulli",
    "Beta",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "FixedScaleNormal",
    "Heterogeneous",
    "HeteroscedasticNormal",
    "InTurn",
    "Likelihood",
    "LikelihoodFactory",
    "LogNormal",
    "Missing",
    "NegativeBinomial",
    "Normal",
    "PixelCNN",
    "Poisson",
    "Quantiles",
    "Sentences",
    "StudentT",
    "Tokens",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
]
