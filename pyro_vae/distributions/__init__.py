"""Distributions that torch and Pyro do not have."""

from pyro_vae.distributions.chain import Chain, Sentences
from pyro_vae.distributions.counts import ZeroInflated
from pyro_vae.distributions.grid import DiscretizedLogistic, Grid, GridCategorical, LevelOf
from pyro_vae.distributions.mixture import NormalMixture, mixture
from pyro_vae.distributions.raster import Raster
from pyro_vae.distributions.sphere import SphericalUniform, VonMisesFisher
from pyro_vae.distributions.tables import Columns, Grades, Names, WithMissing
from pyro_vae.distributions.unit_interval import ContinuousBernoulli

__all__ = [
    "Chain",
    "Columns",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Grades",
    "Grid",
    "GridCategorical",
    "LevelOf",
    "Names",
    "NormalMixture",
    "Raster",
    "Sentences",
    "SphericalUniform",
    "VonMisesFisher",
    "WithMissing",
    "ZeroInflated",
    "mixture",
]
