"""Which plates hold the rows of a batch, and have to count for all rows."""

from collections.abc import Collection, Container

import torch
from pyro import poutine

from pyro_vae.data import Batch, Batches
from pyro_vae.errors import InputError
from pyro_vae.inference.svi.minibatching import is_in_plates
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import Program
from pyro_vae.program.examination import Examination, examine
from pyro_vae.program.isolation import as_found, undisturbed
from pyro_vae.program.probe import Traces, model_at, moves
from pyro_vae.program.trace import (
    Site,
    drawn_sites,
    is_factor,
    observed_sites,
    plate_scale,
    sample_sites,
)


def plates_to_scale(
    examined: Examination, args: Batch, program: Program, train: Batches, seed: int
) -> frozenset[str]:
    """Return the plates that grow with the batch ``args`` and do not scale by themselves.

    Raises:
        InputError: no plate holds some data, so that nothing could make a batch count for all of them.
    """
    rows, count = len(args[0]), train.num_units
    is_all = rows == count  # then fewer rows show whether they would count for all
    fewer = rows // 2 if is_all else rows - 1 or 2
    fewer_args = next(train.take(torch.arange(fewer), fewer))
    smaller = _examined_on_fewer(examined, fewer_args, program, seed, rows, count)
    sizes, smaller_sizes = (
        _plate_sizes(e.model) | _plate_sizes(e.guide) for e in (examined, smaller)
    )
    grow = {n for n, size in sizes.items() if size == rows and smaller_sizes.get(n) == fewer}
    _check_data_in_plates(examined, fewer_args, grow, rows, count)
    sites, marked = sample_sites(examined.model), examined.structure.marked
    summed_out = next((name for name in marked if not is_in_plates(sites[name], grow)), None)
    if summed_out is not None:
        raise InputError(
            f"{summed_out!r} is summed out and shared by all rows, so {rows:,} of them cannot count for "
            f"all {count:,}",
            subject=summed_out,
            remedy=f"take batch_size={count}",
        )
    trial, factor = (smaller, rows / fewer) if is_all else (examined, count / rows)
    return frozenset() if _scales_itself(trial, grow, factor) else frozenset(grow)


def _examined_on_fewer(
    examined: Examination, args: Batch, program: Program, seed: int, rows: int, count: int
) -> Examination:
    found = as_found(program.modules, program.model, program.guide)
    try:
        with undisturbed(program, seed), found, torch.no_grad():
            return examine(examined.program, *args)
    except InputError as error:
        raise InputError(
            f"the program takes {rows:,} rows and no fewer, so a batch of them cannot count for all "
            f"{count:,}: {error}",
            subject="batch_size",
        ) from error


def _check_data_in_plates(
    examined: Examination, fewer_args: Batch, grow: Collection[str], rows: int, count: int
) -> None:
    """Check that a plate in ``grow``, or of all rows, holds each observed site made of a batch."""
    replayed = _at_the_same_latents(examined, fewer_args, grow)
    for name, site in observed_sites(examined.model).items():
        frames = site["cond_indep_stack"]
        in_plate = any(f.name in grow or (f.full_size or f.size) == count for f in frames)
        if not in_plate and (name not in replayed or _differs(site, replayed[name])):
            raise InputError(
                f"site {name!r} holds the rows of a batch, and no plate does, so {rows:,} of them cannot "
                f"count for all {count:,}",
                subject=name,
                remedy=f"put it in a plate (`with pyro.plate(...)` around it), or take batch_size={count}",
            )


def _at_the_same_latents(
    examined: Examination, args: Batch, grow: Collection[str]
) -> dict[str, Site]:
    """Return the model's sites on fewer rows, at the latents that all rows share."""
    latents = Traces(examined.guide, examined.model).latents()
    of_rows = [n for n, site in drawn_sites(latents).items() if is_in_plates(site, grow)]
    for name in latents.nodes.keys() & {*of_rows, *grow}:  # a plate that is replayed keeps its size
        latents.remove_node(name)
    bound_program = BoundProgram(examined.program, examined.structure, False, args)
    with torch.no_grad():
        return sample_sites(model_at(bound_program, latents))


def _differs(one: Site, other: Site) -> bool:
    """Return whether a site, at the same latents, changes with the rows: it holds or uses them."""
    if not is_factor(one) and not torch.equal(one["value"], other["value"]):
        return True
    scores = [site["fn"].log_prob(site["value"]).sum() for site in (one, other)]
    return bool(moves(*scores).any())


def _scales_itself(examined: Examination, plates: Container[str], factor: float) -> bool:
    """Return whether a program scales what lies in the plates by the factor (``poutine.scale``)."""
    sites = [s for s in sample_sites(examined.model).values() if is_in_plates(s, plates)]
    shares = [torch.as_tensor(s["scale"] / plate_scale(s) / factor) for s in sites]
    return bool(sites) and all(bool(((share - 1).abs() < 1e-4).all()) for share in shares)


def _plate_sizes(trace: poutine.Trace) -> dict[str, int]:
    """Return how many units each plate stands for."""
    stacks = (site["cond_indep_stack"] for site in sample_sites(trace).values())
    return {frame.name: frame.full_size or frame.size for stack in stacks for frame in stack}
