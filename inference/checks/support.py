"""Whether a guide proposes where the model has its latents: no more, and no less."""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import TransformedDistribution

from pyro_vae.errors import InputError
from pyro_vae.inference.checks.intervals import (
    goes_beyond,
    is_plainly_transformed,
    range_of,
    reach_of,
    reaches_beyond,
    said_range,
    without_independence,
)
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.log_prob import score, unit_sum
from pyro_vae.program.particles import read_particles
from pyro_vae.program.structure import Structure
from pyro_vae.program.support import support_of
from pyro_vae.program.trace import (
    Site,
    declared_events,
    drawn_sites,
    is_point_mass,
    sample_sites,
    shape_of,
)
from pyro_vae.program.unconstrained import (
    Immovable,
    biject,
    num_coordinates,
    num_counted,
)
from pyro_vae.program.wrappers import mask_of, without_masks

DRAWS = 200  # of a discrete site without end
PRIOR_DRAWS = 16  # that a flow must reach
TRIES, TRIES_ALONE = 64, 8  # of the other latents, with a value that the guide never draws
# probabilities that a guide must not have where a prior has the other; torch keeps them from 0 by 1e-7
NEVER, SELDOM = math.log(2e-7), math.log(1e-4)
UNSAID = (NotImplementedError, RuntimeError, ValueError)  # of a support that is not known
NEGLIGIBLE = math.log(5e-324)  # the least of float64: a tail of the prior that may be left out


def check_proposal(call: BoundProgram, narrower_too: bool = True) -> BoundProgram:
    """Refuses a guide from whose draws no weight can be formed; gives the call that forms them.

    It must spread every latent, over the prior's support. Short of it a part of the evidence is never seen,
    and nothing in the weights would say so; beyond it a draw weighs nothing, where the prior can say that.

    :raises InputError: it does not.
    """
    guide, model = call.one()
    guide_sites, model_sites = drawn_sites(guide), sample_sites(model)
    check_spread(call, guide_sites, model_sites)
    beyond = []
    for name in call.structure.latents:
        if name in guide_sites and not is_point_mass(guide_sites[name]["fn"]):
            here, there = guide_sites[name], model_sites[name]
            # a likelihood may rule latents out: only who wrote the guide knows where it is not 0
            vouched = here["infer"].get("covers_posterior", False)
            if not call.structure.enumerated and _goes_beyond(here, there):
                beyond.append(name)
            check_support(name, here, there, narrower_too and not vouched, name not in beyond)
            if narrower_too and not vouched:
                check_values(call, name, here, there)
    check_masks(call.structure, guide_sites, model_sites)
    return (
        replace(call, structure=replace(call.structure, beyond=tuple(beyond))) if beyond else call
    )


def _goes_beyond(guide: Site, model: Site) -> bool:
    """Whether a guide draws continuous values outside of a support that the prior itself can tell."""
    fn, value = model["fn"], guide["value"]
    with contextlib.suppress(*UNSAID):
        if support_of(fn).is_discrete or support_of(guide["fn"]).is_discrete:
            return False
        return not _holds(fn, guide["fn"], value, -math.inf) and _is_as_said(fn, model["value"])
    return False


def check_spread(call: BoundProgram, guide: Mapping[str, Site], model: Mapping[str, Site]) -> None:
    """The guide may put latents at points, with log-densities, if it draws as many numbers elsewhere."""
    structure = call.structure
    computed = {name for name, site in model.items() if is_point_mass(site["fn"])}
    guide = {name: site for name, site in guide.items() if name not in computed}
    points = [name for name, site in guide.items() if is_point_mass(site["fn"])]
    elsewhere = [name for name, site in guide.items() if site["infer"].get("is_auxiliary")]
    if points and not any(name not in points for name in elsewhere):
        raise InputError(
            f"the guide puts {points[0]!r} at a single point (Delta), as AutoDelta and "
            "AutoLaplaceApproximation do: that finds a mode, and proposes nothing that could be weighted "
            "into an evidence"
        )
    if not elsewhere:
        return
    drawn = [name for name in guide if name not in points]
    latents = [name for name in structure.latents if name not in structure.enumerated]
    has = sum(num_coordinates(name, guide[name], structure) for name in drawn)
    wanted = sum(num_coordinates(name, model[name], structure) for name in latents)
    if has != wanted:
        raise InputError(
            f"the guide draws {has} numbers ({', '.join(map(repr, drawn[:5]))}) where the model's latents "
            f"have {wanted}: its auxiliary sites are no bijection of them, so the density of a draw is not "
            "known and no weight can be formed"
        )


FROM_BOTH = ", or draw a share of the particles from the prior (prior_share)"


