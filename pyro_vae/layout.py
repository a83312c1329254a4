"""What a program's sites and plates look like on one batch, and whether they fit one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.util import enable_validation
from torch import Tensor

from pyro_vae.errors import InputError, nearest
from pyro_vae.program import Program
from pyro_vae.traces import declared_events, latent_sites, observed_sites, run, sample_sites
from pyro_vae.validity import check_data, check_log_prob


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
    # plates within the unit, sequential ones too, that hold a part of what they stand for
    subsampled: tuple[str, ...] = ()

    def units_of(self, rows: int) -> int:
        """How many units the ELBO of a batch of ``rows`` data stands for."""
        if self.unit is None or self.size != self.num_units:
            return self.size
        return rows

    def joined(self) -> "Layout":
        """The layout that takes all units together for one."""
        return replace(self, unit=None, dim=0, num_units=1, size=1)

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
            check_log_prob("guide", guide_trace)
            check_log_prob("model", model_trace)
        else:
            check_data(model_trace)
    _check_match(model_trace, guide_trace)
    layout = _layout(model_trace, guide_trace, unit)
    for part, trace in (("guide", guide_trace), ("model", model_trace)):
        _check_shapes(part, trace, layout.nesting)
    return layout


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
        if name in proposed or site["infer"].get("enumerate") == "parallel":
            continue
        if site["infer"].get("enumerate"):
            raise InputError(
                f"the model's site {name!r} is marked enumerate={site['infer']['enumerate']!r}; latents "
                'are summed out in parallel only: mark it `infer={"enumerate": "parallel"}`'
            )
        raise InputError(
            f"the model samples {name!r}, which the guide has not: add "
            f"`pyro.sample({name!r}, ...)` to the guide, or, if it is discrete, have it summed "
            'out by `infer={"enumerate": "parallel"}` in the model'
        )
    for name, site in observed_sites(guide_trace).items():
        if not site["infer"].get("is_auxiliary"):
            raise InputError(f"the guide observes {name!r}; only the model may use `obs=`")


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
        if not _fits_as_declared(site["fn"], site["value"]):
            raise InputError(
                f"the {part}'s site {name!r} has a distribution of shape {tuple(site['fn'].shape())} "
                f"(batch | event), but a value of shape {tuple(site['value'].shape)}: they fit by "
                "broadcasting only, which counts the same numbers more than once"
            )


def _fits_as_declared(fn: Any, value: Tensor) -> bool:
    """Whether a value is as long as its distribution in the dimensions that ``to_event`` made events.

    The others are the distribution's own affair: a hidden Markov model of one step stands for any number.
    """
    declared, own = declared_events(fn), value.shape[value.dim() - fn.event_dim :]
    return value.dim() >= fn.event_dim and own[:declared] == fn.event_shape[:declared]


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
    if unit is not None:
        _check_unit(unit, frames, stacks)
    latents, observed = latent_sites(model_trace), observed_sites(model_trace)
    shape: dict[str, Any] = {
        "nesting": nesting,
        "latents": tuple(latents),
        "observed": tuple(observed),
        "enumerated": tuple(n for n in latents if n not in guide_trace.nodes),
        "plates": {name: frame.size for name, frame in frames.items()},
        "flat": tuple(n for n, s in latents.items() if isinstance(s["fn"], dist.ImproperUniform)),
        "marked": tuple(n for n, s in latents.items() if s["infer"].get("enumerate")),
    }
    subsampled = {  # of a sequential plate, too
        frame.name
        for _, stack in stacks
        for frame in stack
        if frame.full_size is not None and frame.size < frame.full_size
    }
    if unit is None and not shared:
        outside = tuple(n for n, s in latents.items() if not _vectorized(s["cond_indep_stack"]))
        without = outside or tuple(n for n, s in stacks if not _vectorized(s))
        return Layout(None, 0, 1, 1, outside=without, subsampled=tuple(sorted(subsampled)), **shape)
    outermost = [frame.name for frame in stacks[0][1] if frame.name in shared]
    frame = frames[unit or outermost[0]]
    sizes = {s["fn"].batch_shape[frame.dim] for s in {**latents, **observed}.values()}
    return Layout(
        frame.name,
        frame.dim,
        max(sizes),
        frame.full_size or frame.size,
        outside=(),
        subsampled=tuple(sorted(subsampled - {frame.name})),
        **shape,
    )


def _check_unit(unit: Any, frames: Mapping[str, Any], stacks: Sequence[tuple[str, Any]]) -> None:
    if not isinstance(unit, str):
        raise InputError(f"unit must be the name of a plate, not {unit!r}")
    if any(frame.name == unit and not frame.vectorized for _, stack in stacks for frame in stack):
        raise InputError(
            f"plate {unit!r} is a loop, and units are those of a plate that is entered at once: "
            f"`with pyro.plate({unit!r}, ...):`"
        )
    if unit not in frames:
        known = nearest(unit, frames) if frames else ", nor any other that is entered at once"
        raise InputError(f"there is no plate {unit!r}{known}")
    beyond = sorted({name for name, stack in stacks if all(f.name != unit for f in stack)})
    if beyond:
        raise InputError(
            f"plate {unit!r} does not hold {', '.join(map(repr, beyond))}: the evidence does not "
            "factorise over it"
        )


def _vectorized(stack: Any) -> bool:
    return any(frame.vectorized for frame in stack)
