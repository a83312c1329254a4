"""The verb ``traverse``: one latent of a row at a time, from a low to a high value."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least_1, must_be
from pyro_vae.inference.evidence.draws import DrawsPosterior
from pyro_vae.inference.latent_space.decode import means_at, sites_that_move
from pyro_vae.inference.latent_space.direction import Direction
from pyro_vae.inference.latent_space.file_units import units_of
from pyro_vae.inference.latent_space.latents import latents
from pyro_vae.inference.latent_space.of_rows import Latents
from pyro_vae.inference.latent_space.prior import RowPrior
from pyro_vae.inference.latent_space.space import LatentSpace, check_row_number
from pyro_vae.inference.latent_space.steps import observed_of
from pyro_vae.inference.latent_space.traversal import Traversal
from pyro_vae.inference.posterior.guide_draws import Guide
from pyro_vae.inference.posterior.methods import as_posterior_method
from pyro_vae.program.prior_guide import has_prior_as_guide
from pyro_vae.program.site_layout import labels
from pyro_vae.program.support import support_of


def check_share(name: str, value: Any) -> None:
    if not 0 < checks.number(name, value) < 1:
        raise must_be(name, "a number between 0 and 1", value)


CHECKS: dict[str, checks.Check] = {
    "row": check_row_number,
    "sites": checks.optional(checks.each(checks.text, "a list of names of latents", least=1)),
    "directions": checks.each(checks.instance(Direction, "a Direction"), "a list of Direction"),
    "num_steps": checks.at_least_2,
    "probability": check_share,
    "method": checks.instance((str, DrawsPosterior, type), "a method that draws, or its name"),
    "num_particles": checks.optional(at_least_1),
    "unit": checks.optional(checks.plate),
    "seed": checks.optional(checks.seed),
}
DRAWS = 10  # of each row, for the quantiles


class _OfPrior(Guide):
    """Draw from the prior of a program without a guide: its quantiles are those of the prior."""

    rests_on_guide = False


def traverse(
    program: Any,
    data: Any,
    row: int = 0,
    *,
    sites: Sequence[str] | None = None,
    directions: Sequence[Direction] = (),
    num_steps: int = 7,
    probability: float = 0.9,
    method: str | DrawsPosterior = Guide(),  # noqa: B008 - it is frozen
    num_particles: int | None = None,
    unit: str | None = None,
    seed: int | None = 0,
    device: str | torch.device = "auto",
) -> Traversal:
    """Move one latent of a row at a time through its posterior quantiles, and show what the model makes.

    The row starts at the guide's mean. Each number z_j of its latents takes the quantiles of z_j under the
    aggregate posterior, the mean over all rows of p(z_j | x_n), while all others stay. Along an attribute's
    direction the row moves from -1 to 1 times its step. Directions come first, then the latents that
    change the data most.

    Args:
        program: a model and guide.
        data: as :func:`pyro_vae.posterior` takes them: all rows, for the quantiles.
        row: the number of the row that moves, from 0.
        sites: the latents to move; by default all continuous ones.
        directions: to move along, too, as :meth:`pyro_vae.inference.Latents.direction` gives them.
        num_steps: how many of each.
        probability: that lies between the lowest and the highest quantile.
        method: how the posteriors are drawn for the quantiles: by the guide; ``Importance()`` weighs these
            draws by the model, which takes longer.
        num_particles: draws that the quantiles' ten of each row are taken from; by default ten.
        unit: the plate of the rows.
        seed: of all draws.
        device: where to compute. The result is on the CPU.

    Raises:
        InputError: there is no such row or latent, rows have no continuous latent, or its numbers cannot
            move alone, as on a sphere.

    >>> from pyro_vae.models import FactorAnalysis
    >>> found = traverse(FactorAnalysis((3,), 2), torch.randn(50, 3), row=4, num_steps=5)
    >>> found.means["x"].shape, sorted(found.moves)
    (torch.Size([2, 5, 3]), ['z[0]', 'z[1]'])
    """
    checks.check_arguments(CHECKS, locals())
    options: dict[str, Any] = {"unit": unit, "seed": seed, "device": device}
    space = LatentSpace.of(program, data, **options)
    place, names = space.check_row("row", row), space.check_latents(sites)
    options |= {"num_draws": DRAWS, "num_particles": num_particles or DRAWS}
    method = as_posterior_method(method)
    if method.rests_on_guide and has_prior_as_guide(program):
        method = _OfPrior()
    found = latents(program, data, method=method, **options)
    start = {name: z for name, z in space.point(place).items() if name in space.continuous}
    ends = 0.5 - probability / 2, 0.5 + probability / 2
    levels = torch.linspace(*ends, num_steps, dtype=torch.float64)
    moves = [move for name in names for move in _numbers(found, name, start, levels)]
    moves = [_along(direction, start, num_steps) for direction in directions] + moves
    with space.open(seed) as of_row:
        here = of_row(place)
        joined = {name: torch.cat([m.points[name] for m in moves]) for name in start}
        points = {name: z.to(here.call.device) for name, z in joined.items()}
        _check_supports(RowPrior(here), points, names)
        made = means_at(here, points, sites_that_move(here, points))
        observes = observed_of(here)
    shapes = {name: tuple(mean.shape[1:]) for name, mean in made.means.items()}
    in_file = units_of(program, data, shapes, observes)
    means = {
        name: in_file[name].values(mean).unflatten(0, (len(moves), num_steps))
        for name, mean in made.means.items()
    }
    change = _change(means)
    first = len(directions)  # asked for, so shown, however many latents there are
    by_change = first + change[first:].argsort(descending=True, stable=True)
    order = torch.cat([torch.arange(first), by_change])
    return Traversal(
        row=place,
        moves=tuple(moves[k].name for k in order.tolist()),
        values=torch.stack([move.values for move in moves])[order],
        levels=levels,
        means={name: mean[order] for name, mean in means.items()},
        change=change[order],
        in_file=in_file,
        notes=(*found.notes, *made.notes),
    )


@dataclass(frozen=True)
class _Move:
    """Hold a move's name, the values that it takes, and the latents there, ``steps | rest | event``."""

    name: str
    values: Tensor
    points: dict[str, Tensor]


