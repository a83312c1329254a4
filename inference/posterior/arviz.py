"""The export of a posterior to ArviZ."""

import math
from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError, unknown
from pyro_vae.inference.evidence.arviz import inference_data
from pyro_vae.inference.posterior.at_draws import named, placed, trace_of
from pyro_vae.inference.posterior.predictive import of_units, value_of
from pyro_vae.inference.posterior.prior import prior_of
from pyro_vae.inference.posterior.reliability import bad_weights
from pyro_vae.inference.posterior.rows import Rows
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import signature
from pyro_vae.program.masks import mask_of
from pyro_vae.program.trace import Site, sample_sites

if TYPE_CHECKING:
    from pyro_vae.inference.posterior.result import Posterior

PRIOR_DRAWS = 500  # at most
ROWS = "log_likelihood"  # the name of its variable, too, where the model observes several sites


def to_arviz(
    posterior: "Posterior",
    coords: Mapping[str, Any],
    conditional: bool,
    num_inner: int,
    seed: int | None,
) -> Any:
    """Return a posterior for ArviZ (:meth:`pyro_vae.inference.posterior.result.Posterior.to_arviz`)."""
    observed, constant = data_of(posterior)
    groups: dict[str, dict[str, Tensor]] = {
        "posterior": dict(posterior.draws),
        "posterior_predictive": posterior.predictive(seed=seed),
        "sample_stats": _statistics(posterior),
    }
    rows, notes = Rows.of(posterior), [*bad_weights(posterior), *posterior.notes]
    name = posterior.observed[0] if len(posterior.observed) == 1 else ROWS
    try:
        found = posterior.log_likelihood(conditional=conditional, num_inner=num_inner, seed=seed)
        groups["log_likelihood"] = {name: found}
    except InputError as error:  # the rest is there all the same
        notes.append(f"no log_likelihood: {error}")
    arrays = {
        group: {name: _by_chain(value, posterior.num_chains) for name, value in of.items()}
        for group, of in groups.items()
    }
    try:
        prior = prior_of(posterior, min(PRIOR_DRAWS, posterior.num_draws), seed)
        for group, of in (("prior", prior.draws), ("prior_predictive", prior.predictive)):
            arrays[group] = {name: _by_chain(value, 1) for name, value in of.items()}
    except InputError as error:
        notes.append(f"no prior: {error}")
    if observed:
        arrays["observed_data"] = {name: value.numpy() for name, value in observed.items()}
    if constant:
        arrays["constant_data"] = {name: value.numpy() for name, value in constant.items()}
    dims = _dims(posterior, rows)
    attrs = {
        "inference_library": "pyro_vae",
        "method": posterior.method,
        "num_particles": posterior.num_particles,
        "unit": posterior.unit or "",
        "notes": "; ".join(notes),
    }
    places = _named(_coords(arrays, dims), coords)
    return inference_data(_without_clashes(arrays, dims), dims, places, attrs)


