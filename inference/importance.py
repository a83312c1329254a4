"""Importance sampling: the evidence of each unit, from draws of the guide, in constant memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from tqdm import tqdm

from pyro_vae.data import Batches, batches
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.inference.evidence import Evidence
from pyro_vae.inference.tiles import FEW, check_guide_spreads, first_rows, joint_note, progress_bar
from pyro_vae.inference.weights import WeightSums
from pyro_vae.isolation import undisturbed
from pyro_vae.particles import Particles, draw, draw_one_by_one, draws_together
from pyro_vae.program import (
    Layout,
    Program,
    as_program,
    num_arguments,
    observed_sites,
    run,
)

# Units and particles are drawn in tiles of this size, each from its own seed; so neither the memory
# that there is nor which machine works off which tile can change a figure.
TILE_UNITS, TILE_PARTICLES = 64, 1024
MAX_MEMORY = {"cpu": 2**26, "cuda": 2**32}

Draw = Callable[..., Particles]


def log_evidence(
    program: Any,
    data: Any,
    *,
    num_particles: int = 1000,
    unit: str | None = None,
    max_memory: int | None = None,
    seed: int | None = None,
    device: str | torch.device = "auto",
    progress: bool | None = None,
) -> Evidence:
    """Estimates log p(x) of each unit by importance sampling with the guide as proposal.

    log p(x) ~ log (1/K) sum_k p(x, z_k) / q(z_k | x), z_k ~ q(z | x). Particles and data are worked off
    in chunks, so memory does not grow with K; exactly K weights are used, and how they are cut into
    chunks changes nothing but rounding. Nothing that the call touches is changed by it: generators,
    param store, train/eval mode, buffers.

    Args:
        program: a model and guide.
        data: a tensor, a tuple of tensors, a Dataset, a DataLoader or a split.
        num_particles: K.
        unit: the plate to give figures for; by default the outermost that holds every site. Without
            one the figure is joint, of all data together, and the result says so.
        max_memory: bytes for what the model computes at a time; by default 64 MB on a CPU (its
            caches), 4 GB on a GPU.
        seed: of the draws; by default they go on from torch's generator, without advancing it.
        device: where to compute; "auto" is the GPU where there is one.
        progress: whether to draw a bar; by default where standard error is a terminal.

    :raises InputError: the program does not fit the data, or ``unit`` is not there.

    >>> from pyro_vae.models import FactorAnalysis
    >>> x, model = torch.randn(4, 3), FactorAnalysis((3,), 1)
    >>> evidence = log_evidence(model, x, num_particles=1000, seed=0)
    >>> off = (evidence.log_evidence - model.log_evidence(x)).abs() / evidence.standard_error
    >>> bool((off < 5).all())
    True
    """
    if not isinstance(num_particles, int):
        raise InputError(f"num_particles must be a whole number, not {num_particles}")
    if num_particles < 1:
        raise InputError(f"num_particles must be at least 1, not {num_particles}")
    target, place = as_program(program), resolve(device)
    for module in target.modules.values():
        module.to(place)
    rows = batches(data, place, num_arguments(target.model))
    budget = max_memory or MAX_MEMORY.get(place.type, 2**26)
    with undisturbed(target, seed), torch.no_grad():
        few, layout = first_rows(target, rows, unit)
        check_guide_spreads(target, layout, few)
        draws = draw_function(target, layout, few)
        row_bytes = bytes_per_particle(draws, target, layout, few) / len(few[0])
        tile = TILE_UNITS if layout.unit and len(few[0]) <= FEW else rows.num_units
        sampler = Sampler(target, layout, draws, num_particles, budget / row_bytes, tile)
        values_per_unit = _values_per_unit(target, layout, few)
        with pyro.validation_enabled(False), progress_bar(rows.num_units, progress, "unit") as bar:
            sums = list(_every_unit(sampler, rows, place, bar))
    pareto = [s.pareto() for s in sums]
    levels = list(sums[0].bounds())
    return Evidence(
        log_evidence=_all(s.log_mean() for s in sums),
        standard_error=_all(s.standard_error() for s in sums),
        ess=_all(s.ess() for s in sums),
        pareto_k=_all(k for k, _ in pareto),
        num_particles=num_particles,
        unit=layout.unit,
        method="importance sampling from the guide",
        is_unbiased=True,
        smoothed=_all(smoothed for _, smoothed in pareto),
        jackknife=_all(s.jackknife() for s in sums),
        bounds={
            **{level: _all(s.bounds()[level] for s in sums) for level in levels},
            num_particles: _all(s.log_mean() for s in sums),
        },
        values_per_unit=values_per_unit,
        notes=joint_note(layout),
    )


@dataclass(frozen=True)
class Sampler:
    """Draws the K log-weights of some units, tile by tile."""

    program: Program
    layout: Layout
    draw: Draw
    num_particles: int
    weights_at_once: float
    units_at_once: int

    def sums(self, batch: tuple[Tensor, ...], seed: int) -> WeightSums:
        layout = self.layout.resized(len(batch[0]))
        sums = WeightSums(self.num_particles, layout.num_units, batch[0].device)
        at_once = max(1, int(self.weights_at_once / len(batch[0])))
        for first in range(0, self.num_particles, TILE_PARTICLES):
            pyro.set_rng_seed((seed + first) % 2**32)
            count = min(TILE_PARTICLES, self.num_particles - first)
            drawn = self.draw(self.program, layout, count, *batch, at_once=at_once)
            sums.add(drawn.log_weights)
        return sums


def _every_unit(
    sampler: Sampler, rows: Batches, device: torch.device, bar: tqdm
) -> Iterator[WeightSums]:
    base = int(torch.randint(2**31, ()))
    size = sampler.units_at_once
    for number, some in enumerate(torch.arange(rows.num_units).split(size)):
        seed = base + 1_000_003 * number
        pyro.set_rng_seed(seed % 2**32)  # data that are binarised anew draw too
        (batch,) = rows.take(some, size)
        yield sampler.sums(batch, seed)
        bar.update(len(some))


class Allocated(TorchDispatchMode):
    """Counts the bytes of every tensor that is made inside, freed or not."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not func.is_view:
            self.bytes += result.untyped_storage().nbytes()
        return result


def bytes_per_particle(sampler_draw: Draw, program: Program, layout: Layout, batch: Any) -> int:
    """What one more particle of a batch allocates, all that is freed on the way included."""
    sizes = []
    for count in (1, 3):
        with Allocated() as allocated:
            sampler_draw(program, layout, count, *batch)
        sizes.append(allocated.bytes)
    return max(1, (sizes[1] - sizes[0]) // 2)


def draw_function(program: Program, layout: Layout, few: tuple[Tensor, ...]) -> Draw:
    """The fast way to draw where it says the same as the slow one."""
    return draw if draws_together(program, layout, *few) else draw_one_by_one


def _all(parts: Iterable[Tensor]) -> Tensor:
    return torch.cat(list(parts)).cpu()


def _values_per_unit(program: Program, layout: Layout, few: tuple[Tensor, ...]) -> int | None:
    """Observed values a unit has, where every unit of the batch has as many."""
    if layout.unit is None:
        return None
    sites = observed_sites(run("model", program.model, few, {})).values()
    if any(site["mask"] is not None for site in sites):
        return None
    return sum(site["value"].numel() // layout.num_units for site in sites)
