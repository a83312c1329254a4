"""Whether a guide proposes in the model's support: not beyond it, and not short of it."""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import TransformedDistribution

from pyro_vae.errors import InputError
from pyro_vae.inference.checks.intervals import (
    declared_range,
    goes_beyond,
    is_plainly_transformed,
    range_of,
    reach_of,
    reaches_beyond,
)
from pyro_vae.inference.checks.spread import check_masks, check_spread
from pyro_vae.inference.checks.values import FROM_BOTH, UNKNOWN, check_values
from pyro_vae.program.bijections import biject
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.support import support_of
from pyro_vae.program.trace import Site, drawn_sites, is_point_mass, sample_sites
from pyro_vae.program.unconstrained import Immovable
from pyro_vae.program.wrappers import inside, without_masks

DISCRETE_DRAWS = 200  # of a discrete site with infinitely many values
FLOW_PROBES = 16  # that a flow must reach
NEGLIGIBLE = math.log(5e-324)  # the smallest of float64: a tail of the prior that may be left out


def check_proposal(bound_program: BoundProgram, narrower_too: bool = True) -> BoundProgram:
    """Check that weights can be formed of the guide's draws; return the call that forms them.

    The guide must spread every latent over the prior's support. If it falls short of it, a part of the
    evidence is missing, and no weight shows that. Beyond it a draw has no weight, if the prior can tell.

    Raises:
        InputError: no weights can be formed, or they miss a part of the evidence.
    """
    guide, model = bound_program.one()
    guide_sites, model_sites = drawn_sites(guide), sample_sites(model)
    check_spread(bound_program.structure, guide_sites, model_sites)
    beyond = []
    for name in bound_program.structure.latents:
        if name in guide_sites and not is_point_mass(guide_sites[name]["fn"]):
            here, there = guide_sites[name], model_sites[name]
            # a likelihood may rule latents out: only the guide's author knows where it is not 0
            vouched = here["infer"].get("covers_posterior", False)
            if not bound_program.structure.enumerated and _goes_beyond(here, there):
                beyond.append(name)
            check_support(name, here, there, narrower_too and not vouched, name not in beyond)
            if narrower_too and not vouched:
                check_values(bound_program, name, here, there)
    check_masks(bound_program.structure, guide_sites, model_sites)
    if not beyond:
        return bound_program
    return replace(bound_program, structure=replace(bound_program.structure, beyond=tuple(beyond)))


def check_support(
    name: str,
    guide_site: Site,
    model_site: Site,
    narrower_too: bool = True,
    beyond_too: bool = True,
    alternative: str = FROM_BOTH,
) -> None:
    """Check that the guide's support at a site is the prior's.

    Args:
        name: of the site.
        guide_site: the guide's site.
        model_site: the model's site.
        narrower_too: whether the guide may not fall short of the prior's support.
        beyond_too: whether the guide may not reach beyond it.
        alternative: a second remedy for a guide that falls short of it.

    Raises:
        InputError: the supports differ.
    """
    _check_domain(name, guide_site["fn"])
    sides = []
    if beyond_too:
        sides.append((guide_site, model_site, "exceeds", "", -math.inf))
    if narrower_too:
        _check_reach(name, guide_site["fn"], model_site, alternative)
        sides.append((model_site, guide_site, "does not cover", f", or {alternative}", NEGLIGIBLE))
    for here, there, relation, other, least in sides:
        if not _holds(there["fn"], here["fn"], here["value"], least):
            raise InputError(
                f"the guide's support at site {name!r} {relation} the prior's "
                f"({abbreviated(guide_site['fn'])} against {abbreviated(model_site['fn'])})",
                subject=name,
                remedy=f"give the guide a distribution with the prior's support{other}",
            )


def _check_domain(name: str, guide: Any) -> None:
    """Check that each transform gets values of its domain; elsewhere it need not be one-to-one."""
    fn = inside(guide)
    if not is_plainly_transformed(fn):
        return
    outside = False
    with contextlib.suppress(*UNKNOWN):
        value = fn.base_dist.sample(torch.Size((FLOW_PROBES,)))
        for transform in fn.transforms:
            outside = outside or not bool(cast(Any, transform.domain).check(value).all())
            value = transform(value)
    if outside:
        raise InputError(
            f"at the guide's site {name!r} a transform gets values outside of its domain "
            f"({abbreviated(fn.base_dist)} by {fn.transforms}), so the density of a draw is not known",
            subject=name,
            remedy="use a transform whose domain holds the base distribution's support",
        )


def _check_reach(name: str, guide: Any, model_site: Site, alternative: str) -> None:
    """Check that a flow reaches the prior's draws."""
    prior = without_masks(model_site["fn"])
    reach = reach_of(guide) if prior.has_rsample and not is_point_mass(prior) else None
    if reach is None:
        return
    try:
        drawn = prior.sample(torch.Size((FLOW_PROBES,)))
    except UNKNOWN:  # a flat prior has no draws
        return
    slack = (reach.upper - reach.lower) / 10
    if ((drawn < reach.lower - slack) | (drawn > reach.upper + slack)).any():
        raise InputError(
            f"the guide's flow at site {name!r} does not reach the prior's draws for any input (it lies "
            f"from {float(reach.lower.min()):.3g} to {float(reach.upper.max()):.3g})",
            subject=name,
            remedy=f"give it a last layer without bounds, or {alternative}",
        )