def check_support(
    name: str,
    guide_site: Site,
    model_site: Site,
    narrower_too: bool = True,
    beyond_too: bool = True,
    remedy: str = FROM_BOTH,
) -> None:
    """:raises InputError: the guide's support at a site is not the prior's."""
    _check_domain(name, guide_site["fn"])
    sides = []
    if beyond_too:
        sides.append((guide_site, model_site, "beyond the prior's", "", -math.inf))
    if narrower_too:
        _check_reach(name, guide_site["fn"], model_site, remedy)
        sides.append((model_site, guide_site, "short of the prior's", remedy, NEGLIGIBLE))
    for here, there, what, other, least in sides:
        if not _holds(there["fn"], here["fn"], here["value"], least):
            raise InputError(
                f"the guide's support at site {name!r} reaches {what} "
                f"({in_words(guide_site['fn'])} against {in_words(model_site['fn'])}): give the guide a "
                f"distribution with the prior's support{other}"
            )


def _check_domain(name: str, guide: Any) -> None:
    """:raises InputError: a transform gets values that it is not made for, and so is not one-to-one."""
    fn = without_independence(guide)
    if not is_plainly_transformed(fn):
        return
    outside = False
    with contextlib.suppress(*UNSAID):
        value = fn.base_dist.sample(torch.Size((PRIOR_DRAWS,)))
        for transform in fn.transforms:
            outside = outside or not bool(cast(Any, transform.domain).check(value).all())
            value = transform(value)
    if outside:
        raise InputError(
            f"at the guide's site {name!r} a transform gets values outside of its domain "
            f"({in_words(fn.base_dist)} by {fn.transforms}), so the density of a draw is not known"
        )


def _check_reach(name: str, guide: Any, model_site: Site, remedy: str) -> None:
    """:raises InputError: a flow never comes near what the prior draws."""
    prior = without_masks(model_site["fn"])
    reach = reach_of(guide) if prior.has_rsample and not is_point_mass(prior) else None
    if reach is None:
        return
    try:
        drawn = prior.sample(torch.Size((PRIOR_DRAWS,)))
    except UNSAID:  # a flat prior draws nothing
        return
    slack = (reach.upper - reach.lower) / 10
    if ((drawn < reach.lower - slack) | (drawn > reach.upper + slack)).any():
        raise InputError(
            f"the guide's flow at site {name!r} stays short of the prior's draws, whatever it is fed with "
            f"(from {float(reach.lower.min()):.3g} to {float(reach.upper.max()):.3g}): give it a last "
            f"layer without bounds{remedy}"
        )


def in_words(fn: Any) -> str:
    """A distribution's kind, and its parameters where each is one number."""
    base = without_independence(fn)
    given = {n: vars(base)[n] for n in getattr(base, "arg_constraints", {}) if n in vars(base)}
    numbers = [f"{n}={float(p.reshape(-1)[0]):.4g}" for n, p in given.items() if _is_one(p)]
    return f"{type(base).__name__}({', '.join(numbers)})"


def _is_one(parameter: Any) -> bool:
    """Whether a parameter is a single number, however often it is repeated."""
    is_tensor = isinstance(parameter, Tensor) and parameter.numel() > 0
    return is_tensor and bool((parameter == parameter.reshape(-1)[0]).all())


def check_values(call: BoundProgram, name: str, site: Site, model_site: Site) -> None:
    """A value that the guide never draws is left out of the evidence, and nothing in the weights says so.

    Where a unit draws the site once, the value is tried: the weights that the guide's other draws have
    with it, in the guide and in the model, say which share of the evidence is left out.

    :raises InputError: that is more than one in 10,000, or cannot be told.
    """
    structure = call.structure
    missed = _never_drawn(site, model_site)
    if not missed:
        return
    once = shape_of(site["fn"]).numel() == structure.num_units * site["fn"].event_shape.numel()
    drawn = _log_share(call) if once else torch.zeros(())
    for value, never in missed:
        there = never.reshape(never.shape + (1,) * site["fn"].event_dim)
        concerned = unit_sum({**site, "mask": None}, never.double(), structure) > 0
        counts: Any = True
        if once:
            left_out = _log_share(call, name, torch.where(there, value, site["value"]))
            counts = left_out > torch.logaddexp(left_out, drawn) + SELDOM
        if (concerned & counts).any():
            raise InputError(
                f"the guide never draws some values of site {name!r} that prior and likelihood give a "
                f"probability: they would be left out of the evidence. Give each value some{FROM_BOTH}"
            )


def _log_share(call: BoundProgram, name: str = "", value: Tensor | None = None) -> Tensor:
    """The log of the mean weight of some draws, (1, U); with a site held at a value, whose own density
    then does not count."""
    held, structure = poutine.Trace(), call.structure
    if value is not None:
        held.add_node(name, type="sample", is_observed=False, value=value, infer={})
    each, times = (TRIES, 1) if call.vectorized else (1, TRIES_ALONE)
    logs = []
    for _ in range(times):
        guide = call.guide(each, lambda guide: poutine.replay(guide, held))
        weights = read_particles(call.joint(each, guide), guide, structure, each).log_weights
        if value is not None:
            weights = weights + score([sample_sites(guide)[name]], structure, each)
        logs.append(weights)
    return torch.cat(logs).logsumexp(0, keepdim=True) - math.log(each * times)


