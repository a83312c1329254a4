"""The contract: what a program is, how it is run, and what one run says of each unit.

A *program* is a Pyro model and guide that are called with the same arguments. Its *unit* is the plate
over which the evidence factorises; every figure in pyro_vae is per unit.
"""

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast
from unittest import mock

import pyro
import torch
from pyro import poutine
from pyro.distributions import ImproperUniform
from pyro.infer.util import enable_validation
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor, nn

from pyro_vae.errors import InputError, nearest

Site = dict[str, Any]

FLAT = (
    "it has no evidence, and nothing can be drawn from it (ImproperUniform); a proper prior, as a VAE "
    "has, would have both"
)


@dataclass(frozen=True)
class Program:
    """A model and a guide, and the modules that hold their parameters, by name.

    ``log_evidence`` is log p(x) of each unit, ``units |``, of the same arguments, where it is known.
    """

    model: Callable[..., Any]
    guide: Callable[..., Any]
    modules: Mapping[str, nn.Module] = field(default_factory=dict)
    log_evidence: Callable[..., Tensor] | None = None


def as_program(program: Any) -> Program:
    """The program in ``program``: an object with ``.model`` and ``.guide``, or a pair of callables.

    >>> as_program((lambda x: None, lambda x: None)).modules
    {}
    """
    if isinstance(program, Program):
        return program
    if callable(getattr(program, "model", None)) and callable(getattr(program, "guide", None)):
        model: Callable[..., Any] = program.model
        guide: Callable[..., Any] = program.guide
        of_parts = as_program((model, guide))
        modules = {"": program} if isinstance(program, nn.Module) else of_parts.modules
        return replace(
            of_parts, modules=modules, log_evidence=getattr(program, "log_evidence", None)
        )
    if isinstance(program, tuple) and len(program) == 2 and all(map(callable, program)):
        model, guide = program
        owners = {"model.": _owner(model), "guide.": _owner(guide)}
        if owners["model."] is owners["guide."]:
            owners = {"": owners["model."]}
        return Program(model, guide, {name: m for name, m in owners.items() if m is not None})
    raise InputError(
        f"{type(program).__name__} is no program: pass an object with `.model` and `.guide`, "
        "or the pair (model, guide) of callables"
    )


def _owner(function: Callable[..., Any]) -> nn.Module | None:
    """The module whose parameters a callable uses: itself, or the object it is a method of."""
    while isinstance(function, functools.partial):
        function = function.func
    for candidate in (function, getattr(function, "__self__", None)):
        if isinstance(candidate, nn.Module):
            return candidate
    return None


@dataclass(frozen=True)
class Layout:
    """What a program's sites and plates look like on one batch.

    ``unit`` is None where no plate holds every latent and observed site: the evidence is then a
    joint one, of the whole batch, and ``outside`` names the latents that make it so.
    """

    unit: str | None
    dim: int  # the unit plate's dimension, counted from the right
    num_units: int  # units in this batch; 1 for a joint evidence
    size: int  # units that the plate stands for (more than num_units when it is subsampled)
    nesting: int  # how many dimensions on the right belong to plates
    latents: tuple[str, ...]
    observed: tuple[str, ...]
    outside: tuple[str, ...]
    enumerated: tuple[str, ...]  # latents of the model alone, to be summed out
    plates: Mapping[str, int]
    marked: tuple[str, ...] = ()  # latents that training is to sum over, in model or guide
    flat: tuple[str, ...] = ()  # latents whose prior is no distribution: there is no evidence
    subsampled: tuple[
        str, ...
    ] = ()  # plates within the unit that hold a part of what they stand for

    def units_of(self, rows: int) -> int:
        """How many units the ELBO of a batch of ``rows`` data stands for."""
        if self.unit is None or self.size != self.num_units:
            return self.size
        return rows

    def resized(self, rows: int) -> "Layout":
        """The layout of a batch of another number of rows."""
        if self.unit is None:
            return self
        size = self.size if self.size != self.num_units else rows
        return replace(self, num_units=rows, size=size)


def examine(
    program: Program, *args: Any, unit: str | None = None, strict: bool = True, **kwargs: Any
) -> Layout:
    """Runs guide and model once, with every check that Pyro and torch know, and reads the plates.

    :param unit: the unit plate's name; by default the outermost plate that all latent and observed
        sites share.
    :param strict: refuse log-probabilities that are NaN, too; else only data outside the support.
    :raises InputError: the model or guide raises (with the site), a site is missing on one side,
        ``unit`` is not there or does not hold every site.
    """
    with pyro.validation_enabled(strict), torch.no_grad():
        enable_validation(True)  # what a program itself asks of its data counts for all of them
        guide_trace = run("guide", program.guide, args, kwargs)
        model_trace = run("model", poutine.replay(program.model, guide_trace), args, kwargs)
        if strict:
            _check_log_prob("guide", guide_trace)
            _check_log_prob("model", model_trace)
        else:
            _check_data(model_trace)
    _check_match(model_trace, guide_trace)
    layout = _layout(model_trace, guide_trace, unit)
    for part, trace in (("guide", guide_trace), ("model", model_trace)):
        _check_shapes(part, trace, layout.nesting)
    return layout


