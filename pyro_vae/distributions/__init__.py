"""Distributions that torch and Pyro lack, and some of theirs that were slow or inexact."""

from pyro_vae.distributions.autoregressive_categorical import AutoregressiveCategorical, Sentences
from pyro_vae.distributions.autoregressive_image import AutoregressiveImage
from pyro_vae.distributions.counts import NegativeBinomial, Poisson, ZeroInflated
from pyro_vae.distributions.exemplar_mixture import ExemplarMixture
from pyro_vae.distributions.float64 import Beta, StudentT
from pyro_vae.distributions.grey_levels import (
    DiscretizedLogistic,
    GreyLevelCategorical,
    GreyLevels,
    Quantized,
)
from pyro_vae.distributions.improper import ImproperUniform
from pyro_vae.distributions.in_turn import ColumnsInTurn
from pyro_vae.distributions.low_rank import LowRankMultivariateNormal
from pyro_vae.distributions.mixture import NormalMixture, mixture
from pyro_vae.distributions.ordinal import Nominal, OrderedLogistic
from pyro_vae.distributions.quantiles import QuantileMixture
from pyro_vae.distributions.sinh_arcsinh import SinhArcsinh
from pyro_vae.distributions.sphere import SphericalUniform, VonMisesFisher
from pyro_vae.distributions.tables import Columns, PartiallyObserved
from pyro_vae.distributions.unit_interval import ContinuousBernoulli

__all__ = [
    "AutoregressiveCategorical",
    "AutoregressiveImage",
    "Beta",
    "Columns",
    "ColumnsInTurn",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "ExemplarMixture",
    "GreyLevelCategorical",
    "GreyLevels",
    "ImproperUniform",
    "LowRankMultivariateNormal",
    "NegativeBinomial",
    "Nominal",
    "NormalMixture",
    "OrderedLogistic",
    "PartiallyObserved",
    "Poisson",
    "QuantileMixture",
    "Quantized",
    "Sentences",
    "SinhArcsinh",
    "SphericalUniform",
    "StudentT",
    "VonMisesFisher",
    "ZeroInflated",
    "mixture",
]
