"""A program's sites, plates and units on one batch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyro.distributions as dist
import torch
from pyro import poutine

from pyro_vae.errors import InputError, unknown
from pyro_vae.program.trace import (
    FLAT,
    FLAT_REMEDY,
    FlatPrior,
    Site,
    batch_of,
    drawn_sites,
    is_jacobian,
    latent_sites,
    observed_sites,
    sample_sites,
)

CPU = torch.device("cpu")
PARTICLES = "_particles"  # the plate over particles, left of every plate of the program


@dataclass(frozen=True)
class Structure:
    """Hold a program's sites, plates and units on one batch.

    ``unit`` is None where no plate holds every latent and observed site: there is one joint evidence of
    the whole batch, and ``outside`` names the latents that are shared.
    """

    unit: str | None
    dim: int  # the unit plate's dimension, counted from the right
    num_units: int  # units in this batch; 1 for a joint evidence
    size: int  # units that the plate stands for (more than num_units when it is subsampled)
    max_plate_nesting: int  # how many dimensions on the right belong to plates
    latents: tuple[str, ...]
    observed: tuple[str, ...]
    outside: tuple[str, ...]
    enumerated: tuple[str, ...]  # latents of the model alone, to be summed out
    plates: Mapping[str, int]
    marked: tuple[str, ...] = ()  # latents that training is to sum over, in model or guide
    flat: tuple[str, ...] = ()  # latents with an improper prior: there is no evidence
    # plates within the unit, sequential ones too, that hold a part of the units they stand for
    subsampled: tuple[str, ...] = ()
    without_prior: tuple[str, ...] = ()  # latents that count, and whose prior the model masks
    beyond: tuple[str, ...] = ()  # latents that the guide draws outside the prior's support, too
    holds_enumerated_only: bool = False  # the model runs only if its latents take all their values
    device: torch.device = CPU  # of the sites' values

    def units_of(self, rows: int) -> int:
        """Return how many units the ELBO of a batch of ``rows`` data stands for."""
        if self.unit is None or self.size != self.num_units:
            return self.size
        return rows

    def joined(self) -> "Structure":
        """Return the structure that takes all units together for one."""
        return replace(self, unit=None, dim=0, num_units=1, size=1)

    def resized(self, rows: int) -> "Structure":
        """Return the structure of a batch of another number of rows."""
        if self.unit is None:
            return self
        size = self.size if self.size != self.num_units else rows
        return replace(self, num_units=rows, size=size)


def read_structure(
    model_trace: poutine.Trace,
    guide_trace: poutine.Trace,
    unit: str | None = None,
    num_rows: int | None = None,
) -> Structure:
    """Read the plates of both traces, and find the unit: the outermost plate that holds every site.

    Args:
        model_trace: of the model at the guide's draws.
        guide_trace: of the guide.
        unit: the name of the unit's plate, if the caller chooses it.
        num_rows: the number of rows, if the arguments are rows: of several outermost plates the one of
            that length is the unit.

    Raises:
        InputError: there is no plate ``unit``, or it does not hold every site.
    """
    sites = [
        (name, site)
        for trace in (model_trace, guide_trace)
        for name, site in sample_sites(trace).items()
        if trace is model_trace or not site["is_observed"] or is_jacobian(site)
    ]
    frames = _frames(sites)
    shared = [name for name in frames if all(_holds(frames[name], site) for _, site in sites)]
    if unit is not None:
        _check_unit(unit, frames, sites)
    shape = _shape(model_trace, guide_trace, frames)
    subsampled = _subsampled(sites)
    if unit is None and not shared:
        shared_latents = _outside_plates(latent_sites(model_trace).items())
        outside = shared_latents or _outside_plates(sites)
        whole = tuple(sorted(subsampled))
        return Structure(None, 0, 1, 1, outside=outside, subsampled=whole, **shape)
    outermost = [f.name for f in sites[0][1]["cond_indep_stack"] if f.name in shared]
    of_rows = [n for n in outermost if (frames[n].full_size or frames[n].size) == num_rows]
    frame = frames[unit or (of_rows or outermost)[0]]
    within = tuple(sorted(subsampled - {frame.name}))
    size = frame.full_size or frame.size
    return Structure(
        frame.name, frame.dim, frame.size, size, outside=(), subsampled=within, **shape
    )


def _shape(
    model_trace: poutine.Trace, guide_trace: poutine.Trace, frames: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of a structure that do not depend on the unit."""
    latents, drawn = latent_sites(model_trace), drawn_sites(guide_trace)
    sites = [*sample_sites(model_trace).values(), *sample_sites(guide_trace).values()]
    devices = {site["value"].device for site in sites} - {CPU}  # where a number has become a tensor
    return {
        "device": next(iter(devices), CPU),
        "max_plate_nesting": max((-frame.dim for frame in frames.values()), default=0),
        "latents": tuple(latents),
        "observed": tuple(observed_sites(model_trace)),
        "enumerated": tuple(n for n in latents if n not in drawn),
        "plates": {name: frame.size for name, frame in frames.items()},
        "flat": tuple(n for n, s in latents.items() if isinstance(s["fn"], dist.ImproperUniform)),
        "marked": tuple(n for n, s in latents.items() if s["infer"].get("enumerate")),
    }


