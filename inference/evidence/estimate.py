"""The evidence of every unit: a method estimates the tiles of the data, in one process or several."""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor
from tqdm import tqdm

from pyro_vae import argument_checks as checks
from pyro_vae.allocations import raise_malloc_thresholds
from pyro_vae.errors import InputError, at_least_1, true_or_false
from pyro_vae.inference.compiling.inductor import Compile
from pyro_vae.inference.compiling.precision import on_cuda
from pyro_vae.inference.evidence.method import Estimator, Method, Workload
from pyro_vae.inference.evidence.methods import as_method
from pyro_vae.inference.evidence.observed_values import observed_values
from pyro_vae.inference.evidence.processes import gather, rank, share
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.inference.evidence.tile_store import TileStore, fingerprint_of
from pyro_vae.inference.evidence.tiles import Tiles, fitting_units, open_tiles
from pyro_vae.inference.evidence.unit_estimates import UnitEstimates, concatenate
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.examination import Examination, examine
from pyro_vae.program.structure import check_proper
from pyro_vae.program.trace import is_factor, observed_sites
from pyro_vae.program.unconstrained import everything_counts
from pyro_vae.progress import progress_bar

ONE_BY_ONE = (
    "particles were drawn one at a time; all at once is many times as fast. The reason: {}. Remove it, or "
    "let the program take a further dimension on the left: count dimensions from the right (`dim=-1`, "
    "`x[..., 0]`, `x.reshape(*x.shape[:-1], ...)`)"
)


class Interrupted(KeyboardInterrupt):
    """Report Ctrl-C in the middle of an estimate.

    ``evidence`` holds the estimates so far, or None; ``units`` are the numbers of its units.
    """

    def __init__(self, evidence: Evidence | None, units: Tensor) -> None:
        super().__init__("interrupted")
        self.evidence, self.units = evidence, units


CHECKS: dict[str, checks.Check] = {
    "method": checks.instance((str, Method, type), "the name of a method, or a Method"),
    "num_particles": checks.optional(at_least_1),
    "unit": checks.optional(checks.plate),
    "max_memory": checks.optional(at_least_1),
    "compile": checks.one_of(*get_args(Compile)),
    "seed": checks.optional(checks.seed),
    "progress": checks.optional(true_or_false),
    "checkpoint": checks.optional(checks.path),
}


