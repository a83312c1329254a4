"""What a way through the latent space is."""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Transform

from pyro_vae.inference.latent_space.prior import RowPrior
from pyro_vae.inference.latent_space.space import Point


@dataclass(frozen=True)
class Ends:
    """Hold the latents of both rows, and their priors.

    Attributes:
        start: the continuous latents of the first row, each ``rest | event``.
        end: those of the second.
        at_start: the prior with the first row's arguments.
        at_end: that with the second's.
    """

    start: Point
    end: Point
    at_start: RowPrior
    at_end: RowPrior

    @property
    def both(self) -> dict[str, Tensor]:
        """Both ends as two points, ``2 | rest | event``."""
        return {name: torch.stack([z, self.end[name]]) for name, z in self.start.items()}

    def log_prior(self) -> Callable[[Point], Tensor]:
        """Return log p(z) with the first row's arguments, in nats."""
        return self.at_start.log_prob

    def bijections(self) -> Mapping[str, Transform]:
        """Return the maps from unconstrained numbers onto each latent's support."""
        return self.at_start.bijections(self.both)


class LatentPath(abc.ABC):
    """A way from one row's latents to another's. A way is a frozen dataclass of its options, in a file."""

    @abc.abstractmethod
    def points(self, ends: Ends, num_steps: int) -> dict[str, Tensor]:
        """Return the latents at each step, by site, ``num_steps | rest | event``; the ends are exact.

        Raises:
            InputError: the prior does not allow it.
        """


def shares(num_steps: int, like: Tensor) -> Tensor:
    """Return 0, ..., 1 in as many steps, to multiply latents ``rest | event`` by."""
    share = torch.linspace(0, 1, num_steps, dtype=like.dtype, device=like.device)
    return share.reshape(-1, *[1] * like.dim())
