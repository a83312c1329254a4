"""One call of a model or guide: its sites, and which of them count as what."""

import contextlib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from pyro_vae.errors import InputError, first_line
from pyro_vae.program.wrappers import innermost

Site = dict[str, Any]

MISSING = re.compile(r"site (\S+) must be sampled in trace")  # Pyro's words
FLAT = "it has no evidence, and nothing can be drawn from it (ImproperUniform)"
FLAT_REMEDY = (
    "use a proper prior, as a VAE has; an AutoGuide can start elsewhere: "
    "init_loc_fn=init_to_value(values=...)"
)


def run(role: str, function: Callable[..., Any], args: Any, kwargs: Any) -> poutine.Trace:
    """Return the trace of one call.

    A program that differentiates inside runs with gradients, also where the caller turns them off.
    Observed numbers become tensors, and plates without a size get that of their sites.

    Raises:
        InputError: the function raises; the error names the part and the last site before it.
    """
    try:
        return run_without_gradients(role, function, args, kwargs)
    except NeedsGradients:
        with torch.enable_grad():
            return run_without_gradients(role, function, args, kwargs)


class Failed(InputError):
    """Report that a program raised an error, the cause of this one; ``reached`` has the sites before it."""

    reached = poutine.Trace()


class FlatPrior(Failed):
    """Report that a prior is flat, so that there is no evidence."""


class NeedsGradients(Failed):
    """Report that the program differentiates inside, where the caller has turned gradients off."""


def as_raised(error: Exception) -> Exception:
    """Return the error that the program raised, where a run reports one, or else the same error."""
    cause = error.__cause__ if isinstance(error, Failed) else None
    return cause if isinstance(cause, Exception) else error


def run_without_gradients(
    role: str, function: Callable[..., Any], args: Any, kwargs: Any
) -> poutine.Trace:
    """Return the trace of one call, with gradients only where the caller has turned them on.

    Raises:
        NeedsGradients: the function takes gradients, and they are off.
        InputError: it raises anything else.
    """
    tracer = poutine.trace(function)
    try:
        trace = tracer.get_trace(*args, **kwargs)
    except InputError as error:
        original = _original(error)
        raise original from original.__cause__
    except Exception as error:
        failed = _refusal(role, error, tracer.trace, args)
        failed.reached = tracer.trace
        raise failed from error
    for site in sample_sites(trace).values():
        if not isinstance(site["value"], Tensor):
            site["value"], site["was_number"] = as_value(site["value"]), True
    return with_plate_sizes(trace)


def _original(error: InputError) -> InputError:
    """Return the error that the program raised: Pyro raises a copy that shows its trace and no fields."""
    while isinstance(error.__cause__, InputError) and str(error).startswith(str(error.__cause__)):
        error = error.__cause__
    return error if "\n" not in str(error) else InputError(str(error).split("\n")[0])


def _refusal(role: str, error: Exception, reached: poutine.Trace, args: Any) -> Failed:
    """Return what to say of an error that a model or guide raised after some sites."""
    if isinstance(error, NotImplementedError) and "ImproperUniform" in str(error):
        return FlatPrior(f"a prior of the {role} is flat: {FLAT}", subject=role, remedy=FLAT_REMEDY)
    if missing := MISSING.match(str(error)):
        return Failed(
            f"the guide observes or computes {missing[1]!r}, which the model draws",
            subject=missing[1],
            remedy="draw it in the guide by `pyro.sample` without `obs=`",
        )
    kind = Failed
    if not torch.is_grad_enabled() and "require grad" in str(error):
        kind = NeedsGradients
    sites = list(sample_sites(reached))
    where = f"after site {sites[-1]!r}" if sites else "before its first site"
    shapes = ", ".join(str(tuple(a.shape)) for a in args if isinstance(a, Tensor))
    return kind(
        f"the {role} raised {type(error).__name__} {where}: {first_line(error)}"
        + (f" (called with tensors of shape {shapes})" if shapes else "")
        + _not_finite(args),
        subject=sites[-1] if sites else role,
    )


def run_at(
    guide_trace: poutine.Trace,
    model: Callable[..., Any],
    args: Any,
    kwargs: Any,
    run: Callable[..., poutine.Trace] = run,
) -> poutine.Trace:
    """Return the model's trace at what the guide has drawn.

    A draw outside its prior's support has no weight, so an error that the model raises on it says nothing
    about the model. Such a draw is replaced by one inside, in the guide's trace, too.
    """
    while True:
        try:
            return run("model", poutine.replay(model, guide_trace), args, kwargs)
        except Failed as error:
            if not _move_inside(guide_trace, error.reached):
                raise


def _move_inside(guide_trace: poutine.Trace, reached: poutine.Trace) -> bool:
    """Replace draws outside their prior's support by draws of the prior; return whether any was."""
    moved = False
    for name, site in drawn_sites(reached).items():
        proposed = guide_trace.nodes.get(name)
        # without a support, or without a sampler
        with contextlib.suppress(NotImplementedError, AttributeError):
            inside = site["fn"].support.check(site["value"])
            if proposed is None or bool(inside.all()):
                continue
            inside = inside.reshape(inside.shape + (1,) * site["fn"].event_dim)
            other = site["fn"].sample()
            if bool(site["fn"].support.check(other).all()):
                proposed["value"] = torch.where(inside, site["value"], other)
                moved = True
    return moved