def log_evidence(
    program: Any,
    data: Any = None,
    *,
    method: str | Method = "importance",
    num_particles: int | None = None,
    unit: str | None = None,
    max_memory: int | None = None,
    compile: Compile = "auto",
    seed: int | None = None,
    device: str | torch.device = "auto",
    progress: bool | None = None,
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    checkpoint: Path | str | None = None,
) -> Evidence:
    """Estimate log p(x) of each unit, in nats.

    Units and particles are cut into tiles with a seed each. Memory does not grow with the data, and with K
    only by the 3 sqrt K largest weights of a unit; no figure depends on the memory or on the number of
    machines. Where torch.distributed is
    initialised (``torchrun``), the processes share the tiles and each gets the whole result. The call
    leaves generators, param store, train/eval mode and buffers as they were. Tiles are larger on a GPU, so
    the draws differ there.

    Args:
        program: a model and guide.
        data: a tensor, a tuple of tensors of equal length, a Dataset, a DataLoader or a split.
        method: "importance", "ais", "sandwich", "bidirectional", "exact" or "auto"; or a method with
            options, such as ``Annealed(num_temperatures=1000)`` (:mod:`pyro_vae.inference`).
        num_particles: K; by default 1,000 draws of importance sampling (4,000 for a joint figure of all
            data, but not by "auto"), 16 chains of annealing.
        unit: the plate to give figures for; by default the outermost that holds every site. Without
            one the figure is joint, of all data together, and the result says so.
        max_memory: bytes for the model's computations at a time; by default, on a CPU, 32 MB for
            importance sampling (its caches) and 256 MB for annealing; on a GPU 4 GB.
        compile: whether compiled code draws and weighs, or computes an annealed log-density: "auto" where
            there is enough to do; "on" always, with an error where importance sampling cannot be
            compiled; "off" never. It changes figures by rounding only.
        seed: of the draws; by default they continue from torch's generator, without advancing it.
        device: where to compute; "auto" is the GPU where there is one.
        progress: whether to draw a bar; by default where standard error is a terminal.
        args: with ``kwargs``, in place of ``data``: the program is called with them once, unchanged and on
            their device.
        kwargs: the named arguments of that call.
        checkpoint: a file for the finished tiles, from which the same call resumes after an
            interruption. It is removed in the end.

    Raises:
        InputError: the program does not fit the data or the method, or has no plate ``unit``.
        Interrupted: by Ctrl-C; it is a KeyboardInterrupt that holds the evidence so far.

    Source: Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", 2015,
    https://arxiv.org/abs/1509.00519; for the others see their classes.

    >>> from pyro_vae.models import FactorAnalysis
    >>> x, model = torch.randn(4, 3), FactorAnalysis((3,), 1)
    >>> evidence = log_evidence(model, x, num_particles=10_000, seed=0)
    >>> off = (evidence.log_evidence - model.log_evidence(x)).abs() / evidence.standard_error
    >>> bool((off < 5).all())
    True
    """
    checks.check_arguments(CHECKS, locals())
    method = as_method(method)
    count = method.num_particles if num_particles is None else num_particles
    if checkpoint is not None and seed is None:
        raise InputError(
            "checkpoint needs a seed: without one the next call would draw other noise",
            subject="checkpoint",
            remedy="pass seed=0, say",
        )
    raise_malloc_thresholds()
    size = partial(fitting_units, num_particles=count)
    program = method.program(program)
    opened = open_tiles(program, data, unit, seed, device, size, args, kwargs)
    with on_cuda("ieee"), opened as tiles:
        check_proper(tiles.example.structure)
        if num_particles is None and tiles.example.structure.unit is None:
            count *= method.times_jointly
        work = Workload(count, tuple(map(len, tiles.index)), max_memory, compile)
        return evidence_of_tiles(tiles, method, work, progress, checkpoint)


def evidence_of_tiles(
    tiles: Tiles,
    method: Method,
    work: Workload,
    progress: bool | None = None,
    checkpoint: Path | str | None = None,
) -> Evidence:
    """Estimate the evidence of the units of some tiles; see :func:`log_evidence`."""
    num_particles = work.num_particles
    estimator = method.estimator(tiles.example, work)
    fingerprint = fingerprint_of(tiles, method, num_particles) if checkpoint else {}
    store = TileStore(checkpoint, fingerprint, rank())
    store.check_data(tiles)
    estimation = _Estimation(method, num_particles, tiles, store)
    try:
        estimation.run(estimator, progress)
    except BaseException as stop:
        with contextlib.suppress(InputError):  # a full disk must not lose the estimates
            store.save()
        if type(stop) is KeyboardInterrupt:
            raise estimation.interrupted() from None
        raise
    done = gather(store.done)
    store.remove()
    return estimation.evidence(done, num_particles)