def _numbers(found: Latents, name: str, start: dict[str, Tensor], levels: Tensor) -> list[_Move]:
    """Return a move of each number of a latent through its quantiles."""
    drawn = found.draws[name].flatten(0, 1)
    pooled = drawn.reshape(len(drawn), -1).double()  # (draws of all rows, numbers)
    values = torch.from_numpy(_quantiles(pooled, levels)).to(start[name])
    here, moves = start[name].flatten(), []
    for place, label in enumerate(labels(name, start[name].shape)):
        moved = here.repeat(len(levels), 1)
        moved[:, place] = values[:, place]
        others = {n: z.expand(len(levels), *z.shape) for n, z in start.items()}
        points = {**others, name: moved.reshape(-1, *start[name].shape)}
        moves.append(_Move(label, values[:, place], points))
    return moves


def _quantiles(values: Tensor, levels: Tensor) -> Any:
    """Return quantiles of each column, (levels, columns); torch's own stops at 2^24 numbers."""
    import numpy as np

    return np.quantile(values.numpy(), levels.numpy(), axis=0)


def _along(direction: Direction, start: dict[str, Tensor], num_steps: int) -> _Move:
    """Return a move along an attribute's direction."""
    if direction.step.keys() != start.keys() or any(
        direction.step[name].shape != z.shape for name, z in start.items()
    ):
        shapes = {name: tuple(z.shape) for name, z in direction.step.items()}
        raise InputError(
            f"the direction {direction.name!r} has the latents {shapes}",
            subject="directions",
            expected=f"the program's, { ({name: tuple(z.shape) for name, z in start.items()}) }",
            remedy="take it from pyro_vae.latents of this program",
        )
    shares = torch.linspace(-1, 1, num_steps)
    points = {}
    for name, z in start.items():
        share = shares.to(z).reshape(-1, *[1] * z.dim())
        points[name] = z + share * direction.step[name].to(z)
    return _Move(f"towards {direction.name}", shares, points)


def _check_supports(prior: RowPrior, points: dict[str, Tensor], names: Sequence[str]) -> None:
    """Check that all points lie where the prior is.

    Raises:
        InputError: the numbers of a latent cannot move alone.
    """
    for name, fn in prior.distributions(points).items():
        try:
            support = support_of(fn)
            inside = support.check(points[name])
        except (NotImplementedError, AttributeError):
            continue
        if not bool(inside.all()):
            raise InputError(
                f"the numbers of {name!r} cannot move one at a time: its values lie in {support}",
                subject=name,
                expected="a latent whose numbers are free",
                remedy="move between rows by pyro_vae.interpolate",
            )


def _change(means: dict[str, Tensor]) -> Tensor:
    """Return how much the data change along each move, (moves,).

    For each number of the data: the standard deviation over the steps, relative to that over all steps of
    all moves; then the mean of these shares over the numbers that change at all.
    """
    parts = [mean.double().reshape(*mean.shape[:2], -1) for mean in means.values()]
    flat = torch.cat(parts, 2)  # moves, steps, numbers
    spread = flat.std(1, correction=0)
    whole = flat.flatten(0, 1).std(0, correction=0)
    changes = whole > 1e-12 * flat.abs().amax((0, 1)).clamp(min=1e-30)
    if not bool(changes.any()):
        return torch.zeros(len(flat), dtype=torch.float64)
    return (spread[:, changes] / whole[changes]).mean(1)
