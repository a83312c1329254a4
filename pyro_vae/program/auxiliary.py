"""Auxiliary draws of a guide, from the values of the latents that they are mapped to."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from pyro import poutine
from torch import Tensor
from torch._C._functorch import is_batchedtensor

from pyro_vae.errors import InputError
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.trace import Site, drawn_sites, is_point_mass
from pyro_vae.program.unconstrained import bijection

CLOSE = 1e-3  # relative to the largest: latents and their images, which rounding keeps apart


def has_auxiliary(guide_trace: poutine.Trace) -> bool:
    """Return whether a guide draws auxiliary sites, as AutoGuides do."""
    return any(site["infer"].get("is_auxiliary") for site in drawn_sites(guide_trace).values())


def at_latents(
    bound_program: BoundProgram,
    guide_trace: poutine.Trace,
    values: Mapping[str, Tensor],
    priors: Mapping[str, Site],
    num_chains: int,
) -> poutine.Trace:
    """Return a trace of the guide in which it gives the latents some values.

    An AutoGuide draws numbers without constraints, one site for each latent or one for all of them, and
    maps them by the bijections onto the latents' supports. So an auxiliary site is the unconstrained
    values of the point masses that follow it, in their order. Whether a guide is of this kind, the
    latents that it then gives show.

    Args:
        bound_program: the program.
        guide_trace: any trace of its guide with as many chains.
        values: of all latents that the guide gives.
        priors: the model's sites, for their supports.
        num_chains: of the values.

    Raises:
        InputError: the guide maps its auxiliary draws in another way.
    """
    owner, parts = None, dict[str, list[Tensor]]()
    given = guide_trace.copy()
    for name, site in drawn_sites(guide_trace).items():
        if site["infer"].get("is_auxiliary"):
            owner, parts[name] = name, []
        elif is_point_mass(site["fn"]) and owner is not None and name in priors:
            raw = bijection(name, priors[name]["fn"]).inv(values[name])
            parts[owner].append(raw.reshape(num_chains, -1))
            given.remove_node(name)
        elif name in values:
            given.nodes[name] = cast(Any, {**cast(Any, site), "value": values[name]})
    for name, columns in parts.items():
        shape = cast(Site, guide_trace.nodes[name])["value"].shape
        joined = torch.cat(columns, -1) if columns else torch.empty(0)
        if joined.numel() != shape.numel():
            raise _unknown(name)
        given.nodes[name] = {**guide_trace.nodes[name], "value": joined.reshape(shape)}
    found = bound_program.guide(num_chains, lambda guide: poutine.replay(guide, trace=given))
    for name, value in values.items():
        image = drawn_sites(found)[name]["value"]
        apart = (image.reshape(num_chains, -1) - value.reshape(num_chains, -1)).abs()
        if is_batchedtensor(apart):  # has no value in Python: a single run is checked before
            continue
        if not bool((apart <= CLOSE * value.abs().max().clamp(min=1e-6)).all()):
            raise _unknown(next(iter(parts), name))
    return found


def _unknown(name: str) -> InputError:
    return InputError(
        f"the guide draws the auxiliary site {name!r}, whose value at given latents is not known",
        subject=name,
        expected="a site that is mapped onto the latents as Pyro's AutoGuides do",
        remedy="write the guide's sites directly",
    )
