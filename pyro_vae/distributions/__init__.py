"""Distributions that torch and Pyro do not have."""

from pyro_vae.distributions.chain import Chain, Sentences
from pyro_vae.distributions.counts import NegativeBinomial, Poisson, ZeroInflated
from pyro_vae.distributions.float64 import Beta, StudentT
from pyro_vae.distributions.grid import DiscretizedLogistic, Grid, GridCategorical, LevelOf
from pyro_vae.distributions.mixture import NormalMixture, mixture
from pyro_vae.distributions.raster import Raster
from pyro_vae.distributions.sphere import SphericalUniform, VonMisesFisher
from pyro_vae.distributions.tables import Columns, Grades, Names, WithMissing
from pyro_vae.distributions.unit_interval import ContinuousBernoulli

__all__ = [
    "Beta",
    "Chain",
    "Columns",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Grades",
    "Grid",
    "GridCategorical",
    "LevelOf",
    "Names",
    "NegativeBinomial",
    "NormalMixture",
    "Poisson",
    "Raster",
    "Sentences",
    "SphericalUniform",
    "StudentT",
    "VonMisesFisher",
    "WithMissing",
    "ZeroInflated",
    "mixture",
]
