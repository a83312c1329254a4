"""How a fit takes its rows: how many at a time, in which order, and what a batch of them counts."""

import math
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyro_vae.allocations import Allocations
from pyro_vae.data import Batches, OneCall
from pyro_vae.errors import InputError
from pyro_vae.inference.svi.row_order import look_for_places
from pyro_vae.program.autoguide import has_unset_autoguide
from pyro_vae.program.contract import Program
from pyro_vae.program.examination import Examination, examine
from pyro_vae.program.isolation import as_found, undisturbed
from pyro_vae.program.one_datum import OneDatum
from pyro_vae.program.probe import all_latents, moves
from pyro_vae.program.trace import (
    Site,
    by_plates,
    drawn_sites,
    is_factor,
    observed_sites,
    run,
    sample_sites,
)

Batch = tuple[Tensor, ...]

DEFAULT_BATCH = 128
MOST_ROWS = 100_000  # of a batch, where nobody says


@dataclass(frozen=True)
class Rows:
    """How a fit takes its rows.

    Attributes:
        num_rows: how many there are in all.
        batch_size: how many a step takes.
        shuffle: whether each epoch takes them in an order of its own.
        scaled: the plates that hold a batch, of training or held-out rows, and stand for all rows.
        is_whole: whether figures are of all rows together, not of each.
        has_places: whether what a row scores depends on where it stands.
        of_rows: the guide's sites whose parameters belong to rows.
        notes: all of this in sentences.
    """

    num_rows: int
    batch_size: int
    shuffle: bool
    scaled: frozenset[str] = frozenset()
    is_whole: bool = False
    has_places: bool = False
    of_rows: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """How many an epoch takes."""
        return math.ceil(self.num_rows / self.batch_size)

    def order(self, seed: int, epoch: int) -> Tensor:
        """The order of the data in an epoch, a function of (seed, epoch) alone."""
        if not self.shuffle:
            return torch.arange(self.num_rows)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        return torch.randperm(self.num_rows, generator=generator)

    def scale(self, program: Program, batch: Batch) -> Program:
        """The program with the plates that hold the batch counting for all rows."""
        if not self.scaled or not batch:
            return program
        factor = self.num_rows / len(batch[0])
        if factor == 1:
            return program
        model, guide = (_Scaled(self.scaled, factor)(f) for f in (program.model, program.guide))
        return replace(program, model=model, guide=guide)


class _Scaled(Messenger):
    """Scales what lies in some plates, as ``pyro.plate(name, size, subsample_size)`` does."""

    def __init__(self, plates: frozenset[str], factor: float) -> None:
        super().__init__()
        self.plates, self.factor = plates, factor

    def _process_message(self, msg: Any) -> None:
        if _is_in(msg, self.plates):
            msg["scale"] = msg["scale"] * self.factor


