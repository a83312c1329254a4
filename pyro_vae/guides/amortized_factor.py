"""One factor of a guide: a normal distribution in unconstrained coordinates, from a network's output."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.transforms import (
    IndependentTransform,
    ReshapeTransform,
    Transform,
    identity_transform,
)

from pyro_vae.errors import InputError
from pyro_vae.links import SCALE, log_link
from pyro_vae.networks import Network, NetworkFactory
from pyro_vae.program.unconstrained import biject, known_support

FULL_COVARIANCE = 64  # coordinates, up to which a factor has all their covariances


@dataclass(frozen=True)
class LatentCoordinates:
    """Map a latent to unconstrained coordinates ``batch | D``, and their distribution to the latent's.

    Attributes:
        transform: from unconstrained values to the latent's support.
        shape: the event shape of unconstrained values.
        event_dim: of the latent's own values.
    """

    transform: Transform
    shape: torch.Size
    event_dim: int

    @classmethod
    def of(cls, name: str, fn: Any) -> "LatentCoordinates":
        """Return the coordinates of the latent with a prior ``fn``.

        Raises:
            InputError: the prior is discrete, or its support is not one for all units.
        """
        support = known_support(name, fn)
        if support.is_discrete:
            raise InputError(
                f"latent {name!r} is discrete, and the guide draws continuous latents",
                subject=name,
                expected="a continuous prior",
                remedy='have it summed out: infer={"enumerate": "parallel"} in the model',
            )
        transform = biject(_of_one_unit(name, support))
        shape = torch.Size(transform.inverse_shape(fn.event_shape))
        return cls(transform, shape, len(fn.event_shape))

    @property
    def size(self) -> int:
        """D, the number of coordinates."""
        return self.shape.numel()

    @property
    def is_identity(self) -> bool:
        transform: Any = self.transform
        while isinstance(transform, IndependentTransform):
            transform = transform.base_transform
        return bool(transform == identity_transform)

    @property
    def description(self) -> str:
        """The family of a factor in words."""
        words = "normal" if self.is_identity else "transformed normal"
        if self.size == 1:
            return words
        covariance = "full" if self.size <= FULL_COVARIANCE else "diagonal"
        return f"{words} of {self.size} dimensions, {covariance} covariance"

    def same_support(self, other: "LatentCoordinates", device: torch.device) -> bool:
        """Return whether other coordinates, on the same device, lead to the same values."""
        if self.shape != other.shape:
            return False
        points = torch.linspace(-1.5, 2.0, 5 * self.size, device=device).reshape(5, *self.shape)
        return torch.equal(self.transform(points), other.transform(points))

    def __call__(self, value: Tensor) -> Tensor:
        """Return a value's coordinates, ``batch | D``."""
        free = self.transform.inv(value)
        return free.reshape(*free.shape[: free.dim() - len(self.shape)], self.size)

    def normal(self, loc: Tensor, log_scale: Tensor, raw_tril: Tensor | None) -> Any:
        """Return the distribution of the latent whose coordinates are normal.

        Args:
            loc: means, ``batch | D``.
            log_scale: logs of the Cholesky factor's diagonal, ``batch | D``.
            raw_tril: its rows below the diagonal, ``batch | D (D - 1) / 2``; None for independent ones.
        """
        scale = log_link(log_scale, SCALE).exp()
        # the density of a draw takes its coordinates from the cache: those found from the value are rounded
        parts: list[Transform] = [] if self.is_identity else [self.transform.with_cache(1)]
        base: Any
        if self.shape == ():
            base = dist.Normal(loc.squeeze(-1), scale.squeeze(-1))
        else:
            base = dist.Normal(loc, scale).to_event(1)
            if raw_tril is not None and self.size > 1:
                base = dist.MultivariateNormal(loc, scale_tril=lower_triangular(scale, raw_tril))
            if len(self.shape) > 1:
                parts.insert(0, ReshapeTransform(torch.Size((self.size,)), self.shape))
        return dist.TransformedDistribution(base, parts) if parts else base


def lower_triangular(diagonal: Tensor, below: Tensor) -> Tensor:
    """Return matrices ``batch | D, D`` with this diagonal, and these numbers below it, row by row."""
    matrix, size = diagonal.diag_embed(), diagonal.shape[-1]
    rows, columns = torch.tril_indices(size, size, -1, device=diagonal.device)
    matrix[..., rows, columns] = below
    return matrix


def _of_one_unit(name: str, support: Any, event_dims: int = 0) -> Any:
    """Return a support whose bounds have no batch dimensions, since all units share them.

    Raises:
        InputError: units have different bounds.
    """
    if isinstance(support, constraints.independent):
        dims = support.reinterpreted_batch_ndims
        base = _of_one_unit(name, support.base_constraint, event_dims + dims)
        return constraints.independent(base, dims)
    support = copy.copy(support)
    for attribute, bound in vars(support).items():
        if not isinstance(bound, Tensor) or bound.dim() <= event_dims:
            continue
        rows = bound.flatten(0, bound.dim() - event_dims - 1)
        if not bool((rows == rows[:1]).all()):
            raise InputError(
                f"latent {name!r} has another support in each unit ({support})",
                subject=name,
                expected="one support for all units",
                remedy=f"draw {name!r} from (0, 1), say, and scale it in the model",
            )
        setattr(support, attribute, rows[0])
    return support


class AmortizedFactor(nn.Module):
    """Map what a unit's latent depends on, ``particles, units | in_dim``, to its distribution.

    Coordinates are normal, with loc + scale * f(inputs) as mean, and the Cholesky factor scale * g(inputs):
    loc and scale are the prior's, so a network that gives 0 gives about the prior.

    Args:
        coordinates: of the latent.
        in_dim: the number of inputs.
        cells: sizes of all other plates' dimensions, from left to right; 1 where the latent has no plate.
        dim: the unit plate's dimension, counted from the right.
        depth: how many dimensions the latent's plates take, from the leftmost one on.
        network: makes the network from an input and an output shape.
        loc: the prior's mean of the coordinates, (D,).
        scale: its standard deviation.
    """

    loc: Tensor
    scale: Tensor
    below: Tensor

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
        super().__init__()
        self.coordinates, size = coordinates, coordinates.size
        # of the units, in the network's output
        self.from_dim, self.to_dim = -2 - len(cells), dim - 1
        self.unused = 1 + len(cells) - depth
        correlated = size if size <= FULL_COVARIANCE else 0
        self.sizes = [size, size, correlated * (correlated - 1) // 2]
        self.network = Network.make(network, (in_dim,), (*cells, sum(self.sizes)))
        self.register_buffer("loc", loc)
        self.register_buffer("scale", scale)
        below, _ = torch.tril_indices(correlated, correlated, -1, device=scale.device)
        self.register_buffer("below", below, persistent=False)  # rows of what is below the diagonal

    def forward(self, inputs: Tensor) -> Any:
        """Return q(z | inputs), whose batch dimensions are those of the program's plates."""
        output = self.network(inputs).movedim(self.from_dim, self.to_dim)
        if inputs.dim() == 2:  # no particles, so no dimensions to the left of the latent's plates
            output = output.reshape(output.shape[self.unused :])
        loc, log_scale, raw = output.split(self.sizes, -1)
        raw_tril = raw * self.scale[self.below] if raw.shape[-1] else None
        return self.coordinates.normal(
            self.loc + self.scale * loc, self.scale.log() + log_scale, raw_tril
        )
