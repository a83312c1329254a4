"""One factor of a guide: a normal distribution in unconstrained coordinates, from a network's output."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from pyro_vae.guides.latent import LatentCoordinates, with_prior
from pyro_vae.links import SCALE, log_link
from pyro_vae.networks import Network, NetworkFactory

# Priors near 0 may spread over many powers of e, more so on one side. A factor as wide on both sides starts
# with values that no data allow, and so does a network whose steps are as long; an optimizer remembers the
# gradients there for thousands of steps.
WIDE = 1.0  # a standard deviation of logs and logits


class Factor(nn.Module):
    """Give the distribution of a unit's latent, from what it depends on.

    Args:
        coordinates: of the latent.
        cells: sizes of all other plates' dimensions, from left to right; 1 where the latent has no plate.
        dim: the unit plate's dimension, counted from the right.
        depth: how many dimensions the latent's plates take, from the leftmost one on.
        loc: where the prior lies, in each coordinate, (D,).
        scale: how wide it is.
    """

    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        coordinates: LatentCoordinates,
        cells: Sequence[int],
        dim: int,
        depth: int,
        loc: Tensor,
        scale: Tensor,
    ) -> None:
        super().__init__()
        self.coordinates = coordinates
        # of the units, in what a network reads or gives
        self.from_dim, self.to_dim = -2 - len(cells), dim - 1
        self.unused = 1 + len(cells) - depth
        self.register_buffer("loc", loc)
        self.register_buffer("scale", scale)

    @property
    def description(self) -> str:
        """The distribution in words."""
        return self.coordinates.description

    def standardised(self, value: Tensor) -> Tensor:
        """Return a value's coordinates in units of the prior's location and scale, ``batch | D``."""
        return (self.coordinates(value) - self.loc) / self.scale

    def in_plates(self, x: Tensor, has_particles: bool) -> Tensor:
        """Return ``particles, units, cells | numbers`` with the units where the program's plate is."""
        x = x.movedim(self.from_dim, self.to_dim)
        # without particles there are no dimensions to the left of the latent's plates
        return x if has_particles else x.reshape(x.shape[self.unused :])


class AmortizedFactor(Factor):
    """Map what a unit's latent depends on, ``particles, units | in_dim``, to its distribution.

    Coordinates are normal, with loc + scale * (A inputs + f(inputs)) as mean, and the Cholesky factor
    scale * g(inputs). Location and scale are the prior's, so networks that give 0 give about the prior; of
    logs and logits that vary by more than 1, a narrower distribution. The linear path A is there because
    posterior means often are linear, or nearly, in what they depend on.
    Where the prior is normal given earlier latents, this is what the unit's data say, and the prior is
    multiplied by it (:func:`pyro_vae.guides.latent.with_prior`).

    Args:
        coordinates, cells, dim, depth, loc, scale: see :class:`Factor`.
        in_dim: the number of inputs.
        network: makes the network from an input and an output shape.
    """

    def __init__(
        self,
        coordinates: LatentCoordinates,
        in_dim: int,
        cells: Sequence[int],
        dim: int,
        depth: int,
        network: NetworkFactory,
        loc: Tensor,
        scale: Tensor,
    ) -> None:
        near = scale if coordinates.is_identity else scale.clamp(max=WIDE)
        super().__init__(coordinates, cells, dim, depth, loc, near)
        size = coordinates.size
        correlated = coordinates.num_correlated
        shaped = coordinates.num_shaped
        self.sizes = [size, size, correlated * (correlated - 1) // 2, shaped, shaped]
        self.network = Network.make(network, (in_dim,), (*cells, sum(self.sizes)))
        self.linear = nn.Linear(in_dim, math.prod(cells) * size, bias=False)
        self.reset_parameters()
        # a posterior of logs is hardly wider than the prior, and twenty times as wide it is anywhere
        self.bend = SCALE if coordinates.is_identity else 0.0

    def reset_parameters(self) -> None:
        """Start without the linear map."""
        nn.init.zeros_(self.linear.weight)

    def forward(self, inputs: Tensor, prior: tuple[Tensor, Tensor] | None = None) -> Any:
        """Return q(z | inputs), whose batch dimensions are those of the program's plates.

        Args:
            inputs: ``particles, units | in_dim``.
            prior: mean and standard deviation of z's coordinates given earlier latents, ``batch | D``.
        """
        output = self.network(inputs)
        loc, log_scale, *raw = output.split(self.sizes, -1)
        # a step of an optimizer moves each of many weights: their sum must not jump
        linear = self.linear(inputs) / math.sqrt(inputs.shape[-1])
        loc = loc + linear.reshape(loc.shape)
        loc, log_scale, tril, skew, log_tail = (
            self.in_plates(x, inputs.dim() > 2) for x in (loc, log_scale, *raw)
        )
        scale = self.scale * log_link(log_scale, self.bend).exp()
        loc, scale = with_prior(prior, self.loc + self.scale * loc, scale)
        return self.coordinates.distribution(
            loc,
            scale,
            tril if tril.shape[-1] else None,
            (skew, log_tail) if skew.shape[-1] else None,
        )