@dataclass
class _Look:
    """What is seen of a program on so many rows, and what it has registered in Pyro's store by then."""

    examined: Examination
    args: Batch
    bytes: int  # that a run takes
    store: Any = None
    place: list[str] = field(default_factory=list)
    units_meet: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether figures are of all rows together: none has one of its own."""
        structure = self.examined.structure
        return structure.unit is None or (bool(self.args) and structure.size != len(self.args[0]))


def settle(
    program: Program,
    train: Batches,
    batch_size: int | None,
    shuffle: bool | None,
    seed: int,
    parameters: Callable[[Examination], Mapping[str, Tensor]],
    is_judged: bool = False,
) -> tuple[Examination, Batch, Rows]:
    """Finds out how the rows are to be taken; what the program has registered by then, stays so.

    Where a latent is shared by all rows, a batch is all of them, up to 100,000, if nobody says otherwise,
    and a smaller one counts for all. Rows whose score depends on where they stand (a guide with parameters
    for each row, a series, a covariate that is looked up by position) keep their order, all in one batch.

    :param shuffle: None to find out; True says that place does not matter.
    :param parameters: of an examined program, to be moved a little while it is tried.
    :param is_judged: whether other rows are to stand for all of these, held-out ones.
    :raises InputError: batches of that size would be another model.
    """
    if isinstance(train, OneCall):
        look = _look(program, train, 1, True, seed, parameters)
        pyro.get_param_store().set_state(look.store)
        return look.examined, (), Rows(1, 1, False, is_whole=look.is_whole)
    found = as_found(program.modules, program.model, program.guide)
    count, most = train.num_units, min(train.num_units, MOST_ROWS)
    rows = batch_size or (most if has_unset_autoguide(program) else DEFAULT_BATCH)
    rows = min(rows, count)

    def look_at(rows: int) -> _Look:
        found.restore()
        return _look(program, train, rows, shuffle, seed, parameters)

    try:
        look = look_at(rows)
    except InputError as error:  # as of a guide that holds parameters for each row
        if rows == count:
            raise
        look = _at_all(look_at, most, error)
        if batch_size is not None:
            found.restore()
            raise InputError(_takes_all(error, rows, count)) from error
    if batch_size is None and rows < most and (look.is_whole or look.place or look.units_meet):
        look = look if len(look.args[0]) == most else look_at(most)
    rows = len(look.args[0])
    of_rows = tuple(site for site in look.place if site.startswith("the guide"))
    in_order = shuffle is False and not of_rows  # as somebody asks for who takes a series in parts
    if look.place and rows < count and not in_order:
        found.restore()
        raise InputError(_displaced(look.place, rows, count))
    pyro.get_param_store().set_state(look.store)
    if rows < count and look.examined.has_masks:  # which may first take something out further on
        look.examined = _with_masks_of_all(look, program, train, most, seed)
    scaled: frozenset[str] = frozenset()
    if look.is_whole and rows < count:
        scaled = _held(program, look, train, seed)
    elif look.is_whole and is_judged and not look.place and count > 1:
        with suppress(InputError):  # then held-out rows count as data of their own
            scaled = _held(program, look, train, seed)
    shuffled = not look.place if shuffle is None else shuffle
    taken = Rows(
        count,
        rows,
        shuffled,
        scaled,
        look.is_whole,
        bool(look.place),
        of_rows,
        _notes(look, count, scaled),
    )
    structure = look.examined.structure
    if rows < count:  # weights are whole no more
        structure = replace(structure, subsampled=(*structure.subsampled, *sorted(scaled)))
    return replace(look.examined, structure=structure), look.args, taken


def _notes(look: _Look, count: int, scaled: frozenset[str]) -> tuple[str, ...]:
    """How the rows, ``count`` in all, are taken, in a sentence, where it is not as one may think."""
    rows = len(look.args[0])
    if look.place:
        return (
            f"the rows keep their order, {'all ' * (rows == count)}{rows:,} in a step: {look.place[0]} "
            "depends on where a row stands (shuffle=True says that it does not)",
        )
    if look.units_meet and rows < count:
        return (
            f"units of plate {look.examined.structure.unit!r} depend on one another's latents, so there is "
            f"one joint figure of all data: each batch of {rows:,} counts as data of their own",
        )
    if look.is_whole and rows < count:
        plates = ", ".join(map(repr, sorted(scaled)))
        return (
            f"a step takes {rows:,} of {count:,} rows for all of them"
            + (f": what lies in plate {plates} counts {count / rows:.4g} times" if scaled else ""),
        )
    if look.is_whole and count > DEFAULT_BATCH:
        return (f"a step takes all {rows:,} rows, as some latents are shared by them",)
    return ()


def _with_masks_of_all(
    look: _Look, program: Program, train: Batches, most: int, seed: int
) -> Examination:
    """What was seen of a batch, with what counts of masked latents among all rows."""
    with undisturbed(program, seed), torch.no_grad():
        every = examine(program, *next(train.take(torch.arange(most), most)), num_rows=most)
    structure = replace(look.examined.structure, without_prior=every.structure.without_prior)
    return replace(look.examined, program=every.program, structure=structure, notes=every.notes)


def _look(
    program: Program,
    train: Batches,
    count: int,
    shuffle: bool | None,
    seed: int,
    parameters: Callable[[Examination], Mapping[str, Tensor]],
) -> _Look:
    args = next(train.take(torch.arange(count), count))
    with undisturbed(program, seed), torch.no_grad():
        with Allocations() as allocated:
            examined = examine(program, *args, num_rows=len(args[0]) if args else None)
        look = _Look(examined, args, allocated.bytes, pyro.get_param_store().get_state())
        if not shuffle and count > 1:
            with pyro.validation_enabled(False):
                look.place, look.units_meet = look_for_places(
                    examined, args, train, parameters(examined), look.bytes
                )
    return look


def _at_all(look_at: Callable[[int], _Look], most: int, error: InputError) -> _Look:
    """:raises InputError: the first refusal, where the program does not take all rows either."""
    try:
        return look_at(most)
    except OneDatum:
        raise
    except InputError:
        raise error from error.__cause__


def _takes_all(error: InputError, rows: int, count: int) -> str:
    return (
        f"the program takes all {count:,} rows and not {rows:,} of them, as one does that has parameters "
        f"or covariates of its own for each row: take batch_size={count}, or pass what belongs to rows as "
        f"a further tensor of the data ({error})"
    )


def _displaced(places: list[str], rows: int, count: int) -> str:
    return (
        f"batches of {rows:,} of {count:,} rows would take one another's place: {places[0]} depends on "
        "where a row stands in its batch (parameters for each row, as an AutoGuide over their latents "
        "has, a series, or something looked up by position). Take "
        f"batch_size={count}, or pass the row numbers as a further tensor and look up by them, or, if "
        "place does not matter, say shuffle=True"
    )


def _held(program: Program, look: _Look, train: Batches, seed: int) -> frozenset[str]:
    """The plates that are as long as the batch, of whatever length, and do not scale by themselves.

    :raises InputError: some data lie in none, so that nothing could make a batch count for all of them.
    """
    rows = len(look.args[0])
    is_all = rows == train.num_units  # then fewer tell whether they would count for all
    example = rows // 2 if is_all else rows - 1 or 2
    args = next(train.take(torch.arange(example), example))
    found = as_found(program.modules, program.model, program.guide)
    try:
        with undisturbed(program, seed), found, torch.no_grad():
            fewer = examine(look.examined.program, *args)
    except InputError as error:
        raise InputError(
            f"the program takes {rows:,} rows and no fewer, so a batch of them cannot count for all "
            f"{train.num_units:,}: {error}"
        ) from error
    long, less = (_lengths(e.model) | _lengths(e.guide) for e in (look.examined, fewer))
    grow = {name for name, size in long.items() if size == rows and less.get(name) == len(args[0])}
    there = _at_the_same_latents(look, args, grow)
    for name, site in observed_sites(look.examined.model).items():
        frames = site["cond_indep_stack"]
        held = any(f.name in grow or (f.full_size or f.size) == train.num_units for f in frames)
        if not held and (name not in there or _says_otherwise(site, there[name])):
            raise InputError(
                f"site {name!r} holds the rows of a batch, and no plate does, so {rows:,} of them cannot "
                f"count for all {train.num_units:,}: put it in a plate (`with pyro.plate(...)` around it), "
                f"or take batch_size={train.num_units}"
            )
    sites = sample_sites(look.examined.model)
    summed = [name for name in look.examined.structure.marked if not _is_in(sites[name], grow)]
    if summed:
        raise InputError(
            f"{summed[0]!r} is to be summed out and shared by all rows, and {rows:,} of them cannot count "
            f"for all {train.num_units:,} in that sum: take batch_size={train.num_units}"
        )
    seen, wanted = (fewer, rows / example) if is_all else (look.examined, train.num_units / rows)
    return frozenset() if _scales_itself(seen, grow, wanted) else frozenset(grow)


def _is_in(site: Any, plates: Container[str]) -> bool:
    return any(frame.name in plates for frame in site["cond_indep_stack"])


def _at_the_same_latents(look: _Look, args: Batch, grow: Container[str]) -> dict[str, Site]:
    """The model's sites on fewer rows, at the latents that all rows share."""
    latents = all_latents(look.examined.guide, look.examined.model)
    for name, site in drawn_sites(latents).items():
        if _is_in(site, grow):
            latents.remove_node(name)
    model = poutine.replay(look.examined.program.model, latents)
    with torch.no_grad():
        return sample_sites(run("model", model, args, {}))


def _says_otherwise(one: Site, other: Site) -> bool:
    """Whether a site, at the same latents, is another on other rows: it holds them, or is made of them."""
    if not is_factor(one) and not torch.equal(one["value"], other["value"]):
        return True
    scores = [site["fn"].log_prob(site["value"]).sum() for site in (one, other)]
    return bool(moves(*scores).any())


def _scales_itself(seen: Examination, grow: Container[str], wanted: float) -> bool:
    """Whether a program makes what lies in these plates count so many times (``poutine.scale``)."""
    sites = sample_sites(seen.model).values()
    within = [site for site in sites if _is_in(site, grow)]
    shares = [torch.as_tensor(s["scale"] / by_plates(s) / wanted) for s in within]
    return bool(within) and all(bool(((share - 1).abs() < 1e-4).all()) for share in shares)


def _lengths(trace: poutine.Trace) -> dict[str, int]:
    """How many each plate stands for."""
    stacks = (site["cond_indep_stack"] for site in sample_sites(trace).values())
    return {frame.name: frame.full_size or frame.size for stack in stacks for frame in stack}
