"""One call of a model or guide, as the sites that it reached, and which of them count as what."""

import contextlib
import math
import re
from collections.abc import Callable
from typing import Any, cast

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor

from pyro_vae.errors import InputError

Site = dict[str, Any]

# of a parameter, before all of its values; torch.distributions' words
INVALID = re.compile(
    r"Expected parameter (\w+) .*? of distribution (\w+)\(.*\) to satisfy the constraint (.*),"
    r" but found invalid values:"
)

TAKEN = re.compile(r"site (\S+) must be sampled in trace")  # Pyro's words
FLAT = (
    "it has no evidence, and nothing can be drawn from it (ImproperUniform); a proper prior, as a VAE "
    "has, would have both. An AutoGuide takes a start of its own: init_loc_fn=init_to_value(values=...)"
)


def run(part: str, function: Callable[..., Any], args: Any, kwargs: Any) -> poutine.Trace:
    """The trace of one call; an error in it names the part and the site that was reached.

    A program that differentiates inside runs with gradients, also where the caller asks for none.
    Numbers that a program observes become tensors, and plates without a size get that of their sites.
    """
    try:
        return run_as_it_is(part, function, args, kwargs)
    except NeedsGradients:
        with torch.enable_grad():
            return run_as_it_is(part, function, args, kwargs)


class NeedsGradients(InputError):
    """The program differentiates inside, and gradients were turned off around it."""


def run_as_it_is(part: str, function: Callable[..., Any], args: Any, kwargs: Any) -> poutine.Trace:
    """:raises NeedsGradients: it takes gradients, where the caller has turned them off."""
    tracer = poutine.trace(function)
    try:
        trace = tracer.get_trace(*args, **kwargs)
    except InputError as error:  # Pyro has written its trace below the sentence
        raise InputError(str(error).split("\n")[0]) from error
    except Exception as error:
        if isinstance(error, NotImplementedError) and "ImproperUniform" in str(error):
            raise InputError(f"a prior of the {part} is flat: {FLAT}") from error
        if taken := TAKEN.match(str(error)):
            raise InputError(
                f"the guide observes or computes {taken[1]!r}, which the model draws: the guide is to draw "
                "it, by `pyro.sample` without `obs=`"
            ) from error
        kind = InputError
        if not torch.is_grad_enabled() and "require grad" in str(error):
            kind = NeedsGradients
        sites = list(sample_sites(tracer.trace))
        where = f"after site {sites[-1]!r}" if sites else "before its first site"
        shapes = ", ".join(str(tuple(a.shape)) for a in args if isinstance(a, Tensor))
        refused = kind(
            f"the {part} raised {type(error).__name__} {where}: {first_line(error)}"
            + (f" (called with tensors of shape {shapes})" if shapes else "")
            + _not_finite(args)
        )
        refused.reached = tracer.trace  # type: ignore[attr-defined]  # how far it came
        raise refused from error
    for site in sample_sites(trace).values():
        if not isinstance(site["value"], Tensor):
            site["value"], site["was_number"] = as_value(site["value"]), True
    return sized(trace)


def run_at(
    guide_trace: poutine.Trace,
    model: Callable[..., Any],
    args: Any,
    kwargs: Any,
    run: Callable[..., poutine.Trace] = run,
) -> poutine.Trace:
    """The model's trace at what the guide has drawn.

    A draw outside of its prior's support weighs nothing, so what the model raises on it says nothing of
    the model: it is moved inside, in the guide's trace, too.
    """
    while True:
        try:
            return run("model", poutine.replay(model, guide_trace), args, kwargs)
        except InputError as error:
            if not _move_inside(guide_trace, getattr(error, "reached", poutine.Trace())):
                raise


def _move_inside(guide_trace: poutine.Trace, reached: poutine.Trace) -> bool:
    """Puts prior draws in place of those that the prior's support does not hold; says whether any was."""
    moved = False
    for name, site in drawn_sites(reached).items():
        proposed = guide_trace.nodes.get(name)
        with contextlib.suppress(
            NotImplementedError, AttributeError
        ):  # no support, or nothing to draw from
            inside = site["fn"].support.check(site["value"])
            if proposed is None or bool(inside.all()):
                continue
            inside = inside.reshape(inside.shape + (1,) * site["fn"].event_dim)
            other = site["fn"].sample()
            if bool(site["fn"].support.check(other).all()):
                proposed["value"] = torch.where(inside, site["value"], other)
                moved = True
    return moved


def first_line(error: Exception) -> str:
    """What an error says first, with torch's remark on a parameter in fewer words."""
    said = INVALID.sub(r"some values of \1 in a \2 are not \3", str(error)).strip().split("\n")[0]
    return said or "no reason given"


def as_value(number: Any) -> Any:
    """What a program observes as a tensor, where it is a plain number or a sequence of them."""
    try:
        value = torch.as_tensor(number)
    except (TypeError, ValueError, RuntimeError):
        return number
    return value.to(torch.get_default_dtype()) if value.is_floating_point() else value


