"""Whether a guide proposes where the model has its latents: no more, and no less."""

import contextlib
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Independent, TransformedDistribution

from pyro_vae.errors import InputError
from pyro_vae.inference.call import Call
from pyro_vae.inference.coordinates import biject, is_point_mass, mask_of
from pyro_vae.program import Site, run, sample_sites

DRAWS = 200  # of a discrete site without end


def check_guide_spreads(call: Call) -> None:
    """:raises InputError: the guide puts a latent at a single point, so no weight can be formed."""
    sites = sample_sites(run("guide", call.program.guide, call.args, call.kwargs))
    points = [name for name, site in sites.items() if is_point_mass(site["fn"])]
    elsewhere = [name for name, site in sites.items() if site["infer"].get("is_auxiliary")]
    if elsewhere and any(name not in points for name in elsewhere):
        return  # an AutoGuide that draws there and transforms
    for name in points:
        raise InputError(
            f"the guide puts {name!r} at a single point (Delta), as AutoDelta and AutoLaplaceApproximation "
            "do: that finds a mode, and proposes nothing that could be weighted into an evidence"
        )


def check_supports(call: Call, narrower_too: bool = True) -> None:
    """Refuses a guide whose supports are not the prior's.

    Beyond it a weight means nothing; short of it a part of the evidence is never seen, and nothing in
    the weights would say so.
    """
    guide = call.guide(1)
    guide_sites, model_sites = sample_sites(guide), sample_sites(call.joint(1, guide))
    for name in call.layout.latents:
        if name in guide_sites and not is_point_mass(guide_sites[name]["fn"]):
            check_support(name, guide_sites[name], model_sites[name], narrower_too)
            check_mask(name, guide_sites[name], model_sites[name])


def check_support(name: str, guide_site: Site, model_site: Site, narrower_too: bool = True) -> None:
    """:raises InputError: the guide's support at a site is not the prior's."""
    sides = [(guide_site, model_site, "beyond the prior's", "")]
    if narrower_too:
        share = ", or draw a share of the particles from the prior (prior_share)"
        sides.append((model_site, guide_site, "short of the prior's", share))
    for here, there, what, remedy in sides:
        if not _holds(there["fn"], here["fn"], here["value"]):
            raise InputError(
                f"the guide's support at site {name!r} reaches {what} ({guide_site['fn']} against "
                f"{model_site['fn']}): give the guide a distribution with the prior's support{remedy}"
            )


def check_mask(name: str, guide_site: Site, model_site: Site) -> None:
    if not (mask_of(guide_site) == mask_of(model_site)).all():
        raise InputError(
            f"model and guide mask site {name!r} differently, so the weights of what one of them leaves "
            "out mean nothing: use the same `poutine.mask` in both"
        )


def _holds(outer: Any, inner: Any, value: Tensor) -> bool:
    """Whether one distribution's support holds the other's, as far as probes of that one tell."""
    outer, inner = _without_independence(outer), _without_independence(inner)
    if any(map(_is_transformed_counts, (outer, inner))):
        return True  # torch does not know the support of those
    try:
        probes = _probes(inner, value)
        probes_count = inner.support.check(probes)  # rounding may have taken one over the edge
        inside = outer.support.check(probes)
    except (NotImplementedError, RuntimeError):
        return True  # a support that says nothing of itself
    return bool((inside | ~probes_count).all()) if inside.shape == probes_count.shape else True


def _without_independence(fn: Any) -> Any:
    while isinstance(fn, (Independent, dist.MaskedDistribution)):
        fn = fn.base_dist
    return fn


def _is_transformed_counts(fn: Any) -> bool:
    return isinstance(fn, TransformedDistribution) and fn.base_dist.support.is_discrete


def _probes(fn: Any, value: Tensor) -> Tensor:
    if fn.support.is_discrete:
        with contextlib.suppress(NotImplementedError):
            return fn.enumerate_support(expand=True)
        return fn.sample((DRAWS,))
    onto = biject(fn.support)
    raw = onto.inv(value)
    spread = torch.linspace(-5, 5, 11, device=raw.device, dtype=raw.dtype)
    return onto(torch.stack([raw + shift for shift in spread]))