def abbreviated(fn: Any) -> str:
    """Return a distribution's kind, and its parameters where each is one number."""
    base = inside(fn)
    given = {n: vars(base)[n] for n in getattr(base, "arg_constraints", {}) if n in vars(base)}
    numbers = [f"{n}={float(p.reshape(-1)[0]):.4g}" for n, p in given.items() if _is_one(p)]
    return f"{type(base).__name__}({', '.join(numbers)})"


def _is_one(parameter: Any) -> bool:
    """Return whether a parameter is a single number, perhaps repeated."""
    is_tensor = isinstance(parameter, Tensor) and parameter.numel() > 0
    return is_tensor and bool((parameter == parameter.reshape(-1)[0]).all())


def check_known(sites: Mapping[str, Site]) -> None:
    """Check that the support of each site is known, so that annealing can move over it.

    Raises:
        Immovable: a support is not known.
    """
    for name, site in sites.items():
        if not _is_as_declared(site["fn"], site["value"]):
            raise Immovable(
                name,
                f"torch does not know the support of site {name!r} ({site['fn']})",
                "estimate the evidence by importance sampling, or give the transform its codomain",
            )


# --- supports -------------------------------------------------------------------------------------


def _goes_beyond(guide: Site, model: Site) -> bool:
    """Return whether a guide draws continuous values outside a support that the prior itself can tell."""
    fn, value = model["fn"], guide["value"]
    with contextlib.suppress(*UNKNOWN):
        if support_of(fn).is_discrete or support_of(guide["fn"]).is_discrete:
            return False
        outside = not _holds(fn, guide["fn"], value, -math.inf)
        return outside and _is_as_declared(fn, model["value"])
    return False


def _is_as_declared(fn: Any, value: Tensor) -> bool:
    """Return whether a distribution's declared support is the image of its base under its transforms."""
    fn = inside(fn)
    if _is_transformed_counts(fn):
        return True
    try:
        declared, own = declared_range(fn, value.device), range_of(fn, value.device)
        if declared and own:
            return not goes_beyond(declared, own)
        return bool(_can_give(fn, _of_support(support_of(fn), value)).all())
    except UNKNOWN:
        return True


def _holds(outer: Any, inner: Any, value: Tensor, least: float) -> bool:
    """Return whether one distribution's support holds the other's.

    Ranges decide where they are known; elsewhere, probes of the inner distribution.

    Args:
        outer: the distribution that is to hold the other.
        inner: the other.
        value: a value of the inner one.
        least: the log-probability from which on values outside count.
    """
    outer, inner = inside(outer), inside(inner)
    if any(map(_is_transformed_counts, (outer, inner))):
        return True  # torch does not know their support
    try:
        if support_of(outer).is_discrete == support_of(inner).is_discrete:
            own, other = (range_of(fn, value.device) for fn in (inner, outer))
            if own and other:
                return not reaches_beyond(inner, own, other, value, least)
        probes = _probes(inner, value)
        counts = _can_give(inner, probes)  # rounding may have taken one over the edge
        held = _can_give(outer, probes)
    except UNKNOWN:
        return True
    held, counts = (x.reshape(len(probes), -1).all(-1) for x in (held, counts))
    return bool((held | ~counts).all())


def _is_transformed_counts(fn: Any) -> bool:
    return isinstance(fn, TransformedDistribution) and cast(Any, fn.base_dist.support).is_discrete


def _can_give(fn: Any, value: Tensor) -> Tensor:
    """Return whether a distribution can give a value; of a transformed one, its base decides."""
    if is_plainly_transformed(fn):
        for transform in reversed(fn.transforms):
            value = transform.inv(value)
        return _can_give(inside(fn.base_dist), value)
    return cast(Tensor, support_of(fn).check(value))


def _probes(fn: Any, value: Tensor) -> Tensor:
    """Return values that a distribution can give, all or many, stacked on the left."""
    if is_plainly_transformed(fn):
        for transform in reversed(fn.transforms):
            value = transform.inv(value)
        probes = _probes(inside(fn.base_dist), value)
        for transform in fn.transforms:
            probes = transform(probes)
        return probes
    if support_of(fn).is_discrete:
        with contextlib.suppress(NotImplementedError):
            return fn.enumerate_support(expand=True)
        return fn.sample((DISCRETE_DRAWS,))
    return _of_support(support_of(fn), value)


def _of_support(support: Any, value: Tensor) -> Tensor:
    onto = biject(support)
    raw = onto.inv(value)
    spread = torch.linspace(-5, 5, 11, device=raw.device, dtype=raw.dtype)
    return onto(torch.stack([raw + shift for shift in spread]))
