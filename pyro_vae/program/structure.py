"""What a program's sites and plates look like on one batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyro.distributions as dist
from pyro import poutine

from pyro_vae.errors import InputError, nearest
from pyro_vae.program.trace import (
    FLAT,
    Site,
    batch_of,
    drawn_sites,
    is_jacobian,
    latent_sites,
    observed_sites,
    sample_sites,
)


@dataclass(frozen=True)
class Structure:
    """What a program's sites and plates look like on one batch.

    ``unit`` is None where no plate holds every latent and observed site: the evidence is then a
    joint one, of the whole batch, and ``outside`` names the latents that make it so.
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
    flat: tuple[str, ...] = ()  # latents whose prior is no distribution: there is no evidence
    # plates within the unit, sequential ones too, that hold a part of what they stand for
    subsampled: tuple[str, ...] = ()
    without_prior: tuple[str, ...] = ()  # latents that count, and whose prior the model masks
    beyond: tuple[str, ...] = ()  # latents that the guide also draws where the prior has nothing
    holds_enumerated_only: bool = (
        False  # the model runs only where its latents take all their values
    )

    def units_of(self, rows: int) -> int:
        """How many units the ELBO of a batch of ``rows`` data stands for."""
        if self.unit is None or self.size != self.num_units:
            return self.size
        return rows

    def joined(self) -> "Structure":
        """The structure that takes all units together for one."""
        return replace(self, unit=None, dim=0, num_units=1, size=1)

    def resized(self, rows: int) -> "Structure":
        """The structure of a batch of another number of rows."""
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
    """Reads the plates of both traces, and finds the unit: the outermost plate that holds every site.

    :param num_rows: where the arguments are rows, how many: of several such plates one for rows is taken.
    :raises InputError: ``unit`` is not there or does not hold every site.
    """
    sites = [
        (name, site)
        for trace in (model_trace, guide_trace)
        for name, site in sample_sites(trace).items()
        if trace is model_trace or not site["is_observed"] or is_jacobian(site)
    ]
    stacks = [(name, site["cond_indep_stack"]) for name, site in sites]
    frames = _frames(sites)
    max_plate_nesting = max((-frame.dim for frame in frames.values()), default=0)
    shared = [name for name in frames if all(_holds(frames[name], site) for _, site in sites)]
    if unit is not None:
        _check_unit(unit, frames, sites)
    latents, observed = latent_sites(model_trace), observed_sites(model_trace)
    shape: dict[str, Any] = {
        "max_plate_nesting": max_plate_nesting,
        "latents": tuple(latents),
        "observed": tuple(observed),
        "enumerated": tuple(n for n in latents if n not in drawn_sites(guide_trace)),
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
        outside = tuple(n for n, s in latents.items() if not _in_some_plate(s))
        without = outside or tuple(n for n, s in sites if not _in_some_plate(s))
        return Structure(
            None, 0, 1, 1, outside=without, subsampled=tuple(sorted(subsampled)), **shape
        )
    outermost = [frame.name for frame in stacks[0][1] if frame.name in shared]
    of_rows = [n for n in outermost if (frames[n].full_size or frames[n].size) == num_rows]
    frame = frames[unit or (of_rows or outermost)[0]]
    return Structure(
        frame.name,
        frame.dim,
        frame.size,
        frame.full_size or frame.size,
        outside=(),
        subsampled=tuple(sorted(subsampled - {frame.name})),
        **shape,
    )


def _frames(sites: Sequence[tuple[str, Site]]) -> dict[str, Any]:
    """The plates that are entered at once, by name; one without a size is as long as its longest site."""
    frames: dict[str, Any] = {}
    for _, site in sites:
        for frame in site["cond_indep_stack"]:
            if frame.vectorized and frame.size > getattr(frames.get(frame.name), "size", -1):
                frames[frame.name] = frame
    return frames


def _holds(frame: Any, site: Site) -> bool:
    """Whether a site has a value of its own for each unit of a plate.

    Pyro gives it one, but in a plate without a size, where one value may stand for all.
    """
    shape = batch_of(site)
    own = shape[frame.dim] if len(shape) >= -frame.dim else 1
    return own == frame.size and any(f.name == frame.name for f in site["cond_indep_stack"])


def _check_unit(unit: Any, frames: Mapping[str, Any], sites: Sequence[tuple[str, Site]]) -> None:
    if not isinstance(unit, str):
        raise InputError(f"unit must be the name of a plate, not {unit!r}")
    stacks = [frame for _, site in sites for frame in site["cond_indep_stack"]]
    if any(frame.name == unit and not frame.vectorized for frame in stacks):
        raise InputError(
            f"plate {unit!r} is a loop, and units are those of a plate that is entered at once: "
            f"`with pyro.plate({unit!r}, ...):`"
        )
    if unit not in frames:
        known = nearest(unit, frames) if frames else ", nor any other that is entered at once"
        raise InputError(f"there is no plate {unit!r}{known}")
    beyond = sorted({name for name, site in sites if not _holds(frames[unit], site)})
    if beyond:
        raise InputError(
            f"plate {unit!r} does not hold {', '.join(map(repr, beyond))}: the evidence does not "
            "factorise over it"
        )


def _in_some_plate(site: Site) -> bool:
    return any(frame.vectorized for frame in site["cond_indep_stack"])


def check_proper(structure: Structure) -> None:
    """:raises InputError: a latent has no distribution that it could be drawn from."""
    for name in structure.flat:
        raise InputError(f"the prior of {name!r} is flat: {FLAT}")