def check_masks(structure: Structure, guide: Mapping[str, Site], model: Mapping[str, Site]) -> None:
    """:raises InputError: what the guide's density counts is not what the model's does.

    Of a latent whose prior the model leaves out, all draws count.
    """
    latents = [n for n in structure.latents if n in guide and n not in structure.without_prior]
    points = [name for name in latents if is_point_mass(guide[name]["fn"])]
    for name in latents:
        mask = mask_of(guide[name])
        if name not in points or not mask.all():
            _refuse_unless(name, bool((mask == mask_of(model[name])).all()))
    if points:
        drawn = (name for name in guide if not is_point_mass(guide[name]["fn"]))
        none = torch.zeros(())
        has = sum((num_counted(name, guide[name], structure) for name in drawn), start=none)
        wanted = sum((num_counted(name, model[name], structure) for name in latents), start=none)
        apart = [name for name in structure.without_prior if name in guide]
        wanted += sum(num_coordinates(n, model[n], structure) for n in apart) / structure.num_units
        _refuse_unless(points[0], bool(((has - wanted).abs() < 0.5).all()))


def _refuse_unless(name: str, same_mask: bool) -> None:
    if not same_mask:
        raise InputError(
            f"model and guide mask site {name!r} differently, so the weights of what one of them leaves "
            "out mean nothing: use the same `poutine.mask` in both"
        )


def check_known(sites: Mapping[str, Site]) -> None:
    """:raises InputError: a site's distribution does not know its support, so nothing can move over it."""
    for name, site in sites.items():
        if not _is_as_said(site["fn"], site["value"]):
            raise Immovable(
                f"torch does not know the support of site {name!r} ({site['fn']})",
                "estimate the evidence by importance sampling, or give the transform its codomain",
            )


def _is_as_said(fn: Any, value: Tensor) -> bool:
    """Whether the support that a distribution says it has is what its transforms make of its base."""
    if _is_transformed_counts(fn := without_independence(fn)):
        return True
    try:
        said, own = said_range(fn, value.device), range_of(fn, value.device)
        if said and own:
            return not goes_beyond(said, own)
        return bool(_inside(fn, _of_support(support_of(fn), value)).all())
    except UNSAID:
        return True


def _holds(outer: Any, inner: Any, value: Tensor, least: float) -> bool:
    """Whether one distribution's support holds the other's: by their ranges; where these are not known,
    as far as probes of the inner one tell.

    :param least: the log-probability from which on it counts what lies outside.
    """
    outer, inner = without_independence(outer), without_independence(inner)
    if any(map(_is_transformed_counts, (outer, inner))):
        return True  # torch does not know the support of those
    try:
        if support_of(outer).is_discrete == support_of(inner).is_discrete:
            own, other = (range_of(fn, value.device) for fn in (inner, outer))
            if own and other:
                return not reaches_beyond(inner, own, other, value, least)
        probes = _probes(inner, value)
        counts = _inside(inner, probes)  # rounding may have taken one over the edge
        inside = _inside(outer, probes)
    except UNSAID:
        return True  # a support that says nothing of itself
    each = [x.reshape(len(probes), -1).all(-1) for x in (inside, counts)]
    return bool((each[0] | ~each[1]).all())


def _never_drawn(guide_site: Site, model_site: Site) -> list[tuple[Tensor, Tensor]]:
    """Values of a site, ``batch | event``, and for which draws, ``batch |``, the guide hardly has them."""
    guide, prior = (without_independence(site["fn"]) for site in (guide_site, model_site))
    if not (prior.has_enumerate_support and guide.has_enumerate_support):
        return []
    try:
        values = prior.enumerate_support(expand=True)
        never = (guide.log_prob(values) < NEVER) & (prior.log_prob(values) > SELDOM)
    except UNSAID:
        return []
    for _ in range(declared_events(guide_site["fn"])):
        never = never.any(-1)
    return [(value, there) for value, there in zip(values, never, strict=True) if there.any()]


def _is_transformed_counts(fn: Any) -> bool:
    return isinstance(fn, TransformedDistribution) and cast(Any, fn.base_dist.support).is_discrete


def _inside(fn: Any, value: Tensor) -> Tensor:
    """Whether a distribution can give a value; of a transformed one its base says so."""
    if is_plainly_transformed(fn):
        for transform in reversed(fn.transforms):
            value = transform.inv(value)
        return _inside(without_independence(fn.base_dist), value)
    return cast(Tensor, support_of(fn).check(value))


def _probes(fn: Any, value: Tensor) -> Tensor:
    if is_plainly_transformed(fn):
        for transform in reversed(fn.transforms):
            value = transform.inv(value)
        probes = _probes(without_independence(fn.base_dist), value)
        for transform in fn.transforms:
            probes = transform(probes)
        return probes
    if support_of(fn).is_discrete:
        with contextlib.suppress(NotImplementedError):
            return fn.enumerate_support(expand=True)
        return fn.sample((DRAWS,))
    return _of_support(support_of(fn), value)


def _of_support(support: Any, value: Tensor) -> Tensor:
    onto = biject(support)
    raw = onto.inv(value)
    spread = torch.linspace(-5, 5, 11, device=raw.device, dtype=raw.dtype)
    return onto(torch.stack([raw + shift for shift in spread]))
