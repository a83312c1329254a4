"""Whether a program's units are independent of one another: of others' latents, and of others' data."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.isolation import seed_all
from pyro_vae.program.particles import is_per_particle
from pyro_vae.program.probe import (
    PROBE_SEED,
    Traces,
    draw_traces,
    examined_traces,
    moves,
    other_value,
    rerun,
    rerun_model,
)
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import Site, drawn_sites, is_point_mass, latent_sites

PARTITIONS = 5  # of the units in two; up to 2**5 units every pair is in different halves once
AT_ONCE = 1024  # units that are tried in all partitions at once


def coupled(bound_program: BoundProgram) -> bool:
    """Return whether, in model or guide, a unit's density changes with the latents of others.

    Half of the units get other latents, and the scores of the other half are compared; then the other way
    round, for several ways to cut the units in two.
    """
    units = bound_program.structure.num_units
    if bound_program.structure.unit is None or units < 2:
        return False
    seed_all(0)
    numbers = torch.randperm(units)
    bits = [numbers >> bit & 1 == 1 for bit in range(min(PARTITIONS, (units - 1).bit_length()))]
    changed = torch.stack([side for half in bits for side in (half, ~half)])
    if (
        bound_program.vectorized
        and units <= AT_ONCE
        and not _coupled_in_particles(bound_program, changed)
    ):
        return False
    # noise may have differed from particle to particle
    single, structure = bound_program.single(), bound_program.structure
    first = examined_traces(single)
    before = first.scores(structure)
    for i, row in enumerate(changed.split(1)):
        seed_all(PROBE_SEED + i)
        other = draw_traces(single)
        value = partial(_mixed_with, other=other, changed=row, structure=structure)
        mixed = rerun(single, first, value)
        if _others_move(before, mixed.scores(structure), row):
            return True
    return False


def coupled_in_one_split(bound_program: BoundProgram, first: Traces, fine: bool = False) -> bool:
    """Return whether units score differently when half of them, at random, get other latents.

    Quicker than :func:`coupled`, and less certain.
    """
    structure = bound_program.structure
    if structure.unit is None or structure.num_units < 2 or structure.size != structure.num_units:
        return False
    seed_all(1)
    changed = torch.randperm(structure.num_units) % 2 == 1

    def mixed(site: Site) -> Tensor:
        if site["name"] in structure.enumerated or is_point_mass(site["fn"]):
            return cast(Tensor, site["value"])
        return torch.where(_along(changed, site, structure), other_value(site), site["value"])

    before, after = (
        traces.scores(structure) for traces in (first, rerun(bound_program, first, mixed))
    )
    return _others_move(before, after, changed, fine)


def check_data_are_independent(bound_program: BoundProgram) -> bool:
    """Check that a datum's density does not depend on the other data of its batch.

    In a batch, the first half replaces the second, and is scored at the same latents.

    Returns:
        False if the program does not take such data, as one that needs its rows in order.

    Raises:
        InputError: the density depends on the other data.
    """
    half = bound_program.structure.num_units // 2
    order = torch.cat([torch.arange(half), torch.arange(bound_program.structure.num_units - half)])
    first = examined_traces(bound_program)
    try:
        model = rerun_model(with_rows(bound_program.single(), order), first)
    except InputError:
        return False
    structure = bound_program.structure
    before, after = first.scores(structure), Traces(first.guide, model).scores(structure)
    for name, score in after.items():
        was, now = before[name][0, :half], score[0, :half]
        if bool(moves(was, now).any()):
            raise InputError(
                "the model's density of a datum depends on the other data of its batch (by up to "
                f"{float((was - now).abs().max()):.3g} nats at {name}, when these change), so there is no "
                f"log p(x) of a unit of plate {structure.unit!r}",
                subject=structure.unit,
                remedy="leave statistics of the batch out of the model",
            )
    return True


def with_rows(bound_program: BoundProgram, order: Tensor) -> BoundProgram:
    """Return the call on its own rows in another order, some of them several times."""
    args = tuple(rows[order.to(rows.device)] for rows in bound_program.args)
    return replace(bound_program, args=args)


def _others_move(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], changed: Tensor, fine: bool = False
) -> bool:
    """Return whether the score of a unit moves whose own latents are not changed."""
    return any(
        bool((moves(before[name], after[name], fine) & ~changed).any())
        for name in before.keys() & after.keys()
    )


def _coupled_in_particles(bound_program: BoundProgram, changed: Tensor) -> bool:
    """Return whether units move when those that are ``changed``, (V, U), get other latents, at once."""
    structure, pair = bound_program.structure, bound_program.pair
    if pair is None or structure.enumerated:
        pair = draw_traces(bound_program, 2)
    masks = torch.cat([changed.new_zeros(1, changed.shape[1]), changed])
    mixed = rerun(bound_program, pair, lambda site: _mixed(site, masks, structure), len(masks))
    scores = mixed.scores(structure)
    return _others_move(
        {name: score[:1] for name, score in scores.items()},
        {name: score[1:] for name, score in scores.items()},
        changed,
    )


def _mixed(site: Site, changed: Tensor, structure: Structure) -> Tensor:
    """Return the first of two particles' values, but the second's for the units of a mask, (V, U)."""
    value: Tensor = site["value"]
    if not is_per_particle(site, structure):
        return value
    return torch.where(_along(changed, site, structure), value[1:], value[:1])


def _mixed_with(site: Site, other: Traces, changed: Tensor, structure: Structure) -> Tensor:
    """Return a site's value, but that of another run for some units, (1, U)."""
    value: Tensor = site["value"]
    sites = {**latent_sites(other.model), **drawn_sites(other.guide)}
    there: Tensor = sites.get(site["name"], site)["value"]
    if there.shape != value.shape:  # of another size each time it is drawn
        return value
    return torch.where(_along(changed[0], site, structure), there, value)


def _along(mask: Tensor, site: Site, structure: Structure) -> Tensor:
    """Return a mask over units, (V, U) or (U), in the shape of a site's value."""
    behind = -structure.dim - 1 + site["fn"].event_dim
    between = site["value"].dim() - behind - mask.dim()
    mask = mask.to(site["value"].device)
    return mask.reshape(*mask.shape[:-1], *(1,) * between, mask.shape[-1], *(1,) * behind)
