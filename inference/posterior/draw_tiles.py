"""The posterior of each tile of the data, and of all of them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.draws import Drawer, DrawsPosterior, WeightedDraws
from pyro_vae.inference.evidence.method import Advance
from pyro_vae.inference.evidence.psis import smooth_weights
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.inference.posterior.at_draws import named, placed
from pyro_vae.inference.posterior.computed import compute
from pyro_vae.inference.posterior.discrete import discrete_given
from pyro_vae.inference.posterior.resampling import resample
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.site_layout import SiteLayout


@dataclass(frozen=True)
class UnitDraws:
    """Hold K weighted draws of the latents of U units, and the numbers of those that are drawn.

    Attributes:
        particles: by site, ``K | plates | event``.
        log_weights: with a smoothed tail; the weights of each unit sum to 1; (K, U).
        index: which particle each of S draws is, (S, U).
        pareto_k: of the weights as they came, (U,); NaN where there are none.
        ess: effective sample size of the smoothed weights, of SMC that of its evidence, (U,).
        without_error: whether a few weights decide, so that no Monte-Carlo error can be trusted, (U,).
        notes: sentences on how the draws were made.
    """

    particles: Mapping[str, Tensor]
    log_weights: Tensor
    index: Tensor
    pareto_k: Tensor
    ess: Tensor
    without_error: Tensor
    notes: tuple[str, ...]

    def on_host(self) -> "UnitDraws":
        """Return the same on the CPU."""
        return UnitDraws(
            {name: value.cpu() for name, value in self.particles.items()},
            self.log_weights.cpu(),
            self.index.cpu(),
            self.pareto_k.cpu(),
            self.ess.cpu(),
            self.without_error.cpu(),
            self.notes,
        )


def draw_tile(
    bound_program: BoundProgram,
    draw: Drawer,
    method: DrawsPosterior,
    layouts: Mapping[str, SiteLayout],
    num_draws: int,
    advance: Advance,
    computed: Mapping[str, SiteLayout] | None = None,
) -> UnitDraws:
    """Return the draws of one tile, with its summed-out latents drawn back.

    Raises:
        InputError: no draw of a unit has a finite weight.
    """
    drawn = draw(bound_program, advance)
    num_particles = len(drawn.log_weights)
    wanted = {name: drawn.latents[name] for name in layouts if name in drawn.latents}
    particles = named(wanted, layouts, num_particles, bound_program)
    if bound_program.structure.enumerated:
        values = placed(particles, layouts, bound_program)
        back = discrete_given(bound_program, values, num_particles)
        particles |= named(back, layouts, num_particles, bound_program)
    if computed:
        particles |= compute(bound_program, layouts, particles, computed)
    return _weighted(bound_program, drawn, particles, method, num_draws).on_host()


def _weighted(
    bound_program: BoundProgram,
    drawn: WeightedDraws,
    particles: Mapping[str, Tensor],
    method: DrawsPosterior,
    num_draws: int,
) -> UnitDraws:
    """Return particles with smoothed weights, and draws of them."""
    raw = drawn.log_weights.double()
    num_particles, units = raw.shape
    nothing = torch.zeros(units, dtype=torch.bool, device=raw.device)
    if not method.is_weighted:
        every = torch.arange(num_draws, device=raw.device).unsqueeze(-1).expand(-1, units)
        flat = raw - math.log(num_particles)
        nan = torch.full_like(raw[0], math.nan)
        ess = torch.full_like(nan, num_particles)
        return UnitDraws(particles, flat, every, nan, ess, nothing, drawn.notes)
    _check_weights(raw, bound_program)
    if drawn.estimates is None:
        log_weights, pareto_k = smooth_weights(raw)
        ess = 1 / log_weights.exp().square().sum(0)
        sums = WeightSums(num_particles, units, raw.device)
        sums.add(raw)
        without_error = sums.standard_error().isnan()
    else:  # particles of an island share a weight, so there is no tail
        log_weights, pareto_k = raw.log_softmax(0), torch.full_like(raw[0], math.nan)
        ess, without_error = drawn.estimates.ess, drawn.estimates.without_error
    return UnitDraws(
        particles,
        log_weights,
        resample(log_weights.exp(), num_draws),
        pareto_k,
        ess,
        without_error,
        drawn.notes,
    )


def _check_weights(log_weights: Tensor, bound_program: BoundProgram) -> None:
    bad = log_weights.isnan().any(0) | (log_weights.amax(0) == -math.inf)
    if bad.any() and _have_gaps(bound_program):
        raise InputError(
            "the data hold nan, and the guide or the model makes NaN of them",
            subject="data",
            expected="a program that reads gaps (likelihood Missing, encoder MaskedInput)",
        )
    if bad.any():
        raise InputError(
            f"the weights of {int(bad.sum()):,} of {len(bad):,} units are NaN, or all are 0 (the first is "
            f"unit {int(bad.nonzero()[0])} of its tile), so they have no posterior",
            subject="data",
            expected="data that the model gives a density, at draws of the guide",
            remedy="look for a guide that misses the posterior, or a parameter that is NaN",
        )


def _have_gaps(bound_program: BoundProgram) -> bool:
    arguments = (*bound_program.args, *bound_program.kwargs.values())
    return any(bool(a.isnan().any()) for a in arguments if isinstance(a, Tensor))


def concatenate(parts: Iterable[UnitDraws], axes: Mapping[str, int | None]) -> UnitDraws:
    """Return the draws of all units of some tiles, in their order.

    Args:
        parts: of the tiles.
        axes: the dimension of the units among each site's particles; None where it has none.
    """
    tiles = list(parts)
    if len(tiles) == 1:
        return tiles[0]
    names = [name for name in tiles[0].particles if all(name in t.particles for t in tiles)]
    particles = {}
    for name in names:
        axis = axes[name]
        assert axis is not None  # a unit holds every site
        particles[name] = torch.cat([tile.particles[name] for tile in tiles], axis)
    return replace(
        tiles[0],
        particles=particles,
        log_weights=torch.cat([tile.log_weights for tile in tiles], 1),
        index=torch.cat([tile.index for tile in tiles], 1),
        pareto_k=torch.cat([tile.pareto_k for tile in tiles]),
        ess=torch.cat([tile.ess for tile in tiles]),
        without_error=torch.cat([tile.without_error for tile in tiles]),
        notes=tuple(dict.fromkeys(note for tile in tiles for note in tile.notes)),
    )