def _named(places: dict[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the places along each dimension, with names where the user gives some."""
    for dim, own in names.items():
        if dim not in places:
            raise unknown(f"there is no dimension {dim!r}", dim, places, subject="coords")
        if len(own) != len(places[dim]):
            raise InputError(
                f"coords has {len(own):,} names for the {len(places[dim]):,} places of {dim!r}",
                subject="coords",
                expected="a name for each place",
            )
    return places | {dim: np.asarray(own) for dim, own in names.items()}


def _by_chain(value: Tensor, num_chains: int) -> np.ndarray[Any, Any]:
    """Return draws as (chain, draw, ...)."""
    return value.detach().reshape(num_chains, -1, *value.shape[1:]).numpy()


def _statistics(posterior: "Posterior") -> dict[str, Tensor]:
    """Return the log-weight of each draw and its unit's Pareto k, where draws have them."""
    if not posterior.is_weighted:
        return {}
    units = torch.arange(posterior.log_weights.shape[1])
    statistics = {"log_weight": posterior.log_weights[posterior.index, units]}
    if posterior.num_islands == 1:
        statistics["pareto_k"] = posterior.pareto_k.expand(posterior.num_draws, -1)
    is_joint = posterior.unit is None
    return {name: value[:, 0] if is_joint else value for name, value in statistics.items()}


def _dims(posterior: "Posterior", rows: Rows) -> dict[str, Sequence[str]]:
    dims: dict[str, Sequence[str]] = {
        name: posterior.dims(name) for name in (*posterior.particles, *posterior.observed)
    }
    if posterior.unit is not None:
        dims |= dict.fromkeys(("log_weight", "pareto_k"), (posterior.unit,))
    return dims | ({ROWS: (rows.plate,)} if rows.plate else {})


def _without_clashes(
    arrays: Mapping[str, Mapping[str, Any]], dims: dict[str, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """Return the arrays; a log-likelihood that has fewer dimensions than its site is named for the rows."""
    groups = {group: dict(of) for group, of in arrays.items()}
    for name, value in list(groups.get("log_likelihood", {}).items()):
        if len(dims.get(name, ())) != value.ndim - 2:
            groups["log_likelihood"] = {ROWS: value}
    return {group: of for group, of in groups.items() if of}


def _coords(
    arrays: Mapping[str, Mapping[str, Any]], dims: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return the places along each dimension, by number."""
    sizes: dict[str, int] = {}
    for group, of in arrays.items():
        skipped = 0 if group.endswith("_data") else 2
        for name, value in of.items():
            sizes |= zip(dims.get(name, ()), value.shape[skipped:], strict=False)
    return {name: np.arange(size) for name, size in sizes.items()}


def data_of(posterior: "Posterior") -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the values of the observed sites, ``plates | event``, and the other arguments by name."""
    parts, constants = [], []
    with posterior.source.open(0) as tiles:
        for number, call in enumerate(tiles):
            first = {name: value[:1] for name, value in posterior.latents.items()}
            some = of_units(posterior, first, tiles.index[number])
            observed = observed_in(posterior, call, some)
            constants.append(_constants(call, observed, posterior.layouts))
            parts.append(observed_in(posterior, call, some, _unless_masked))
        axes = {n: posterior.layouts[n].axis(posterior.unit) for n in posterior.observed}
    if len(parts) == 1:
        return parts[0], constants[0]
    return (
        {n: torch.cat([part[n] for part in parts], (axes[n] or 1) - 1) for n in parts[0]},
        {n: torch.cat([part[n] for part in constants]) for n in constants[0]},
    )


def observed_in(
    posterior: "Posterior",
    call: BoundProgram,
    draws: Mapping[str, Tensor],
    read: Callable[[Site], Tensor] = value_of,
) -> dict[str, Tensor]:
    """Return what a call observes at a draw of its latents, ``plates | event``, on the CPU."""
    single = call.single()
    given = {name: v[0] for name, v in placed(draws, posterior.layouts, single).items()}
    trace = single.model(1, lambda model: poutine.replay(model, trace=trace_of(given)))
    sites = sample_sites(trace)
    values = {name: read(sites[name])[None] for name in posterior.observed}
    return {name: v[0].cpu() for name, v in named(values, posterior.layouts, 1, single).items()}


def _unless_masked(site: Site) -> Tensor:
    """Return an observed value, with NaN where a mask takes it out: there nothing was observed."""
    value: Tensor = site["value"]
    mask = mask_of(site)
    if bool(mask.all()):
        return value
    return torch.where(mask, value.to(torch.promote_types(value.dtype, torch.float32)), math.nan)


def _constants(
    call: BoundProgram, observed: Mapping[str, Tensor], sites: Container[str]
) -> dict[str, Tensor]:
    """Return the tensors among a call's arguments that are not what it observes, by name.

    One with the name of a site has another here: it is something else.
    """
    names = signature(call.program).model or tuple(f"argument_{i}" for i in range(len(call.args)))
    by_name = dict(zip(names, call.args, strict=False)) | dict(call.kwargs)
    return {
        f"{name}_argument" if name in sites else name: value.detach().cpu()
        for name, value in by_name.items()
        if isinstance(value, Tensor)
        and not any(_is_same(value.detach().cpu(), other) for other in observed.values())
    }


def _is_same(one: Tensor, other: Tensor) -> bool:
    return one.numel() == other.numel() and bool(
        torch.equal(one.flatten().double().nan_to_num(), other.flatten().double().nan_to_num())
    )
