"""Plots of a fit: learning curve, reconstructions, samples, latent space, paths through it, information
of items.

Each function returns a matplotlib ``Figure`` and changes no global state; :func:`save` writes it.
Data of shape (channels, height, width) are drawn as images, all others as columns of a table. Missing
values (NaN) are left out; missing pixels have a colour that no image has. The other colours are Paul
Tol's, which colour-blind people can tell apart (https://sronpersonalpages.nl/~pault/).
"""

from pyro_vae.plots.families import Family, families
from pyro_vae.plots.item_information import item_information
from pyro_vae.plots.latent_space import latent_space
from pyro_vae.plots.learning_curve import learning_curve
from pyro_vae.plots.observations import reconstructions, samples
from pyro_vae.plots.steps import Curve, moves, path
from pyro_vae.plots.style import ENDINGS, check_ending, save

__all__ = [
    "ENDINGS",
    "Curve",
    "Family",
    "check_ending",
    "families",
    "item_information",
    "latent_space",
    "learning_curve",
    "moves",
    "path",
    "reconstructions",
    "samples",
    "save",
]