class _Estimation:
    """Estimate the tiles of one call, and make their evidence."""

    def __init__(self, method: Method, num_particles: int, tiles: Tiles, store: TileStore) -> None:
        self.method, self.num_particles = method, num_particles
        self.tiles, self.store = tiles, store
        self.examined = _examination(tiles.example)
        self.values_per_unit = _values_per_unit(tiles.example, self.examined)
        # tile, weights so far, their estimates; only until the first tile is finished
        self.unfinished: tuple[int, int, UnitEstimates] | None = None

    def run(self, estimator: Estimator, progress: bool | None) -> None:
        """Estimate this process's share of the tiles that are not done."""
        numbers = [n for n in share(len(self.tiles), self.tiles.seed) if n not in self.store.done]
        units = sum(len(self.tiles.index[number]) for number in numbers)
        with progress_bar(units, False if rank() else progress, "unit", delay=1) as bar:
            for number in numbers:
                bound_program = self.tiles[number]
                observed = self._observed(bound_program)
                estimates = self._estimate(number, bound_program, estimator, bar)
                self.store.add(number, replace(estimates, observed=observed), bound_program)

    def _observed(self, bound_program: BoundProgram) -> dict[str, Tensor]:
        """Return facts about what a tile observes; of a call that is the example, from its examination."""
        examined = bound_program.examined or self.examined
        return observed_values(examined.model, bound_program.structure)

    def _estimate(
        self, number: int, bound_program: BoundProgram, estimator: Estimator, bar: tqdm
    ) -> UnitEstimates:
        units = len(self.tiles.index[number])
        for partial_estimate in estimator(bound_program, lambda done: bar.update(done * units)):
            if not self.store.done:  # an interruption shows the first tile so far
                self.unfinished = number, partial_estimate.count, partial_estimate.unit_estimates()
        return partial_estimate.unit_estimates().on_host()

    def interrupted(self) -> Interrupted:
        """Return the evidence of the finished tiles; if there are none, of the first so far."""
        if self.store.done:
            done, count = self.store.done, self.num_particles
        elif self.unfinished:
            number, count, estimates = self.unfinished
            done = {number: estimates.on_host()}
        else:
            return Interrupted(None, torch.empty(0, dtype=torch.long))
        units = torch.cat([self.tiles.index[number] for number in sorted(done)])
        note = (
            f"interrupted: this is of {len(units):,} of {self.tiles.num_units:,} units, in tiles taken at "
            f"random, with {count:,} of {self.num_particles:,} particles each"
        )
        return Interrupted(self.evidence(done, count, (note,)), units)

    def evidence(
        self, done: Mapping[int, UnitEstimates], count: int, notes: tuple[str, ...] = ()
    ) -> Evidence:
        """Return the evidence of some tiles, with ``count`` particles."""
        estimates = concatenate(done[number] for number in sorted(done))
        example = self.tiles.example
        part = self.method.missed(example, self.num_particles)
        estimates = estimates if part is None else part.without_error(estimates)
        return Evidence(
            **estimates.by_field(),
            num_particles=count,
            unit=example.structure.unit,
            method=_description(self.method, example),
            is_unbiased=self.method.is_unbiased,
            is_exact=self.method.is_exact,
            values_per_unit=self.values_per_unit,
            notes=(
                *notes,
                *self.tiles.notes,
                *_one_by_one_note(example, self.method),
                *self.method.notes(estimates, example),
                *([] if part is None else [part.note]),
            ),
        )


def _description(method: Method, example: BoundProgram) -> str:
    """Return the method and the changes of the guide in a phrase."""
    changes = () if method.is_exact else example.program.proposal
    return method.description + (f"; the guide {', '.join(changes)}" if changes else "")


def _one_by_one_note(example: BoundProgram, method: Method) -> tuple[str, ...]:
    is_fast = example.vectorized or example.by_vmap or method.is_exact
    return () if is_fast else (ONE_BY_ONE.format(example.reason),)


def _examination(example: BoundProgram) -> Examination:
    """Return the run that shows what a call observes; a joint call of coupled units has lost its own."""
    if example.examined is not None:
        return example.examined
    return examine(example.program, *example.args, strict=False, **example.kwargs)


def _values_per_unit(example: BoundProgram, examined: Examination) -> int | None:
    """Return how many observed values a unit has, where all units have as many."""
    if example.structure.unit is None:
        return None
    sites = [s for s in observed_sites(examined.model).values() if not is_factor(s)]
    if not all(everything_counts(site) for site in sites):
        return None
    return sum(site["value"].numel() // example.structure.num_units for site in sites)
