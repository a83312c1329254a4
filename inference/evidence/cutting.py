"""Whether data can be cut into units, each with an evidence of its own, and into tiles of rows."""

from dataclasses import dataclass, replace

import pyro
import torch

from pyro_vae.allocations import Allocations
from pyro_vae.data import Batches
from pyro_vae.errors import InputError
from pyro_vae.inference.checks.independence import check_data_are_independent, coupled
from pyro_vae.inference.checks.many_rows import on_many_rows
from pyro_vae.inference.checks.noise import noise
from pyro_vae.inference.checks.row_order import place_matters
from pyro_vae.inference.checks.spread import check_every_value_is_drawn
from pyro_vae.inference.evidence.binding import bind_rows
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.isolation import as_found, seed_all
from pyro_vae.program.particles import draw, score_model
from pyro_vae.program.probe import PROBE_SEED, examined_traces
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import drawn_sites
from pyro_vae.program.vectorization import with_fastest_chains

UNMOVED = (
    "no latent of the guide moves the likelihood: log p(x) here is that of the observed sites alone. If "
    "the model integrates its latents itself (as contrib.gp's VariationalGP does), this is not its evidence"
)


@dataclass(frozen=True)
class Cut:
    """Hold the call that shows the program, on a few units or on all, and notes on it.

    ``example.by_rows`` says whether the rows can be cut into tiles.
    """

    example: BoundProgram
    notes: tuple[str, ...]


def cut_into_units(
    example: BoundProgram, rows: Batches | None, unit: str | None, initial: as_found
) -> Cut:
    """Find out whether units are independent of one another, and rows of their places.

    Args:
        example: the call on a few rows, or on all.
        rows: all data; None for a call with given arguments.
        unit: the plate that the user has named, if any.
        initial: the program's state before any call.

    Raises:
        InputError: the units of the plate that the user has named depend on one another.
    """
    with pyro.validation_enabled(False):
        check_every_value_is_drawn(examined_traces(example))
        example = with_fastest_chains(replace(example, noise=noise(example)))
        why_joint: str | None = None
        if example.noise is None:  # with noise, a second run shows nothing
            example, why_joint = _cut(example, rows, unit, initial)
        notes = (why_joint,) if why_joint else joint_note(example.structure)
        examined = example.examined.notes if example.examined else ()
        return Cut(example, (*notes, *examined, *unmoved_note(example)))


def _cut(
    example: BoundProgram, rows: Batches | None, unit: str | None, initial: as_found
) -> tuple[BoundProgram, str | None]:
    """Return the call on a few units, where the data can be cut; or that on all, and the reason."""
    if coupled(example):
        plate = example.structure.unit
        if unit is not None:
            raise InputError(
                f"the density of a unit of plate {unit!r} depends on the latents of other units, in model "
                "or guide, so no unit has an evidence of its own",
                subject=unit,
                remedy="leave `unit` out for one joint figure of all",
            )
        whole = _on_all_rows(example, rows, initial)
        return replace(whole, structure=whole.structure.joined(), examined=None, pair=None), (
            f"one joint figure of all data: the density of a unit of plate {plate!r} depends on the "
            "latents of other units, in model or guide, so the evidence does not factorise over them"
        )
    if rows is None or not example.by_rows:
        return example, None
    if check_data_are_independent(example):
        try:
            if not place_matters(_without_refinement(_on_many_rows(example, rows, initial))):
                return example, None
        except InputError:  # of later rows; the message comes with their tile
            return example, None
    return _on_all_rows(example, rows, initial), (
        "the score of a row depends on its place among the data, as where a model indexes a tensor of its "
        f"own by the plate's indices: all {rows.num_units:,} rows were taken in one piece, in their order. "
        "Pass that tensor as a second tensor of the data to have them taken in tiles"
    )


def _on_all_rows(example: BoundProgram, rows: Batches | None, initial: as_found) -> BoundProgram:
    if rows is None or not example.by_rows:
        return example
    initial.restore()
    index = torch.arange(rows.num_units)
    whole = bind_rows(example.program, rows, example.structure.unit, index, strict=False)
    return with_fastest_chains(whole)


def _without_refinement(bound_program: BoundProgram) -> BoundProgram:
    """Return the call with a guide that does not fit itself to its batch: the noise of a fit has places."""
    guide = bound_program.program.unrefined_guide
    return (
        bound_program
        if guide is None
        else replace(bound_program, program=replace(bound_program.program, guide=guide))
    )


def _on_many_rows(example: BoundProgram, rows: Batches, initial: as_found) -> BoundProgram:
    with Allocations() as allocations:
        draw(example, 1)
    many = on_many_rows(example, rows, allocations.bytes)
    if many.structure.num_units != example.structure.num_units:
        initial.restore()
    return many


# --- notes ------------------------------------------------------------------------------------


def joint_note(structure: Structure) -> tuple[str, ...]:
    """Return a note where the evidence does not factorise."""
    if structure.unit is not None:
        return ()
    if not structure.outside:
        plates = ", ".join(map(repr, structure.plates))
        why = f"no plate holds every site (there are {plates})" if plates else "there is no site"
        return (
            f"one joint figure of all data: {why}, so the evidence does not factorise over data; where "
            "model and guide mean one plate, they must give it one name",
        )
    of_model = [name for name in structure.outside if name in structure.latents]
    outside = of_model or structure.outside  # a guide's auxiliary draws mean nothing to the user
    names = ", ".join(map(repr, outside[:5]))
    more = f" and {len(outside) - 5} more" if len(outside) > 5 else ""
    lie = "lie" if len(outside) > 1 else "lies"
    return (
        f"one joint figure of all data: {names}{more} {lie} outside every plate that the other sites "
        "share, so the evidence does not factorise over data",
    )


def unmoved_note(example: BoundProgram) -> tuple[str, ...]:
    """Return a note where two draws of the guide give the data one likelihood."""
    structure, examined = example.structure, example.examined
    latents = [name for name in structure.latents if name not in structure.enumerated]
    if not latents or not structure.observed or examined is None or structure.enumerated:
        return ()
    seed_all(PROBE_SEED)
    other = example.pair.particles(structure) if example.pair else draw(example, 1)
    changed = all(
        name in other.latents and bool((other.latents[name][0] != site["value"]).all())
        for name, site in drawn_sites(examined.guide).items()
        if name in latents
    )
    log_likelihood = score_model(examined.model, structure, 1)[0]
    finite = log_likelihood.isfinite() & (log_likelihood != 0)  # an indicator that is met is 0
    same = log_likelihood == other.log_likelihood[:1]
    return (UNMOVED,) if changed and bool(finite.any()) and bool(same[finite].all()) else ()
