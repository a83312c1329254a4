"""The way that keeps to where the prior is dense."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Transform

from pyro_vae.errors import InputError, at_least_1
from pyro_vae.inference.latent_space.paths.path import Ends, LatentPath
from pyro_vae.inference.latent_space.paths.straight import Straight
from pyro_vae.program.unconstrained import Immovable


@dataclass(frozen=True)
class PriorDensity(LatentPath):
    """Take the shortest way where a step of length |dz| costs p(z)^(-1/d) |dz|, d the number of latents.

    The exponent makes the way independent of the unit of z. Around a hole of the prior (between the
    components of a mixture, or of a VampPrior) the way bends; towards the centre of a Normal it bends as
    well, since there the density is greatest. Steps are of equal cost. L-BFGS moves the points of a line of
    segments, from a straight start, so the way is the best one near the straight one.

    Args:
        segments_per_step: how many segments of the line lie between two steps.
        max_iterations: of L-BFGS.

    Source: O. Bousquet, O. Chapelle, M. Hein, "Measure based regularization", 2003,
    https://papers.nips.cc/paper/2529.

    >>> PriorDensity(segments_per_step=2)
    PriorDensity(segments_per_step=2, max_iterations=200)
    """

    segments_per_step: int = 4
    max_iterations: int = 200

    def __post_init__(self) -> None:
        at_least_1("segments_per_step", self.segments_per_step)
        at_least_1("max_iterations", self.max_iterations)

    def points(self, ends: Ends, num_steps: int) -> dict[str, Tensor]:
        try:
            maps = ends.bijections()
        except Immovable as error:
            raise InputError(
                f"{error.problem}, so no way can be bent in it",
                subject=error.subject,
                remedy="pass along=Straight(), or Spherical() on a sphere",
            ) from error
        number = self.segments_per_step * (num_steps - 1) + 1
        straight = Straight().points(ends, number)
        line = _Line(maps, straight)
        u = shortest(line, ends.log_prior(), self.max_iterations)
        chosen = slice(None, None, self.segments_per_step)
        found = {name: z.detach()[chosen].clone() for name, z in line.values(u).items()}
        for name, z in found.items():
            z[0], z[-1] = ends.start[name], ends.end[name]
        return found


class _Line:
    """Map the inner points of a line between unconstrained numbers, (M - 2, D), and latents by site."""

    def __init__(self, maps: Mapping[str, Transform], straight: dict[str, Tensor]) -> None:
        self.maps, self.straight = maps, straight
        self.inner = {n: maps[n].inv(z[1:-1]) for n, z in straight.items()}

    def start(self) -> Tensor:
        return torch.cat([u.reshape(len(u), -1) for u in self.inner.values()], 1).detach().clone()

    def values(self, u: Tensor) -> dict[str, Tensor]:
        """Return all points, with the ends, ``M | rest | event``."""
        sizes = [x[0].numel() for x in self.inner.values()]
        parts, found = u.split(sizes, 1), {}
        for (name, like), part in zip(self.inner.items(), parts, strict=True):
            inner, z = self.maps[name](part.reshape(like.shape)), self.straight[name]
            found[name] = torch.cat([z[:1], inner, z[-1:]])
        return found


def shortest(
    line: _Line, log_prior: Callable[[dict[str, Tensor]], Tensor], max_iterations: int
) -> Tensor:
    """Return the inner points of the line that cost least, (M - 2, D).

    What is minimised is the sum of squared costs, whose minimum is the shortest line, in even steps.
    """
    with torch.enable_grad():
        u = line.start().requires_grad_(True)
        if not len(u):
            return u
        size = sum(z[0].numel() for z in line.straight.values())
        with torch.no_grad():
            level = log_prior(line.values(u)).max()
        optimizer = torch.optim.LBFGS(
            [u], max_iter=max_iterations, line_search_fn="strong_wolfe", tolerance_change=1e-12
        )

        def energy() -> Tensor:
            optimizer.zero_grad()
            z = line.values(u)
            log_p = (log_prior(z) - level) / size
            middle = (log_p[1:] + log_p[:-1]) / 2
            flat = torch.cat([part.reshape(len(part), -1) for part in z.values()], 1)
            lengths = flat.diff(dim=0).square().sum(-1)
            total = (lengths * (-2 * middle).exp()).sum() * len(lengths)
            total.backward()
            return total

        optimizer.step(energy)
    return u.detach()
