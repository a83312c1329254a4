"""The model run at draws of its latents."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.allocations import Allocations
from pyro_vae.inference.evidence.tiles import fitting_particles
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.site_layout import SiteLayout
from pyro_vae.program.vmap import map_runs

Values = Mapping[str, Tensor]
Run = Callable[[int, dict[str, Tensor]], dict[str, Tensor]]
"""Runs so many chains at given values, ``K | batch | event``, or one without K; returns what it reads."""


def each_particle(
    bound_program: BoundProgram, run: Run, num_particles: int, values: Values
) -> dict[str, Tensor]:
    """Return what ``run`` reads for each of K particles: together, by vmap or one by one.

    Args:
        bound_program: the call, which knows how it runs many chains.
        run: the runs.
        num_particles: K.
        values: of each particle, ``K | batch | event``.
    """
    if bound_program.vectorized:
        return run(num_particles, dict(values))
    mapped = bound_program.try_vmap(
        lambda: map_runs(lambda one: run(1, one), num_particles, dict(values))
    )
    if mapped is not None:
        return cast(dict[str, Tensor], mapped)
    rows = [run(1, {name: v[k] for name, v in values.items()}) for k in range(num_particles)]
    names = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: torch.stack([row[name] for row in rows]) for name in names}


def in_parts(
    bound_program: BoundProgram, run: Run, num_particles: int, values: Values
) -> dict[str, Tensor]:
    """Return what :func:`each_particle` does, for as many particles at a time as suit the memory."""
    at_once = particles_at_once(bound_program)
    parts = []
    for first in range(0, num_particles, at_once):
        some = {name: value[first : first + at_once] for name, value in values.items()}
        count = min(at_once, num_particles - first)
        parts.append(each_particle(bound_program, run, count, some))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def particles_at_once(bound_program: BoundProgram) -> int:
    """Return how many particles the model runs at a time, by the size of its tensors."""
    single, units = bound_program.single(), bound_program.structure.num_units
    with Allocations() as allocations:
        single.joint(1, single.guide(1))
    return fitting_particles(allocations.bytes / units, units, bound_program.device)


def trace_of(values: Values) -> poutine.Trace:
    """Return a trace to replay, which holds the values of latents and nothing else."""
    trace = poutine.Trace()
    for name, value in values.items():
        node: dict[str, Any] = {
            "type": "sample", "name": name, "is_observed": False, "infer": {}, "value": value,
        }  # fmt: skip
        trace.add_node(name, **node)
    return trace


def placed(
    draws: Values, layouts: Mapping[str, SiteLayout], bound_program: BoundProgram
) -> dict[str, Tensor]:
    """Return draws ``K | plates | event`` in the shapes of the program, on its device."""
    structure, has_plate = bound_program.structure, bound_program.vectorized
    return {
        name: layouts[name].placed(draw.to(bound_program.device), structure, has_plate)
        for name, draw in draws.items()
    }


def named(
    values: Values,
    layouts: Mapping[str, SiteLayout],
    num_particles: int,
    bound_program: BoundProgram,
) -> dict[str, Tensor]:
    """Return values in the shapes of the program as draws ``K | plates | event``."""
    structure, has_plate = bound_program.structure, bound_program.vectorized
    return {
        name: layouts[name].named(value, num_particles, structure, has_plate)
        for name, value in values.items()
    }
