"""Data that a posterior predicts, of the rows that it has seen."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.inference.posterior.at_draws import in_parts, named, placed, trace_of
from pyro_vae.inference.posterior.discrete import BEST, discrete_given
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.redrawing import mean_of, redrawing
from pyro_vae.program.trace import Site, sample_sites

if TYPE_CHECKING:
    from pyro_vae.inference.posterior.result import Posterior


def spread_evenly(num_draws: int, num: int) -> Tensor:
    """Return the numbers of ``num`` of the draws, evenly over all: those of all chains."""
    return (torch.arange(num) * num_draws) // num


def over_tiles(
    posterior: "Posterior",
    draws: Mapping[str, Tensor],
    seed: int | None,
    run: Callable[[BoundProgram, dict[str, Tensor]], dict[str, Tensor]],
    of_draws: Callable[[Tensor], Tensor] = lambda values: values,
) -> dict[str, Tensor]:
    """Return what ``run`` gives for all units, ``draws | plates | event``, on the CPU.

    Args:
        posterior: whose program is opened again.
        draws: of latents, as the posterior has them.
        seed: of the noise.
        run: takes a tile's call and the draws of its units in the shapes of the program.
        of_draws: what to keep of a tile's values, in a first dimension.
    """
    parts = []
    with posterior.source.open(seed) as tiles:
        for number, call in enumerate(tiles):
            some = of_units(posterior, draws, tiles.index[number])
            found = run(call, placed(some, posterior.layouts, call))
            count = len(next(iter(draws.values())))
            shaped = named(found, posterior.layouts, count, call)
            parts.append({name: of_draws(value).cpu() for name, value in shaped.items()})
    axes = {name: posterior.layouts[name].axis(posterior.unit) for name in parts[0]}
    if len(parts) == 1:
        return parts[0]
    return {name: torch.cat([part[name] for part in parts], axes[name] or 0) for name in parts[0]}


def predict_data(posterior: "Posterior", num: int, seed: int | None) -> dict[str, Tensor]:
    """Return draws of p(x' | x) for the rows of the data, by observed site, ``num | plates | event``."""
    chosen = spread_evenly(posterior.num_draws, num)
    draws = {name: value[chosen] for name, value in posterior.latents.items()}

    def run(call: BoundProgram, values: dict[str, Tensor]) -> dict[str, Tensor]:
        return run_at_draws(posterior, call, num, values, value_of)

    return over_tiles(posterior, draws, seed, run)


def mean_of_data(posterior: "Posterior", seed: int | None) -> dict[str, Tensor]:
    """Return the mean over the draws of E[x' | z], by observed site, ``plates | event``."""

    def run(call: BoundProgram, values: dict[str, Tensor]) -> dict[str, Tensor]:
        return run_at_draws(posterior, call, posterior.num_draws, values, mean_of)

    found = over_tiles(posterior, posterior.latents, seed, run, lambda v: v.mean(0, keepdim=True))
    return {name: value[0] for name, value in found.items()}


def best_given(posterior: "Posterior") -> dict[str, Tensor]:
    """Return the most probable values of the summed-out latents, given the others of each draw."""

    def run(call: BoundProgram, values: dict[str, Tensor]) -> dict[str, Tensor]:
        given = {n: v for n, v in values.items() if n not in call.structure.enumerated}
        return discrete_given(call, given, posterior.num_draws, BEST)

    return over_tiles(posterior, posterior.latents, 0, run)


def of_units(
    posterior: "Posterior", draws: Mapping[str, Tensor], units: Tensor
) -> dict[str, Tensor]:
    """Return the draws of some units; of all for a joint posterior."""
    axes = {name: posterior.layouts[name].axis(posterior.unit) for name in draws}
    return {
        name: value if axes[name] is None else value.index_select(axes[name] or 0, units)
        for name, value in draws.items()
    }


def run_at_draws(
    posterior: "Posterior",
    call: BoundProgram,
    num: int,
    values: Mapping[str, Tensor],
    read: Callable[[Site], Tensor],
) -> dict[str, Tensor]:
    """Return what ``read`` takes from the observed sites, drawn given latents, by site.

    All are in the shapes of the program.
    """

    def run(count: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        trace = call.model(
            count, lambda model: poutine.replay(redrawing(model), trace=trace_of(given))
        )
        sites = sample_sites(trace)
        return {name: read(sites[name]) for name in posterior.observed}

    return in_parts(call, run, num, values)


def value_of(site: Site) -> Tensor:
    """Return a site's value."""
    value: Tensor = site["value"]
    return value
