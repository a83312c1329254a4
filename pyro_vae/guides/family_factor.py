"""One factor of a made guide whose distribution is that of a guide from the shelf: a mixture, a flow."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor, nn
from torch.distributions.transforms import AffineTransform, ReshapeTransform

from pyro_vae.errors import InputError
from pyro_vae.guides.amortized_factor import Factor
from pyro_vae.guides.guide import AmortizedGuide, GuideFactory
from pyro_vae.guides.latent import LatentCoordinates
from pyro_vae.networks import Network, NetworkFactory, Shape
from pyro_vae.program.trace import is_point_mass

SPREAD = 0.3  # of free parameters to start with: the components of a mixture must differ
GAIN = 10.0  # of free parameters, which have further to go than a network's weights


def family_guide(family: GuideFactory, in_shape: Shape, size: int, network: NetworkFactory) -> Any:
    """Return a guide that draws ``size`` unconstrained coordinates.

    Raises:
        InputError: the factory makes something else.
    """
    made = AmortizedGuide.make(family, in_shape, size, network)
    is_free = made.support is constraints.real_vector
    with torch.no_grad():
        if is_free and not is_point_mass(made(torch.zeros(1, *in_shape))):
            return made
    lack = "has no density" if is_free else "does not draw unconstrained numbers"
    raise InputError(
        f"{type(made).__name__} {lack}",
        subject="family",
        expected="a guide such as MixtureNormal or FlowGuide",
    )


class FamilyFactor(Factor):
    """Map what a unit's latent depends on, ``particles, units | in_dim``, to its distribution.

    Coordinates are loc + scale * e, and e has the distribution that the family gives for the inputs.
    In inner plates it also reads which cell it is in, so that one network serves all cells.

    Args:
        family: makes the guide of e from an input shape, the number of coordinates and a network.
        coordinates, cells, dim, depth, loc, scale: see :class:`Factor`.
        in_dim: the number of inputs.
        network: makes the network from an input and an output shape.
    """

    cell: Tensor

    def __init__(
        self,
        family: GuideFactory,
        coordinates: LatentCoordinates,
        in_dim: int,
        cells: Sequence[int],
        dim: int,
        depth: int,
        network: NetworkFactory,
        loc: Tensor,
        scale: Tensor,
    ) -> None:
        super().__init__(coordinates, cells, dim, depth, loc, scale)
        self.cells = tuple(cells)
        number = math.prod(cells)
        num_read = in_dim + number if number > 1 else in_dim
        self.guide = family_guide(family, (num_read,), coordinates.size, network)
        self.register_buffer("cell", torch.eye(number).reshape(*cells, number), persistent=False)

    def forward(self, inputs: Tensor, prior: Any = None) -> Any:
        """Return q(z | inputs), whose batch dimensions are those of the program's plates.

        Args:
            inputs: ``particles, units | in_dim``.
            prior: has no part in it.
        """
        read = inputs.reshape(*inputs.shape[:-1], *[1] * len(self.cells), inputs.shape[-1])
        read = read.expand(*inputs.shape[:-1], *self.cells, inputs.shape[-1])
        if (number := math.prod(self.cells)) > 1:
            cell = self.cell.to(read).expand(*read.shape[:-1], number)
            read = torch.cat([read, cell], -1)
        read = self.in_plates(read, inputs.dim() > 2)
        return at(self.guide(read), self.loc, self.scale, self.coordinates)

    @property
    def description(self) -> str:
        """The distribution in words."""
        return type(self.guide).__name__


def at(e: Any, loc: Tensor, scale: Tensor, coordinates: LatentCoordinates) -> Any:
    """Return the distribution of a latent whose coordinates are loc + scale * e."""
    parts: list[Any] = [AffineTransform(loc, scale, event_dim=1, cache_size=1)]
    if coordinates.shape != (coordinates.size,):
        parts.append(ReshapeTransform(torch.Size((coordinates.size,)), coordinates.shape))
    if not coordinates.is_identity:
        parts.append(coordinates.transform.with_cache(1))
    return dist.TransformedDistribution(e, parts)


class FreeNumbers(Network):
    """Give the same numbers for all inputs: free parameters, in the place of a network."""

    is_offered = False

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        super().__init__(in_shape, out_shape)
        self.numbers = nn.Parameter(torch.empty(math.prod(out_shape)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start anew, near 0."""
        nn.init.normal_(self.numbers, std=SPREAD / GAIN)

    def transform(self, x: Tensor) -> Tensor:
        return GAIN * self.numbers.expand(len(x), -1)


free_guide = partial(family_guide, in_shape=(1,), network=FreeNumbers)