def run(part: str, function: Callable[..., Any], args: Any, kwargs: Any) -> poutine.Trace:
    """The trace of one call; an error in it names the part and the site that was reached."""
    tracer = poutine.trace(function)
    try:
        return tracer.get_trace(*args, **kwargs)
    except InputError as error:  # Pyro has written its trace below the sentence
        raise InputError(str(error).split("\n")[0]) from error
    except Exception as error:
        if isinstance(error, NotImplementedError) and "ImproperUniform" in str(error):
            raise InputError(f"a prior of the {part} is flat: {FLAT}") from error
        sites = list(sample_sites(tracer.trace))
        where = f"after site {sites[-1]!r}" if sites else "before its first site"
        shapes = ", ".join(str(tuple(a.shape)) for a in args if isinstance(a, Tensor))
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"the {part} raised {type(error).__name__} {where}: {reason}"
            + (f" (called with tensors of shape {shapes})" if shapes else "")
            + _not_finite(args)
        ) from error


def _not_finite(args: Any) -> str:
    for tensor in args:
        if isinstance(tensor, Tensor) and not torch.isfinite(tensor).all():
            first = (~torch.isfinite(tensor)).nonzero()[0].tolist()
            return f"; the data hold {tensor[tuple(first)]:g}, first at index {tuple(first)}"
    return ""


def _check_log_prob(part: str, trace: poutine.Trace) -> None:
    for name, site in sample_sites(trace).items():
        try:
            log_prob = site["fn"].log_prob(site["value"])
        except ValueError as error:
            if _has_no_mass_there(site):
                continue  # a likelihood may be zero
            raise InputError(_support_message(part, name, site, error)) from error
        if log_prob.isnan().any() or (log_prob == math.inf).any():
            raise InputError(
                f"the {part}'s log-probability at site {name!r} is {log_prob.max():g} "
                f"({site['fn']}, value of shape {tuple(site['value'].shape)})"
            )


def _check_data(trace: poutine.Trace) -> None:
    """What was observed lies in its distribution's support, or is NaN."""
    for name, site in observed_sites(trace).items():
        fn, value = site["fn"], site["value"]
        try:
            inside = fn.support.check(value)
        except (NotImplementedError, ValueError, RuntimeError):
            continue
        nan = value.isnan()
        while nan.dim() > inside.dim():
            nan = nan.any(-1)
        if not (inside | nan).all() and not _has_no_mass_there(site):
            raise InputError(_support_message("model", name, site, ValueError()))


def _check_shapes(part: str, trace: poutine.Trace, nesting: int) -> None:
    for name, site in sample_sites(trace).items():
        own = site["value"].shape[: site["value"].dim() - site["fn"].event_dim]
        shape = torch.broadcast_shapes(site["fn"].batch_shape, own)
        declared = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
        allowed = {frame.dim for frame in declared}
        wide = [d for d in range(-len(shape), 0) if shape[d] > 1 and d not in allowed]
        if wide:
            raise InputError(
                f"the {part}'s site {name!r} has log-probabilities of shape {tuple(shape)}, which "
                f"its plates do not explain at dimension {wide[0]}: add `.to_event(...)`, or a plate, or "
                f"mend the shapes of distribution {tuple(site['fn'].shape())} and value "
                f"{tuple(site['value'].shape)}"
            )


def _has_no_mass_there(site: Site) -> bool:
    """Whether a distribution itself gives what lies outside its support the probability 0."""
    unchecked = mock.patch.object(torch.distributions.Distribution, "_validate_sample")
    with unchecked, contextlib.suppress(ValueError, RuntimeError, IndexError):
        log_prob = site["fn"].log_prob(site["value"])
        inside = site["fn"].support.check(site["value"])
        return bool((log_prob[~inside] == -math.inf).all() and site["is_observed"])
    return False


def _support_message(part: str, name: str, site: Site, error: ValueError) -> str:
    base = site["fn"]
    while hasattr(base, "base_dist"):
        base = base.base_dist
    value = site["value"]
    kind = type(base).__name__
    if value.isnan().any():
        first = tuple(value.isnan().nonzero()[0].tolist())
        return f"the {part}'s site {name!r} got NaN, first at index {first}"
    if kind == "Bernoulli" and value.min() >= 0 and value.max() <= 1:
        return (
            f"site {name!r} is Bernoulli, which scores 0 and 1 only, but the data hold grey values "
            "in between: binarise them (--binarize stochastic), or use the likelihood "
            "ContinuousBernoulli or Normal"
        )
    if kind in ("Names", "Sentences"):
        inside = getattr(base.support, "base_constraint", base.support)
        wrong = value[~inside.check(value)]
        if len(wrong):
            last = int(inside.upper_bound)
            return (
                f"site {name!r} takes names by number, whole numbers from 0 to {last}, as num_tokens is "
                f"{last + 1}, but the data hold {wrong[0]:g}: set num_tokens to how many there are"
            )
    if value.shape and not site["fn"].support.check(value).all():
        return (
            f"the {part}'s site {name!r} got values between {value.min():g} and {value.max():g}, "
            f"outside the support of its {kind}: {site['fn'].support}"
        )
    return f"the {part}'s site {name!r} cannot be scored: {str(error).split(chr(10))[0]}"