def _not_finite(args: Any) -> str:
    for tensor in args:
        if isinstance(tensor, Tensor) and not torch.isfinite(tensor).all():
            first = (~torch.isfinite(tensor)).nonzero()[0].tolist()
            return f"; the data hold {tensor[tuple(first)]:g}, first at index {tuple(first)}"
    return ""


# --- plates ---------------------------------------------------------------------------------------


def sized(trace: poutine.Trace) -> poutine.Trace:
    """The trace, with plates that were entered without a size (Pyro writes -1) as long as their sites."""
    sites = [
        s for s in sample_sites(trace).values() if any(f.size == -1 for f in s["cond_indep_stack"])
    ]
    sizes: dict[str, int] = {}
    for site in sites:
        shape = batch_of(site)
        for frame in site["cond_indep_stack"]:
            if frame.size == -1:
                own = shape[frame.dim] if len(shape) >= -frame.dim else 1
                sizes[frame.name] = max(own, sizes.get(frame.name, 1))
    for site in sites:
        site["cond_indep_stack"] = tuple(
            f._replace(size=sizes[f.name], full_size=None) if f.size == -1 else f
            for f in site["cond_indep_stack"]
        )
    return trace


def by_plates(site: Site) -> float:
    """What a site is scaled by where its plates take subsamples."""
    shares = ((f.full_size or f.size) / f.size for f in site["cond_indep_stack"] if f.size)
    return math.prod(shares)


def batch_of(site: Site) -> torch.Size:
    """The batch shape of a site's log-probabilities: its distribution's, broadcast against its value's."""
    value, fn = site["value"], site["fn"]
    own = value.shape[: value.dim() - fn.event_dim] if isinstance(value, Tensor) else torch.Size()
    try:
        return torch.broadcast_shapes(fn.batch_shape, own)
    except RuntimeError:
        return torch.Size(fn.batch_shape)


def shape_of(fn: Any) -> torch.Size:
    """A distribution's shape, ``batch | event``; people's own classes may hold plain tuples."""
    return torch.Size((*fn.batch_shape, *fn.event_shape))


# --- which sites count ----------------------------------------------------------------------------
#
# A latent is what the model draws, unobserved, at random. log q counts the guide's draws of latents, the
# auxiliary draws that it maps onto them, and factors with has_rsample=True (the Jacobian of such a map).
# What else a guide says, by factors with has_rsample=False and observed sites, enters Pyro's training
# loss and nothing else.


def sample_sites(trace: poutine.Trace) -> dict[str, Site]:
    """The sample statements of a trace, without plates' subsampling and deterministic sites."""
    sites = cast(dict[str, Site], trace.nodes)
    return {
        name: site
        for name, site in sites.items()
        if site["type"] == "sample"
        and not isinstance(site["fn"], _Subsample)
        and not site["infer"].get("_deterministic")
    }


def drawn_sites(trace: poutine.Trace) -> dict[str, Site]:
    """What a model or guide draws: its unobserved sample statements."""
    return {n: s for n, s in sample_sites(trace).items() if not s["is_observed"]}


def latent_sites(model_trace: poutine.Trace) -> dict[str, Site]:
    """The model's latents. A Delta is none: it is a deterministic site by another name."""
    return {n: s for n, s in drawn_sites(model_trace).items() if not is_point_mass(s["fn"])}


def observed_sites(trace: poutine.Trace) -> dict[str, Site]:
    return {n: s for n, s in sample_sites(trace).items() if s["is_observed"]}


def proposal_sites(guide_trace: poutine.Trace) -> dict[str, Site]:
    """The sites of a guide whose log-probabilities make log q."""
    sites = sample_sites(guide_trace).items()
    return {n: s for n, s in sites if not s["is_observed"] or is_jacobian(s)}


def training_terms(guide_trace: poutine.Trace) -> dict[str, Site]:
    """The sites of a guide that count in Pyro's training loss alone."""
    return {n: s for n, s in observed_sites(guide_trace).items() if not is_jacobian(s)}


def is_factor(site: Site) -> bool:
    """Whether a site is a ``pyro.factor``."""
    return isinstance(innermost(site["fn"]), dist.Unit)


def is_jacobian(site: Site) -> bool:
    """Whether a site is a factor that a guide declares to be part of its density."""
    return is_factor(site) and bool(innermost(site["fn"]).has_rsample)


def is_point_mass(fn: Any) -> bool:
    return isinstance(innermost(fn), dist.Delta)


def innermost(fn: Any) -> Any:
    """The distribution that all others are put around."""
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return fn


def declared_events(fn: Any) -> int:
    """How many of the leftmost event dimensions ``to_event`` made, with masks in between or not."""
    count = 0
    while isinstance(fn, dist.Independent | dist.MaskedDistribution):
        count += getattr(fn, "reinterpreted_batch_ndims", 0)
        fn = fn.base_dist
    return count
