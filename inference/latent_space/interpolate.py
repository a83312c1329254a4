"""The verb ``interpolate``: a path between two rows, and what the model makes of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least_1, true_or_false
from pyro_vae.inference.latent_space.decode import means_at, sites_that_move
from pyro_vae.inference.latent_space.file_units import units_of
from pyro_vae.inference.latent_space.interpolation import Interpolation
from pyro_vae.inference.latent_space.paths import LatentPath, Straight
from pyro_vae.inference.latent_space.paths.path import Ends
from pyro_vae.inference.latent_space.prior import RowPrior
from pyro_vae.inference.latent_space.space import LatentSpace, OneRow, check_row_number
from pyro_vae.inference.latent_space.steps import (
    NO_EVIDENCE,
    NO_ROWS,
    draw_rows,
    has_evidence,
    observed_of,
    weigh,
)
from pyro_vae.program.prior_guide import require_guide

CHECKS: dict[str, checks.Check] = {
    "start": check_row_number,
    "end": check_row_number,
    "along": checks.instance(LatentPath, "a path, such as Straight() or Spherical()"),
    "num_steps": checks.at_least_2,
    "evidence": true_or_false,
    "num_draws": checks.at_least_2,
    "num_particles": at_least_1,
    "unit": checks.optional(checks.plate),
    "seed": checks.optional(checks.seed),
}


def interpolate(
    program: Any,
    data: Any,
    start: int = 0,
    end: int = 1,
    *,
    along: LatentPath = Straight(),  # noqa: B008 - it is frozen
    num_steps: int = 9,
    evidence: bool = True,
    num_draws: int = 20,
    num_particles: int = 200,
    unit: str | None = None,
    seed: int | None = 0,
    device: str | torch.device = "auto",
) -> Interpolation:
    """Go from one row's latents to another's, and show what the model makes of each step.

    z_0 and z_1 are the guide's means. At each step z_t the result holds the mean E[x | z_t], in the units
    of the data, log p(z_t), and the evidence of data that are drawn there: the mean of log p(x') over
    x' ~ p(x | z_t). (The mean itself is often no datum, as a grey image under a Bernoulli.) All continuous
    latents of a row move together. Its classes, and arguments that are not modelled, are those of the
    nearer row; what all rows share stays.

    Args:
        program: a model and guide.
        data: as :func:`pyro_vae.posterior` takes them.
        start: the number of the first row, from 0.
        end: that of the second.
        along: ``Straight()``, ``Spherical()`` or ``PriorDensity()`` of :mod:`pyro_vae.inference`.
        num_steps: how many, with both ends.
        evidence: whether to weigh the steps. An autoencoder has none.
        num_draws: data that are drawn at each step.
        num_particles: draws of the guide for the evidence of each.
        unit: the plate of the rows.
        seed: of all noise; means of distributions without one are draws, too.
        device: where to compute. The result is on the CPU.

    Raises:
        InputError: there is no such row, the rows have no continuous latent, the prior does not allow the
            path, or the model has no evidence.

    >>> from pyro_vae.models import FactorAnalysis
    >>> x, model = torch.randn(6, 3), FactorAnalysis((3,), 2)
    >>> found = interpolate(model, x, 0, 5, num_steps=5)
    >>> found.means["x"].shape, found.log_evidence.shape
    (torch.Size([5, 3]), torch.Size([5]))
    """
    checks.check_arguments(CHECKS, locals())
    require_guide(program, "move through the latent space itself: traverse")
    space = LatentSpace.of(program, data, unit=unit, seed=seed, device=device)
    rows = space.check_row("start", start), space.check_row("end", end)
    with space.open(seed) as of_row:
        here, there = map(of_row, rows)
        ends = Ends(here.start, there.start, RowPrior(here), RowPrior(there))
        path = along.points(ends, num_steps)
        here, there = map(of_row, rows)  # the noise starts anew, so that paths can be compared
        moving = sites_that_move(here, path)
        made = [means_at(row, path, moving) for row in (here, there)]
        means, notes = _nearer(made[0].means, made[1].means), made[0].notes
        observes = observed_of(here)
        log_prior, drawn = None, None
        if evidence:
            log_prior = ends.at_start.log_prob(path).detach().double().cpu()
            if has_evidence(here, moving):
                drawn = _draw(here, there, path, num_draws, moving)
            else:
                notes = (*notes, NO_ROWS)
    weighed = _Weighed()
    if drawn is not None:
        options: dict[str, Any] = {"unit": unit, "seed": seed, "device": device}
        weighed = _weigh(program, drawn, (num_steps, num_draws, num_particles), options)
    shapes = {name: tuple(mean.shape[1:]) for name, mean in means.items()}
    in_file = units_of(program, data, shapes, observes)
    return Interpolation(
        rows=rows,
        along=along,
        latents={name: z.cpu() for name, z in path.items()},
        means={name: in_file[name].values(mean) for name, mean in means.items()},
        log_evidence=weighed.log_evidence,
        standard_error=weighed.standard_error,
        evidence_of_rows=weighed.of_rows,
        log_prior=log_prior,
        in_file=in_file,
        notes=(*notes, *weighed.notes),
    )


def _nearer(here: Mapping[str, Tensor], there: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the first half of the steps as the first row has them, the others as the second."""
    found = {}
    for name, first in here.items():
        half = -(-len(first) // 2)
        found[name] = torch.cat([first[:half], there[name][half:]])
    return found


@dataclass(frozen=True)
class _Drawn:
    """Hold both rows and the data drawn at all steps, as the program takes them."""

    arguments: tuple[Tensor, ...]
    kept: tuple[str, ...]


def _draw(
    here: OneRow, there: OneRow, path: Mapping[str, Tensor], num_draws: int, moving: Sequence[str]
) -> _Drawn:
    half = -(-len(next(iter(path.values()))) // 2)
    first = draw_rows(here, {name: z[:half] for name, z in path.items()}, num_draws, moving)
    second = draw_rows(there, {name: z[half:] for name, z in path.items()}, num_draws, moving)
    owns = ([a[r.place : r.place + 1].cpu() for a in r.arguments] for r in (here, there))
    parts = (*owns, first.arguments, second.arguments)
    return _Drawn(tuple(map(torch.cat, zip(*parts, strict=True))), first.kept)


@dataclass(frozen=True)
class _Weighed:
    """Hold the evidence of the steps, of draws at each, and that of both rows; None without."""

    log_evidence: Tensor | None = None
    standard_error: Tensor | None = None
    of_rows: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


def _weigh(
    program: Any, drawn: _Drawn, sizes: tuple[int, int, int], options: Mapping[str, Any]
) -> _Weighed:
    num_steps, num_draws, num_particles = sizes
    try:
        found = weigh(program, drawn.arguments, num_particles, options)
    except InputError as error:  # of a guide with parameters for each row, which takes no others
        return _Weighed(
            notes=(f"{NO_EVIDENCE}, as the program takes no other rows: {error.problem}",)
        )
    of_draws = found[2:].reshape(num_steps, num_draws)
    kept = ", ".join(map(repr, drawn.kept))
    notes = (f"{kept} keeps the value of the nearer row",) if kept else ()
    spread = of_draws.std(1) / math.sqrt(num_draws)
    return _Weighed(of_draws.mean(1), spread, (float(found[0]), float(found[1])), notes)
