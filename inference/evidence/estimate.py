"""The evidence of every unit: data go through a method in tiles, on one machine or shared among several."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from tqdm import tqdm

from pyro_vae.errors import InputError, at_least_1, nearest
from pyro_vae.inference.compiling.precision import on_cuda
from pyro_vae.inference.evidence.annealed import Annealed
from pyro_vae.inference.evidence.auto import Auto
from pyro_vae.inference.evidence.bidirectional import Bidirectional, Sandwich
from pyro_vae.inference.evidence.exact import Exact
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.method import Estimator, Figures, Method, Sums
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.inference.evidence.tile_store import Kept, checksum_of, record_of
from pyro_vae.inference.evidence.tiles import Tiles, progress_bar, tiled
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.examination import examine
from pyro_vae.program.structure import Structure, check_proper
from pyro_vae.program.trace import is_factor, observed_sites
from pyro_vae.program.unconstrained import everything_counts

METHODS: dict[str, Callable[[], Method]] = {
    "importance": Importance,
    "ais": Annealed,
    "sandwich": Sandwich,
    "bidirectional": Bidirectional,
    "exact": Exact,
    "auto": Auto,
}


ONE_BY_ONE = (
    "particles were drawn one at a time; all at once is many times as fast. What stands in the way: {}. "
    "Mend that, or let the program take a further dimension on the left: count dimensions from the right "
    "(`dim=-1`, `x[..., 0]`, `x.reshape(*x.shape[:-1], ...)`)"
)
CHECKSUM = "checksum"  # of a tile's data, among its figures


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in the middle of an estimate.

    ``evidence`` holds what was known by then, or None; ``units`` are the numbers of its units.
    """

    def __init__(self, evidence: Evidence | None, units: Tensor) -> None:
        super().__init__("interrupted")
        self.evidence, self.units = evidence, units


def log_evidence(
    program: Any,
    data: Any = None,
    *,
    method: str | Method = "importance",
    num_particles: int | None = None,
    unit: str | None = None,
    max_memory: int | None = None,
    seed: int | None = None,
    device: str | torch.device = "auto",
    progress: bool | None = None,
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    keep: Path | str | None = None,
) -> Evidence:
    """Estimates log p(x) of each unit, in nats.

    Units and particles are worked off in tiles with a seed each: memory does not grow with K or with the
    data, and neither the memory that there is nor the number of machines changes a figure. Where
    torch.distributed is initialised (``torchrun``), the tiles are shared out and every process gets the
    whole result. Nothing that the call touches is changed by it: generators, param store, train/eval
    mode, buffers. Tiles are larger on a GPU, so there the draws are others.

    Args:
        program: a model and guide.
        data: a tensor, a tuple of tensors of equal length, a Dataset, a DataLoader or a split.
        method: "importance", "ais", "sandwich", "bidirectional", "exact" or "auto"; or a method with
            options, such as ``Annealed(num_temperatures=1000)`` (:mod:`pyro_vae.inference`).
        num_particles: K; by default 1,000 draws of importance sampling, 16 chains of annealing.
        unit: the plate to give figures for; by default the outermost that holds every site. Without
            one the figure is joint, of all data together, and the result says so.
        max_memory: bytes for what the model computes at a time; by default, on a CPU, 32 MB for
            importance sampling (its caches) and 256 MB for annealing; on a GPU 4 GB.
        seed: of the draws; by default they go on from torch's generator, without advancing it.
        device: where to compute; "auto" is the GPU where there is one.
        progress: whether to draw a bar; by default where standard error is a terminal.
        args: with ``kwargs``, in place of ``data``: the program is called with them once, as they are,
            and where they are.
        keep: a file for the tiles that are done, so that the same call goes on from there if it is
            interrupted, by whatever. It is gone when all is done.

    :raises InputError: the program does not fit the data or the method, or ``unit`` is not there.
    :raises Interrupted: by Ctrl-C; it is a KeyboardInterrupt that holds the evidence so far.

    Source: Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", 2015,
    https://arxiv.org/abs/1509.00519; for the others see their classes.

    >>> from pyro_vae.models import FactorAnalysis
    >>> x, model = torch.randn(4, 3), FactorAnalysis((3,), 1)
    >>> evidence = log_evidence(model, x, num_particles=10_000, seed=0)
    >>> off = (evidence.log_evidence - model.log_evidence(x)).abs() / evidence.standard_error
    >>> bool((off < 5).all())
    True
    """
    how = named(method)
    count = _checked(how, num_particles, max_memory)
    if keep is not None and seed is None:
        raise InputError("keep wants a seed: without one the next call would draw other noise")
    whole = tiled(program, data, unit, seed, device, how.tile, args, kwargs)
    with on_cuda("ieee"), whole as tiles:
        check_proper(tiles.example.structure)
        estimator = how.estimator(tiles.example, count, max_memory)
        work = _Run(how, count, tiles, _values_per_unit(tiles.example))
        kept = Kept(keep, record_of(tiles, how, count) if keep else {}, _rank())
        work.done = kept.read()
        for number, figures in work.done.items():
            if not torch.equal(figures[CHECKSUM], checksum_of(tiles[number])):
                raise kept.refusal("the data")
        try:
            work.work_off(estimator, kept, progress)
        except BaseException as stop:
            with contextlib.suppress(InputError):  # of a disk that is full: the figures come first
                kept.save(work.done, at_once=True)
            if type(stop) is KeyboardInterrupt:
                raise work.interrupted() from None
            raise
        work.done = _gathered(work.done)
        kept.remove()
        return work.evidence(work.done, count)