def as_value(number: Any) -> Any:
    """Return an observed number, or a sequence of numbers, as a tensor; anything else unchanged."""
    try:
        value = torch.as_tensor(number)
    except (TypeError, ValueError, RuntimeError):
        return number
    return value.to(torch.get_default_dtype()) if value.is_floating_point() else value


def _not_finite(args: Any) -> str:
    for tensor in args:
        if isinstance(tensor, FakeTensor):  # it is only traced, and has no values
            continue
        if isinstance(tensor, Tensor) and not torch.isfinite(tensor).all():
            first = (~torch.isfinite(tensor)).nonzero()[0].tolist()
            return f"; the data hold {tensor[tuple(first)]:g}, first at index {tuple(first)}"
    return ""


# --- plates ---------------------------------------------------------------------------------------


def with_plate_sizes(trace: poutine.Trace) -> poutine.Trace:
    """Give plates without a size (Pyro writes -1) the length of their longest site; return the trace."""
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


def plate_scale(site: Site) -> float:
    """Return the factor by which the subsampling plates of a site scale it."""
    shares = ((f.full_size or f.size) / f.size for f in site["cond_indep_stack"] if f.size)
    return math.prod(shares)


def batch_of(site: Site) -> torch.Size:
    """Return the batch shape of a site's log-probabilities: of its distribution and value, broadcast."""
    value, fn = site["value"], site["fn"]
    own = value.shape[: value.dim() - fn.event_dim] if isinstance(value, Tensor) else torch.Size()
    try:
        return torch.broadcast_shapes(fn.batch_shape, own)
    except RuntimeError:
        return torch.Size(fn.batch_shape)


def shape_of(fn: Any) -> torch.Size:
    """Return a distribution's shape, ``batch | event``; a user's class may hold plain tuples."""
    return torch.Size((*fn.batch_shape, *fn.event_shape))


# --- which sites count ----------------------------------------------------------------------------
#
# A latent is a random, unobserved draw of the model. log q counts the guide's draws of latents, the
# auxiliary draws that it maps onto them, and factors with has_rsample=True (the Jacobian of such a map).
# Factors with has_rsample=False and observed sites of a guide enter Pyro's training loss and nothing else.


def sample_sites(trace: poutine.Trace) -> dict[str, Site]:
    """Return the sample statements of a trace, without subsampling and deterministic sites."""
    sites = cast(dict[str, Site], trace.nodes)
    return {
        name: site
        for name, site in sites.items()
        if site["type"] == "sample"
        and not isinstance(site["fn"], _Subsample)
        and not site["infer"].get("_deterministic")
    }


def drawn_sites(trace: poutine.Trace) -> dict[str, Site]:
    """Return the unobserved sample statements of a model or guide."""
    return {n: s for n, s in sample_sites(trace).items() if not s["is_observed"]}


def latent_sites(model_trace: poutine.Trace) -> dict[str, Site]:
    """Return the model's latents. A Delta is none: it is a deterministic site by another name."""
    return {n: s for n, s in drawn_sites(model_trace).items() if not is_point_mass(s["fn"])}


def observed_sites(trace: poutine.Trace) -> dict[str, Site]:
    return {n: s for n, s in sample_sites(trace).items() if s["is_observed"]}


def proposal_sites(guide_trace: poutine.Trace) -> dict[str, Site]:
    """Return the sites of a guide whose log-probabilities add up to log q."""
    sites = sample_sites(guide_trace).items()
    return {n: s for n, s in sites if not s["is_observed"] or is_jacobian(s)}


def training_terms(guide_trace: poutine.Trace) -> dict[str, Site]:
    """Return the sites of a guide that count in Pyro's training loss alone."""
    return {n: s for n, s in observed_sites(guide_trace).items() if not is_jacobian(s)}


def kind_of(role: str, site: Mapping[str, Any]) -> str:
    """Return "factor", "deterministic", "observed" or "latent", of a statement in a model or guide.

    A Delta in a model, or by a reparameterisation, follows from earlier draws, so it is deterministic. In
    a guide it estimates a latent by a point.
    """
    if is_factor(site):
        return "factor"
    is_point = is_point_mass(site["fn"])
    is_computed = site["is_observed"] and getattr(site["fn"], "_mask", None) is False
    if site["infer"].get("_deterministic") or (is_point and is_computed):
        return "deterministic"
    if site["is_observed"]:
        return "observed"
    return "deterministic" if is_point and role == "model" else "latent"


def is_factor(site: Mapping[str, Any]) -> bool:
    """Return whether a site is a ``pyro.factor``."""
    return isinstance(innermost(site["fn"]), dist.Unit)


def is_jacobian(site: Site) -> bool:
    """Return whether a site is a factor that a guide declares as part of its density."""
    return is_factor(site) and bool(innermost(site["fn"]).has_rsample)


def is_point_mass(fn: Any) -> bool:
    return isinstance(innermost(fn), dist.Delta)
