"""Importance sampling: the evidence of each unit, from draws of the guide, in constant memory."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pyro
import torch
from torch import Tensor
from tqdm import tqdm

from pyro_vae.data import Batches, batches
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.inference.evidence import Evidence, WeightSums
from pyro_vae.isolation import undisturbed
from pyro_vae.particles import Particles, draw, draw_one_by_one, draws_together
from pyro_vae.program import Layout, Program, as_program, examine, num_arguments

WEIGHTS_AT_ONCE = {"cpu": 8_192, "cuda": 262_144}

Draw = Callable[..., Particles]


def log_evidence(
    program: Any,
    data: Any,
    *,
    num_particles: int = 1000,
    unit: str | None = None,
    seed: int | None = None,
    device: str | torch.device = "auto",
    progress: bool | None = None,
) -> Evidence:
    """Estimates log p(x) of each unit by importance sampling with the guide as proposal.

    log p(x) ~ log (1/K) sum_k p(x, z_k) / q(z_k | x), z_k ~ q(z | x). Particles and data are worked off
    in chunks, so memory does not grow with K; exactly K weights are used. Nothing that the call
    touches is changed by it: generators, param store, train/eval mode, buffers.

    Args:
        program: a model and guide.
        data: a tensor, a tuple of tensors, a Dataset, a DataLoader or a split.
        num_particles: K.
        unit: the plate to give figures for; by default the outermost that holds every site. Without
            one the figure is joint, of all data together, and the result says so.
        seed: of the draws; by default they go on from torch's generator, without advancing it.
        device: where to compute; "auto" is the GPU where there is one.
        progress: whether to draw a bar; by default where standard error is a terminal.

    :raises InputError: the program does not fit the data, or ``unit`` is not there.

    >>> from pyro_vae.models import FactorAnalysis
    >>> x, model = torch.randn(4, 3), FactorAnalysis((3,), 1)
    >>> evidence = log_evidence(model, x, num_particles=1000, seed=0)
    >>> bool(((evidence.log_evidence - model.log_evidence(x)).abs() < 5 * evidence.standard_error).all())
    True
    """
    if num_particles < 1:
        raise InputError(f"num_particles must be at least 1, not {num_particles}")
    target, place = as_program(program), resolve(device)
    for module in target.modules.values():
        module.to(place)
    rows = batches(data, place, num_arguments(target.model))
    with undisturbed(target, seed), torch.no_grad():
        few = next(rows.take(torch.arange(min(rows.num_units, 8)), 8))
        layout = examine(target, *few, unit=unit)
        _check_rows(layout, len(few[0]))
        chunk = partial(draw_function(target, layout, few), target)
        with pyro.validation_enabled(False), _bar(rows.num_units, progress) as bar:
            sums = _all_units(chunk, layout, rows, num_particles, place, bar)
    return Evidence(
        log_evidence=torch.cat([s.log_mean() for s in sums]).cpu(),
        standard_error=torch.cat([s.standard_error() for s in sums]).cpu(),
        ess=torch.cat([s.ess() for s in sums]).cpu(),
        elbo=torch.cat([s.mean_log() for s in sums]).cpu(),
        num_particles=num_particles,
        unit=layout.unit,
        notes=_notes(layout),
    )


def draw_function(program: Program, layout: Layout, few: tuple[Tensor, ...]) -> Draw:
    return draw if draws_together(program, layout, *few) else draw_one_by_one


def _all_units(
    chunk: Draw,
    few_layout: Layout,
    rows: Batches,
    num_particles: int,
    device: torch.device,
    bar: tqdm,
) -> list[WeightSums]:
    at_once = WEIGHTS_AT_ONCE.get(device.type, 8_192)
    units = rows.num_units if few_layout.unit is None else max(1, at_once // num_particles)
    everything = torch.arange(rows.num_units)
    results = []
    for batch in rows.take(everything, units):
        layout = few_layout.resized(len(batch[0]))
        particles_at_once = max(1, at_once // len(batch[0]))
        sums = WeightSums(layout.num_units, device)
        for start in range(0, num_particles, particles_at_once):
            count = min(particles_at_once, num_particles - start)
            sums.add(chunk(layout, count, *batch).log_weights)
        results.append(sums)
        bar.update(len(batch[0]))
    return results


def _check_rows(layout: Layout, rows: int) -> None:
    if layout.unit is not None and layout.num_units != rows:
        raise InputError(
            f"plate {layout.unit!r} takes {layout.num_units} units of a batch of {rows} rows: an "
            "evidence wants every unit, so let the plate be as long as the batch, not a subsample"
        )


def _notes(layout: Layout) -> tuple[str, ...]:
    if layout.unit is not None:
        return ()
    outside = ", ".join(map(repr, layout.outside)) or "some site"
    return (
        f"one joint figure of all data: {outside} lies outside every plate that the other sites "
        "share, so the evidence does not factorise over data",
    )


def _bar(units: int, progress: bool | None) -> tqdm:
    shown = sys.stderr.isatty() if progress is None else progress
    return tqdm(total=units, disable=not shown, unit="unit", dynamic_ncols=True, delay=1)
