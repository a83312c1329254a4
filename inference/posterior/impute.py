"""Imputation of missing values, by the particles of a posterior and their weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError, unknown
from pyro_vae.inference.posterior.arviz import observed_in
from pyro_vae.inference.posterior.at_draws import in_parts, placed, trace_of
from pyro_vae.inference.posterior.predictive import of_units
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.redrawing import mean_of, redrawing
from pyro_vae.program.trace import sample_sites

if TYPE_CHECKING:
    from pyro_vae.inference.posterior.result import Posterior

UNIT_DIMS = {"mean": 0, "scale": 0, "mode": 0, "quantiles": 1, "draws": 1}


@dataclass(frozen=True)
class Imputation:
    """Hold data with imputed values; observed values are the same everywhere.

    Attributes:
        mean: the posterior mean of each value, ``plates | event``; meaningless for categories.
        scale: its posterior standard deviation, ``plates | event``; 0 where it was observed.
        mode: the most probable value, ``plates | event``, for values that recur, such as categories and
            counts.
        quantiles: ``Q, plates | event``, of each value separately.
        draws: ``S, plates | event``, of all values of a datum jointly.
        ess: effective sample size of the weights, ``units |``; with 1 all draws are the same.
    """

    mean: Tensor
    scale: Tensor
    mode: Tensor
    quantiles: Tensor
    draws: Tensor
    ess: Tensor


def impute(
    posterior: "Posterior", site: str | None, levels: Tensor, seed: int | None
) -> Imputation:
    """Return an imputation (:meth:`pyro_vae.inference.posterior.result.Posterior.impute`)."""
    name = _site(posterior, site)
    layout, parts = posterior.layouts[name], []
    axis = (layout.axis(posterior.unit) or 1) - 1
    latents = {n: z for n, z in posterior.particles.items() if n not in posterior.computed}
    with posterior.source.open(seed) as tiles:
        for number, call in enumerate(tiles):
            units = tiles.index[number]
            tile = _Tile(posterior, name, call, of_units(posterior, latents, units), units)
            parts.append({n: values.cpu() for n, values in tile.imputed(levels).items()})
    joined = {
        name: torch.cat([part[name] for part in parts], axis + dim)
        for name, dim in UNIT_DIMS.items()
    }
    return Imputation(**joined, ess=posterior.ess)


def _site(posterior: "Posterior", site: str | None) -> str:
    """Return the name of the observed site."""
    observed = posterior.observed
    if site is None and len(observed) == 1:
        return observed[0]
    if site is None:
        raise InputError(
            f"the model observes {', '.join(map(repr, observed)) or 'nothing'}",
            subject=observed[-1] if observed else None,
            expected="one observed site, or the name of one",
        )
    if site not in observed:
        raise unknown(f"there is no observed site {site!r}", site, observed, subject=str(site))
    return site


@dataclass(frozen=True)
class _Tile:
    """Hold a tile's call, the particles of its units, and the numbers of these."""

    posterior: "Posterior"
    name: str
    call: BoundProgram
    latents: dict[str, Tensor]
    units: Tensor

    def imputed(self, levels: Tensor) -> dict[str, Tensor]:
        """Return the fields of an imputation: the data, with figures in the gaps."""
        first = {name: z[:1] for name, z in self.latents.items()}
        data = observed_in(self.posterior, self.call, first)[self.name].to(self.call.device)
        gaps = _gaps(self.call, data)
        values, means, weights, index = self._at(gaps)
        mean = (weights * means).sum(0)
        ascending, cumulative = _sorted(values, weights)
        figures = {
            "mean": mean,
            "scale": (weights * (values - mean).square()).sum(0).sqrt(),
            "mode": _mode(ascending, cumulative),
            "quantiles": _quantiles(ascending, cumulative, levels.to(values)),
            "draws": values.gather(0, index),
        }

        def filled(name: str, figure: Tensor) -> Tensor:
            known = torch.zeros_like(data) if name == "scale" else data
            whole = known.expand(*figure.shape[:-1], *data.shape).clone()
            whole[..., gaps] = figure.to(whole)
            return whole

        return {name: filled(name, figure) for name, figure in figures.items()}

    def _at(self, gaps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the values of K particles in G gaps and their means, (K, G); weights, and draws' numbers.

        Only the gaps' values are held: those of all data would take the memory of K data sets.
        """
        posterior, call = self.posterior, self.call
        layout, count = posterior.layouts[self.name], posterior.num_particles

        def run(num: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
            trace = call.model(num, lambda m: poutine.replay(redrawing(m), trace=trace_of(given)))
            site, structure = sample_sites(trace)[self.name], call.structure
            found = {}
            for kind, whole in (("values", site["value"]), ("means", mean_of(site))):
                if not call.vectorized:
                    whole = whole.unsqueeze(0)
                named = layout.named(whole, num, structure, call.vectorized)
                found[kind] = named[:, gaps] if call.vectorized else named[0, gaps]
            return found

        found = in_parts(call, run, count, placed(self.latents, posterior.layouts, call))
        axis = layout.axis(posterior.unit)
        unit = torch.zeros(int(gaps.sum()), dtype=torch.long)
        if axis is not None:
            unit = self.units[gaps.nonzero()[:, axis - 1].cpu()]
        device = call.device
        weights = posterior.log_weights[:, unit].exp().to(device)
        return found["values"], found["means"], weights, posterior.index[:, unit].to(device)


def _gaps(call: BoundProgram, observed: Tensor) -> Tensor:
    """Return where values are missing: where the model observes NaN, or has replaced NaN in its argument.

    Raises:
        InputError: the data have gaps, and the observed values do not show them.
    """
    tensors = [a for a in (*call.args, *call.kwargs.values()) if isinstance(a, Tensor)]
    if observed.isnan().any() or not any(tensor.isnan().any() for tensor in tensors):
        return observed.isnan()
    for tensor in tensors:
        missing = tensor.isnan()
        if tensor.shape == observed.shape and bool(((tensor == observed) | missing).all()):
            return missing
    raise InputError(
        "the data have gaps, but the model observes other values, without gaps",
        subject="data",
        remedy="observe the data unchanged, with 0 or NaN for missing values",
    )


def _sorted(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return values (K, ...) in ascending order, and the cumulative weight of each."""
    ascending, order = values.sort(0)
    return ascending, weights.gather(0, order).cumsum(0)


def _mode(ascending: Tensor, cumulative: Tensor) -> Tensor:
    """Return the value with the largest weight in each column; of several, the smallest."""
    is_first = torch.ones_like(ascending, dtype=torch.bool)
    is_first[1:] = ascending[1:] != ascending[:-1]
    previous = torch.cat([torch.zeros_like(cumulative[:1]), cumulative[:-1]])
    on_value = cumulative - torch.where(is_first, previous, 0.0).cummax(0).values
    return ascending.gather(0, on_value.argmax(0, keepdim=True))[0]


def _quantiles(ascending: Tensor, cumulative: Tensor, levels: Tensor) -> Tensor:
    """Return the smallest value in each column whose cumulative weight reaches each level."""
    last = len(ascending) - 1
    at = torch.stack(
        [(cumulative < level * cumulative[-1]).sum(0).clamp(max=last) for level in levels]
    )
    return ascending.gather(0, at)
