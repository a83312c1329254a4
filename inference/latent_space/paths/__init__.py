"""Ways from one row's latents to another's, one a file."""

from pyro_vae.inference.latent_space.paths.path import LatentPath
from pyro_vae.inference.latent_space.paths.prior_density import PriorDensity
from pyro_vae.inference.latent_space.paths.spherical import Spherical
from pyro_vae.inference.latent_space.paths.straight import Straight

PATHS: dict[str, type[LatentPath]] = {
    "straight": Straight,
    "spherical": Spherical,
    "density": PriorDensity,
}
"""By the names that the command line takes."""

__all__ = ["PATHS", "LatentPath", "PriorDensity", "Spherical", "Straight"]
