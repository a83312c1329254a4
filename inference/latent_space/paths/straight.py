"""The straight line."""

from dataclasses import dataclass

from torch import Tensor

from pyro_vae.inference.latent_space.paths.path import Ends, LatentPath, shares


@dataclass(frozen=True)
class Straight(LatentPath):
    """Go straight: z_t = (1 - t) z_0 + t z_1.

    Under a Normal prior of many dimensions the middle of this line lies nearer to the centre than almost
    any draw of the prior; :class:`Spherical` keeps the distance.

    >>> Straight()
    Straight()
    """

    def points(self, ends: Ends, num_steps: int) -> dict[str, Tensor]:
        found = {}
        for name, start in ends.start.items():
            t = shares(num_steps, start)
            found[name] = (1 - t) * start + t * ends.end[name]
        return found
