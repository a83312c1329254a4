"""Distributions that torch and Pyro do not have."""

from pyro_vae.distributions.grid import DiscretizedLogistic, Grid, GridCategorical
from pyro_vae.distributions.mixture import NormalMixture

__all__ = ["DiscretizedLogistic", "Grid", "GridCategorical", "NormalMixture"]