class _Run:
    """An estimate under way: the figures of the tiles that are done, by number."""

    def __init__(self, method: Method, count: int, tiles: Tiles, values: int | None) -> None:
        self.method, self.count, self.tiles, self.values = method, count, tiles, values
        self.done: dict[int, Figures] = {}
        self.begun: tuple[int, int, Figures] | None = None  # tile, weights so far, their figures

    def work_off(self, estimator: Estimator, kept: Kept, progress: bool | None) -> None:
        """This process's share of the tiles."""
        mine = [number for number in shared(self.tiles) if number not in self.done]
        units = sum(len(self.tiles.index[number]) for number in mine)
        with progress_bar(units, False if _rank() else progress) as bar:
            for number in mine:
                call = self.tiles[number]
                self.done[number] = self.estimate(number, call, estimator, bar)
                if kept.path is not None:  # it copies the data to the host
                    self.done[number][CHECKSUM] = checksum_of(call)
                kept.save(self.done)

    def estimate(self, number: int, call: BoundProgram, estimator: Estimator, bar: tqdm) -> Figures:
        units = len(self.tiles.index[number])
        for sums in estimator(call, lambda share: bar.update(share * units)):
            if not self.done:  # else there is something to show if it ends here
                self.begun = number, sums.count, on_host(sums)
        return on_host(sums)

    def interrupted(self) -> Interrupted:
        """The evidence of the units that are done; of those under way, if there are none."""
        if self.done:
            numbers, count, done = sorted(self.done), self.count, self.done
        elif self.begun:
            number, count, figures = self.begun
            numbers, done = [number], {number: figures}
        else:
            return Interrupted(None, torch.empty(0, dtype=torch.long))
        units = torch.cat([self.tiles.index[number] for number in numbers])
        note = (
            f"interrupted: this is of {len(units):,} of {self.tiles.units:,} units, in tiles taken at "
            f"random, with {count:,} of {self.count:,} particles each"
        )
        return Interrupted(self.evidence(done, count, (note,)), units)

    def evidence(
        self, done: Mapping[int, Figures], count: int, notes: tuple[str, ...] = ()
    ) -> Evidence:
        figures = {
            name: torch.cat([done[number][name] for number in sorted(done)])
            for name in next(iter(done.values()))
        }
        structure = self.tiles.example.structure
        return Evidence.of(
            figures,
            num_particles=count,
            unit=structure.unit,
            method=self.method.described,
            is_unbiased=self.method.is_unbiased,
            is_exact=self.method.is_exact,
            values_per_unit=self.values,
            notes=(
                *notes,
                *((self.tiles.why_whole,) if self.tiles.why_whole else joint_note(structure)),
                *self.tiles.notes,
                *_one_by_one(self.tiles.example, self.method),
                *self.method.notes(figures, self.tiles.example),
            ),
        )