def _subsampled(sites: Sequence[tuple[str, Site]]) -> set[str]:
    """Return the plates, sequential ones too, that take a subsample."""
    return {
        frame.name
        for _, site in sites
        for frame in site["cond_indep_stack"]
        if frame.full_size is not None and frame.size < frame.full_size
    }


def _frames(sites: Sequence[tuple[str, Site]]) -> dict[str, Any]:
    """Return the vectorized plates by name; one without a size is as long as its longest site."""
    frames: dict[str, Any] = {}
    for _, site in sites:
        for frame in site["cond_indep_stack"]:
            if frame.vectorized and frame.size > getattr(frames.get(frame.name), "size", -1):
                frames[frame.name] = frame
    return frames


def _holds(frame: Any, site: Site) -> bool:
    """Return whether a site has its own value for each unit of a plate.

    Pyro gives it one, except in a plate without a size, where all units may share a value.
    """
    shape = batch_of(site)
    size = shape[frame.dim] if len(shape) >= -frame.dim else 1
    return size == frame.size and any(f.name == frame.name for f in site["cond_indep_stack"])


def _check_unit(unit: Any, frames: Mapping[str, Any], sites: Sequence[tuple[str, Site]]) -> None:
    if not isinstance(unit, str):
        raise InputError(
            f"unit must be the name of a plate, not {unit!r}",
            subject="unit",
            expected="the name of a plate",
        )
    stacks = [frame for _, site in sites for frame in site["cond_indep_stack"]]
    if any(frame.name == unit and not frame.vectorized for frame in stacks):
        raise InputError(
            f"plate {unit!r} is a loop",
            subject=unit,
            expected="a vectorized plate",
            remedy=f"write `with pyro.plate({unit!r}, ...):`",
        )
    if unit not in frames:
        others = "" if frames else ", nor any other vectorized plate"
        raise unknown(f"there is no plate {unit!r}{others}", unit, frames)
    outside = sorted({name for name, site in sites if not _holds(frames[unit], site)})
    if outside:
        raise InputError(
            f"plate {unit!r} does not hold {', '.join(map(repr, outside))}, so the evidence does not "
            "factorise over it",
            subject=unit,
            remedy="leave `unit` out, or put these sites in that plate",
        )


def _outside_plates(sites: Iterable[tuple[str, Site]]) -> tuple[str, ...]:
    """Return the names of the sites that lie in no vectorized plate."""
    return tuple(n for n, s in sites if not any(f.vectorized for f in s["cond_indep_stack"]))


def check_proper(structure: Structure) -> None:
    """Check that every latent has a prior that it could be drawn from.

    Raises:
        FlatPrior: a prior is flat.
    """
    for name in structure.flat:
        raise FlatPrior(f"the prior of {name!r} is flat: {FLAT}", subject=name, remedy=FLAT_REMEDY)
