"""Importance sampling: the evidence of each unit, from draws of the guide, in constant memory."""

from collections.abc import Iterable
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pyro_vae.errors import InputError
from pyro_vae.inference.evidence import Evidence
from pyro_vae.inference.paths import Call
from pyro_vae.inference.tiles import check_guide_spreads, joint_note, progress_bar, tiled
from pyro_vae.inference.weights import WeightSums
from pyro_vae.program import observed_sites, run

# Units and particles are drawn in tiles of this size, each from its own seed; so neither the memory
# that there is nor which machine works off which tile can change a figure.
TILE_UNITS, TILE_PARTICLES = 64, 1024
MAX_MEMORY = {"cpu": 2**26, "cuda": 2**32}


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
    with tiled(program, data, unit, seed, device, units=TILE_UNITS) as tiles:
        few = tiles.few
        check_guide_spreads(few)
        budget = max_memory or MAX_MEMORY.get(tiles.rows.device.type, MAX_MEMORY["cpu"])
        weights_at_once = budget * len(few.args[0]) / bytes_per_particle(few)
        values_per_unit = _values_per_unit(few)
        sums = []
        with progress_bar(tiles.rows.num_units, progress, "unit") as bar:
            for number, call in enumerate(tiles):
                noise = tiles.seed + 1_000_003 * number
                sums.append(weigh(call, num_particles, weights_at_once, noise))
                bar.update(call.num_rows)
    pareto = [s.pareto() for s in sums]
    levels = list(sums[0].bounds())
    return Evidence(
        log_evidence=_all(s.log_mean() for s in sums),
        standard_error=_all(s.standard_error() for s in sums),
        ess=_all(s.ess() for s in sums),
        pareto_k=_all(k for k, _ in pareto),
        num_particles=num_particles,
        unit=few.layout.unit,
        method="importance sampling from the guide",
        is_unbiased=True,
        smoothed=_all(smoothed for _, smoothed in pareto),
        jackknife=_all(s.jackknife() for s in sums),
        bounds={
            **{level: _all(s.bounds()[level] for s in sums) for level in levels},
            num_particles: _all(s.log_mean() for s in sums),
        },
        values_per_unit=values_per_unit,
        notes=joint_note(few.layout),
    )


def weigh(call: Call, num_particles: int, weights_at_once: float, seed: int) -> WeightSums:
    """Draws the K log-weights of a tile's units; each tile of particles has its own seed."""
    rows = call.num_rows
    sums = WeightSums(num_particles, call.layout.num_units, call.args[0].device)
    at_once = max(1, int(weights_at_once / rows))
    for first in range(0, num_particles, TILE_PARTICLES):
        pyro.set_rng_seed((seed + first) % 2**32)
        count = min(TILE_PARTICLES, num_particles - first)
        drawn = call.draw(count, at_once)
        sums.add(drawn.log_weights)
    return sums


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


def bytes_per_particle(call: Call) -> int:
    """What one more particle of a batch allocates, all that is freed on the way included."""
    sizes = []
    for count in (1, 3):
        with Allocated() as allocated:
            call.draw(count)
        sizes.append(allocated.bytes)
    return max(1, (sizes[1] - sizes[0]) // 2)


def _all(parts: Iterable[Tensor]) -> Tensor:
    return torch.cat(list(parts)).cpu()


def _values_per_unit(call: Call) -> int | None:
    """Observed values a unit has, where every unit of the batch has as many."""
    if call.layout.unit is None:
        return None
    sites = observed_sites(run("model", call.program.model, call.args, {})).values()
    if any(site["mask"] is not None for site in sites):
        return None
    return sum(site["value"].numel() // call.layout.num_units for site in sites)
