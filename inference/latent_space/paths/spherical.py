"""The great circle about the centre of a Normal prior, or on a sphere."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vector_norm

from pyro_vae.errors import InputError
from pyro_vae.inference.latent_space.paths.path import Ends, LatentPath, shares

OPPOSITE = 1e-6  # cosines within it of -1 leave the circle open


@dataclass(frozen=True)
class Spherical(LatentPath):
    """Turn about the prior's centre at a constant rate, while the distance from it changes evenly.

    With u = (z - loc) / scale of a Normal prior (on a sphere u = z), the angle a between u_0 and u_1, and
    unit vectors e = u / |u|:

        u_t = ((1 - t) |u_0| + t |u_1|) (sin((1 - t) a) e_0 + sin(t a) e_1) / sin(a)

    So each step lies as far from the centre as draws of the prior do. All numbers that a row has of a
    latent are one vector; on a sphere each direction is one.

    Source: K. Shoemake, "Animating rotation with quaternion curves", 1985,
    https://doi.org/10.1145/325334.325242; T. White, "Sampling generative networks", 2016,
    https://arxiv.org/abs/1609.04468.

    >>> Spherical()
    Spherical()
    """

    def points(self, ends: Ends, num_steps: int) -> dict[str, Tensor]:
        priors = (each.normal_or_sphere(ends.both) for each in (ends.at_start, ends.at_end))
        at_start, at_end = priors
        return {
            name: _turned(name, start, ends.end[name], num_steps, at_start[name], at_end[name])
            for name, start in ends.start.items()
        }


Normal = tuple[Tensor, Tensor]


def _turned(
    name: str, start: Tensor, end: Tensor, num_steps: int, here: Normal | None, there: Normal | None
) -> Tensor:
    """Return the points of one latent, ``num_steps | rest | event``."""
    if here is None or there is None:
        directions = [z.reshape(-1, z.shape[-1]) for z in (start, end)]
        found = great_circle(name, directions[0], directions[1], num_steps)
        return found.reshape(num_steps, *start.shape)
    loc, scale = _centre(name, here, there)
    if start.numel() == 1:
        raise InputError(
            f"a row has one number of {name!r}, and on a line nothing turns",
            subject=name,
            expected="two numbers or more",
            remedy="pass along=Straight()",
        )
    u, v = (((z - loc) / scale).reshape(1, -1) for z in (start, end))
    turned = great_circle(name, u, v, num_steps).reshape(num_steps, *start.shape)
    found = loc + scale * turned
    found[0], found[-1] = start, end
    return found


def _centre(name: str, here: Normal, there: Normal) -> Normal:
    """Return the prior's location and scale, which both rows share.

    Raises:
        InputError: they depend on the row, or on other latents.
    """
    loc, scale = (torch.cat(pair) for pair in zip(here, there, strict=True))
    if not all(torch.allclose(x, x[:1].expand_as(x), rtol=1e-4, atol=1e-6) for x in (loc, scale)):
        raise InputError(
            f"the prior of {name!r} is not the same for both rows: it depends on their data or on other "
            "latents, so there is no one centre to turn about",
            subject=name,
            expected="a prior Normal(loc, scale) that is the same for all rows",
            remedy="pass along=Straight() or PriorDensity()",
        )
    return loc[0], scale[0]


def great_circle(name: str, u: Tensor, v: Tensor, num_steps: int) -> Tensor:
    """Return vectors ``num_steps | N | D`` from u to v, both ``N | D``.

    Raises:
        InputError: two of them are opposite, so that no one circle joins them.
    """
    lengths = [vector_norm(x, dim=-1, keepdim=True) for x in (u, v)]
    if not all(bool((length > 0).all()) for length in lengths):
        t = shares(num_steps, u)
        return (1 - t) * u + t * v  # the centre has no direction
    e, f = u / lengths[0], v / lengths[1]
    cosine = (e * f).sum(-1, keepdim=True)
    if bool((cosine < OPPOSITE - 1).any()):
        raise InputError(
            f"the two rows lie opposite each other in {name!r}, so no one circle joins them",
            subject=name,
            remedy="pass along=Straight(), or another row",
        )
    angle = 2 * torch.atan2(vector_norm(e - f, dim=-1), vector_norm(e + f, dim=-1)).unsqueeze(-1)
    t = shares(num_steps, u)
    near = angle.sin() < 1e-6  # the limit is the straight line
    sine = torch.where(near, 1.0, angle.sin())
    first = torch.where(near, 1 - t, ((1 - t) * angle).sin() / sine)
    second = torch.where(near, t, (t * angle).sin() / sine)
    found = ((1 - t) * lengths[0] + t * lengths[1]) * (first * e + second * f)
    found[0], found[-1] = u, v
    return found