def num_arguments(function: Callable[..., Any]) -> int | None:
    """How many positional arguments a callable needs; None where it takes any number.

    >>> num_arguments(lambda x, y=None: None)
    1
    """
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.default is p.empty and p.kind is not p.VAR_KEYWORD for p in parameters)


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


def latent_sites(trace: poutine.Trace) -> dict[str, Site]:
    return {n: s for n, s in sample_sites(trace).items() if not s["is_observed"]}


def observed_sites(trace: poutine.Trace) -> dict[str, Site]:
    return {n: s for n, s in sample_sites(trace).items() if s["is_observed"]}


def _check_match(model_trace: poutine.Trace, guide_trace: poutine.Trace) -> None:
    latents, proposed = latent_sites(model_trace), latent_sites(guide_trace)
    for name, site in proposed.items():
        if name not in model_trace.nodes and not site["infer"].get("is_auxiliary"):
            raise InputError(
                f"the guide samples {name!r}, which the model has not{nearest(name, latents)}"
            )
        if name in latents and latents[name]["value"] is not site["value"]:
            raise InputError(f"the model's site {name!r} does not take the guide's value")
    for name, site in latents.items():
        if name not in proposed and site["infer"].get("enumerate") != "parallel":
            raise InputError(
                f"the model samples {name!r}, which the guide has not: add "
                f"`pyro.sample({name!r}, ...)` to the guide, or, if it is discrete, have it summed "
                'out by `infer={"enumerate": "parallel"}` in the model'
            )
    for name, site in observed_sites(guide_trace).items():
        if not site["infer"].get("is_auxiliary"):
            raise InputError(f"the guide observes {name!r}; only the model may use `obs=`")


def _layout(model_trace: poutine.Trace, guide_trace: poutine.Trace, unit: str | None) -> Layout:
    stacks = [
        (name, site["cond_indep_stack"])
        for trace in (model_trace, guide_trace)
        for name, site in sample_sites(trace).items()
    ]
    frames = {frame.name: frame for _, stack in stacks for frame in stack if frame.vectorized}
    nesting = max((-frame.dim for frame in frames.values()), default=0)
    shared = [
        name for name in frames if all(any(f.name == name for f in stack) for _, stack in stacks)
    ]
    if unit is not None and not isinstance(unit, str):
        raise InputError(f"unit must be the name of a plate, not {unit!r}")
    if unit is not None and unit not in frames:
        raise InputError(f"there is no plate {unit!r}{nearest(unit, frames)}")
    if unit is not None and unit not in shared:
        beyond = sorted({n for n, stack in stacks if all(f.name != unit for f in stack)})
        raise InputError(
            f"plate {unit!r} does not hold {', '.join(map(repr, beyond))}: the evidence does not "
            "factorise over it"
        )
    latents, observed = latent_sites(model_trace), observed_sites(model_trace)
    shape: dict[str, Any] = {
        "nesting": nesting,
        "latents": tuple(latents),
        "observed": tuple(observed),
        "enumerated": tuple(n for n in latents if n not in guide_trace.nodes),
        "plates": {name: frame.size for name, frame in frames.items()},
        "flat": tuple(n for n, s in latents.items() if isinstance(s["fn"], ImproperUniform)),
        "marked": tuple(n for n, s in latents.items() if s["infer"].get("enumerate")),
    }
    subsampled = {n for n, f in frames.items() if f.full_size is not None and f.size < f.full_size}
    if unit is None and not shared:
        outside = tuple(n for n, s in latents.items() if not _vectorized(s["cond_indep_stack"]))
        without = outside or tuple(n for n, s in stacks if not _vectorized(s))
        return Layout(None, 0, 1, 1, outside=without, subsampled=tuple(subsampled), **shape)
    outermost = [frame.name for frame in stacks[0][1] if frame.name in shared]
    frame = frames[unit or outermost[0]]
    sizes = {s["fn"].batch_shape[frame.dim] for s in {**latents, **observed}.values()}
    return Layout(
        frame.name,
        frame.dim,
        max(sizes),
        frame.full_size or frame.size,
        outside=(),
        subsampled=tuple(subsampled - {frame.name}),
        **shape,
    )


def check_proper(model_trace: poutine.Trace) -> None:
    """:raises InputError: a latent has no distribution that it could be drawn from."""
    for name, site in latent_sites(model_trace).items():
        if isinstance(site["fn"], ImproperUniform):
            raise InputError(f"the prior of {name!r} is flat: {FLAT}")


def _vectorized(stack: Any) -> bool:
    return any(frame.vectorized for frame in stack)