def _one_by_one(example: BoundProgram, method: Method) -> tuple[str, ...]:
    at_once = example.vectorized or example.by_vmap or method.is_exact
    return () if at_once else (ONE_BY_ONE.format(example.reason),)


def named(method: str | Method) -> Method:
    """:raises InputError: there is no such method."""
    if isinstance(method, Method):
        return method
    if not isinstance(method, str) or method not in METHODS:
        if isinstance(method, type) and issubclass(method, Method):
            raise InputError(
                f"method is the class {method.__name__}: make one, {method.__name__}()"
            )
        raise InputError(f"there is no method {method!r}{nearest(str(method), METHODS)}")
    return METHODS[method]()


def _checked(method: Method, num_particles: int | None, max_memory: int | None) -> int:
    """K."""
    for name, number in (("num_particles", num_particles), ("max_memory", max_memory)):
        if isinstance(number, bool):
            raise InputError(f"{name} must be a whole number, not {number}")
    if max_memory is not None:
        at_least_1("max_memory", max_memory)
    return at_least_1(
        "num_particles", method.num_particles if num_particles is None else num_particles
    )


def on_host(sums: Sums) -> Figures:
    return {name: figure.cpu() for name, figure in sums.figures().items()}


def joint_note(structure: Structure) -> tuple[str, ...]:
    """What is to be said where the evidence does not factorise."""
    if structure.unit is not None:
        return ()
    if not structure.outside:
        there_are = ", ".join(map(repr, structure.plates))
        why = (
            f"no plate holds every site (there are {there_are})"
            if there_are
            else "there is no site"
        )
        return (
            f"one joint figure of all data: {why}, so the evidence does not factorise over data; where "
            "model and guide mean one plate, they must give it one name",
        )
    named = ", ".join(map(repr, structure.outside[:5]))
    more = f" and {len(structure.outside) - 5} more" if len(structure.outside) > 5 else ""
    lie = "lie" if len(structure.outside) > 1 else "lies"
    return (
        f"one joint figure of all data: {named}{more} {lie} outside every plate that the other sites "
        "share, so the evidence does not factorise over data",
    )


def _values_per_unit(call: BoundProgram) -> int | None:
    """Observed values a unit has, where every unit of the batch has as many."""
    if call.structure.unit is None:
        return None
    examined = call.examined or examine(call.program, *call.args, **call.kwargs)
    sites = [s for s in observed_sites(examined.model).values() if not is_factor(s)]
    if not all(everything_counts(site) for site in sites):
        return None
    return sum(site["value"].numel() // call.structure.num_units for site in sites)


# --- several processes ------------------------------------------------------------------------


def shared(tiles: Tiles) -> list[int]:
    """The numbers of the tiles that this process works off.

    In random order, so that what is known after a part of them is known of a random part of the data,
    which are often sorted.
    """
    order = torch.randperm(len(tiles), generator=torch.Generator().manual_seed(tiles.seed))
    return order[_rank() :: _world()].tolist()


def _is_shared() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _rank() -> int:
    return distributed.get_rank() if _is_shared() else 0


def _world() -> int:
    return distributed.get_world_size() if _is_shared() else 1


def _gathered(done: dict[int, Figures]) -> dict[int, Figures]:
    """What all processes have done."""
    if _world() == 1:
        return done
    everyone: list[Any] = [None] * _world()
    distributed.all_gather_object(everyone, done)
    return {number: figures for each in everyone for number, figures in each.items()}
