"""Enumerated latents summed out of a model's trace, exactly."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.infer import config_enumerate
from pyro.ops.contract import contract_to_tensor
from pyro.ops.rings import LogRing
from torch import Tensor

from pyro_vae.errors import InputError, first_line
from pyro_vae.program.contract import Program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.masks import unmask
from pyro_vae.program.structure import PARTICLES, Structure
from pyro_vae.program.trace import Failed, Site, as_raised, latent_sites, run, sample_sites

Factors = OrderedDict[frozenset[str], list[Tensor]]


def marking(model: Callable[..., Any]) -> Callable[..., Any]:
    """Return the model with a mark, to be summed out, on each discrete latent of finite support."""
    marked: Callable[..., Any] = config_enumerate(model, "parallel")
    return marked


def marked_to_be_summed_out(
    target: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Callable[..., Any]:
    """Return the model; if it does not mark all finite discrete latents to be summed out, with the mark.

    Raises:
        InputError: the model cannot run with all values of a latent at once.
    """
    with undisturbed(target, 0), torch.no_grad():
        trace = run("model", target.model, args, kwargs)
        unmarked = [
            name
            for name, site in latent_sites(trace).items()
            if site["fn"].has_enumerate_support and not site["infer"].get("enumerate")
        ]
        if not unmarked:
            return target.model
        model = marking(target.model)
        frames = (f for site in sample_sites(trace).values() for f in site["cond_indep_stack"])
        nesting = max((-frame.dim for frame in frames if frame.vectorized), default=0)
        try:
            run("model", enumerating(model, nesting), args, kwargs)
        except InputError as error:
            raise not_at_once(unmarked[0], error) from as_raised(error)
    return model


def not_at_once(latent: str, error: InputError) -> Failed:
    """Return the refusal of a model that fails when a discrete latent takes all its values."""
    return Failed(
        f"latent {latent!r} is discrete, and the model cannot run with all its values at once: "
        f"{first_line(as_raised(error))}",
        subject=latent,
        expected="a model that takes a further dimension on the left of all others",
        remedy="index from the right (`x[..., 0]`), expand what is concatenated, choose by `torch.where` "
        "in place of `if`, or write a guide that draws it",
    )


def enumerating(
    model: Callable[..., Any], max_plate_nesting: int, beside_particles: bool = True
) -> Callable[..., Any]:
    """Return a model whose latents take all their values where they are marked so and not replayed.

    Args:
        model: the model, or a guide; under a plate over particles or not.
        max_plate_nesting: how many dimensions on the right belong to the program's plates.
        beside_particles: whether the values stand left of the particles' dimension, which is next to the
            plates and stays empty in a single run. So :func:`depends_on_enumerated` knows them.
    """
    outermost = max_plate_nesting + beside_particles
    inside: Callable[..., Any] = poutine.enum(model, first_available_dim=-1 - outermost)
    return inside


def sum_out(model_trace: poutine.Trace, structure: Structure) -> Tensor:
    """Return log p(x, z) of each particle and unit, (K or 1, U), with the enumerated latents summed out.

    Exact, by Pyro's plated variable elimination.

    Raises:
        InputError: the latents lie in crossing plates, or a site's shape leaves no room for their values.

    Source: F. Obermeyer et al., "Tensor variable elimination for plated factor graphs", 2019,
    https://arxiv.org/abs/1902.03210.
    """
    factors = _factors(model_trace, structure)
    symbols = model_trace.plate_to_symbol
    sizes = {
        symbol: size
        for terms in factors.values()
        for term in terms
        for symbol, size in zip(_symbols(term), term.shape, strict=True)
    }
    target = [symbols[name] for name in (PARTICLES, structure.unit) if name in symbols]
    try:
        result = contract_to_tensor(
            factors,
            sum_dims=set(sizes) - set(symbols.values()),
            target_ordinal=frozenset(target),
            ring=LogRing(dim_to_size={**dict.fromkeys(target, 1), **sizes}),
        )
    except NotImplementedError as error:  # Pyro's message names its symbols
        raise _crossing(sample_sites(model_trace), structure) from error
    ordered = result.permute([_symbols(result).index(symbol) for symbol in target])
    return ordered.reshape(-1, structure.num_units)


def depends_on_enumerated(site: Site, structure: Structure) -> bool:
    return len(site["fn"].batch_shape) > structure.max_plate_nesting + 1


def _factors(model_trace: poutine.Trace, structure: Structure) -> Factors:
    """Return the log-probabilities of all sites, unscaled, by the plates that they lie in."""
    sites = sample_sites(model_trace)
    for name, site in sites.items():
        site["scale"] = 1.0  # an evidence is neither tempered nor subsampled
        # masked out, all values together count 1, not each, unless something depends on the value
        if name in structure.enumerated and name not in structure.without_prior:
            unmask(site)
    model_trace.compute_log_prob()
    try:
        model_trace.pack_tensors()
    except ValueError as error:
        raise _no_room(sites, structure) from error
    symbols, factors = model_trace.plate_to_symbol, Factors()
    for site in sites.values():
        plates = frozenset(symbols[f.name] for f in site["cond_indep_stack"] if f.vectorized)
        factors.setdefault(plates, []).append(site["packed"]["log_prob"])
    return factors


def _symbols(packed: Any) -> str:
    """Return the symbols of a packed tensor's dimensions."""
    return str(packed._pyro_dims)


def _no_room(sites: Mapping[str, Site], structure: Structure) -> InputError:
    """Return the refusal of the first site that Pyro could not pack."""
    name, site = next((n, s) for n, s in sites.items() if "log_prob" not in s.get("packed", {}))
    return InputError(
        f"the model's site {name!r} has log-probabilities of shape {tuple(site['log_prob'].shape)} where "
        f"{', '.join(map(repr, structure.enumerated))} takes all its values in a dimension left of every "
        "plate",
        subject=name,
        expected="a shape that broadcasts against the plates",
        remedy="put no dimension between the plates and that one",
    )


def _crossing(sites: Mapping[str, Site], structure: Structure) -> InputError:
    """Return the refusal of enumerated latents in crossing plates."""
    outer, places = (PARTICLES, structure.unit), {}
    for name in structure.enumerated:
        frames = sites[name]["cond_indep_stack"]
        inner = [repr(f.name) for f in frames if f.vectorized and f.name not in outer]
        if inner:
            places[name] = f"{name!r} in {' and '.join(inner)}"
    return InputError(
        f"latents to be summed out lie in plates that cross ({', '.join(places.values())}), so their sum "
        "does not factorise",
        subject=next(iter(places), None),
        remedy="make one of the plates, if it is short, a loop (`for i in pyro.plate(...)`) with a site "
        "for each step, or draw one of the latents in the guide",
    )
