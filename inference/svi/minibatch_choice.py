"""The choice of a batch size and an order, from trial runs of the program."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_vae.allocations import Allocations
from pyro_vae.data import Batch, Batches, OneCall
from pyro_vae.errors import InputError
from pyro_vae.inference.checks.row_order import depends_on_places
from pyro_vae.inference.svi.minibatch_scaling import plates_to_scale
from pyro_vae.inference.svi.minibatching import (
    DEFAULT_BATCH_SIZE,
    MAX_DEFAULT_BATCH_SIZE,
    Minibatching,
)
from pyro_vae.program.autoguide import has_unset_autoguide
from pyro_vae.program.contract import Program
from pyro_vae.program.examination import Examination, examine
from pyro_vae.program.isolation import as_found, undisturbed
from pyro_vae.program.one_datum import OneDatum


@dataclass
class _Trial:
    """Hold a run of the program on some rows, and what it registered in Pyro's store."""

    examined: Examination
    args: Batch
    allocated: int  # bytes
    store: Any = None
    positional: list[str] = field(default_factory=list)
    units_interact: bool = False

    @property
    def rows(self) -> int:
        return len(self.args[0])

    @property
    def is_joint(self) -> bool:
        """Return whether figures are of all rows together: none has its own."""
        structure = self.examined.structure
        return structure.unit is None or (bool(self.args) and structure.size != self.rows)


def choose_minibatching(
    program: Program,
    train: Batches,
    batch_size: int | None,
    shuffle: bool | None,
    seed: int,
    parameters: Callable[[], Mapping[str, Tensor]],
    has_validation: bool = False,
) -> tuple[Examination, Batch, Minibatching]:
    """Find out how the rows must be taken; what the program registers in Pyro's store stays there.

    Where all rows share a latent, a batch is all of them by default, up to 100,000, and a smaller one
    counts for all. Rows whose score depends on their position (a guide with parameters for each row, a
    series, a covariate that is looked up by position) keep their order, all in one batch.

    Args:
        shuffle: None to find out; True says that positions do not matter.
        parameters: those of an examined program, to be perturbed for a while.
        has_validation: whether held-out rows are to stand for all of these.

    Returns:
        The program, run on the first batch; that batch; how the rows are taken.

    Raises:
        InputError: batches of that size would be another model.
    """
    trials = _Trials(program, train, shuffle, seed, parameters)
    if isinstance(train, OneCall):
        trial = trials.run(1, may_shuffle=True)
        pyro.get_param_store().set_state(trial.store)
        return trial.examined, (), Minibatching(1, 1, False, is_joint=trial.is_joint)
    trial = trials.of_batch_size(batch_size)
    rows, count = trial.rows, train.num_units
    guide_sites = tuple(site for site in trial.positional if site.startswith("the guide"))
    is_a_part = shuffle is False and not guide_sites  # a user may take a series in parts
    if trial.positional and rows < count and not is_a_part:
        trials.found.restore()
        raise _order_matters(trial.positional[0], rows, count)
    pyro.get_param_store().set_state(trial.store)
    if rows < count and trial.examined.has_masks:  # which may first hide something further on
        trial.examined = trials.with_masks_of_all_rows(trial)
    scaled = trials.plates_to_scale(trial, has_validation)
    taken = Minibatching(
        count,
        rows,
        not trial.positional if shuffle is None else shuffle,
        scaled,
        trial.is_joint,
        bool(trial.positional),
        guide_sites,
        _notes(trial, count, scaled),
    )
    structure = trial.examined.structure
    if rows < count:  # a joint weight is no longer whole
        structure = replace(structure, subsampled=(*structure.subsampled, *sorted(scaled)))
    return replace(trial.examined, structure=structure), trial.args, taken


class _Trials:
    """Run a program on batches of different sizes, each time as it was found."""

    def __init__(
        self,
        program: Program,
        train: Batches,
        shuffle: bool | None,
        seed: int,
        parameters: Callable[[], Mapping[str, Tensor]],
    ) -> None:
        self.program, self.train, self.shuffle, self.seed = program, train, shuffle, seed
        self.parameters = parameters
        self.found = as_found(program.modules, program.model, program.guide)
        self.most = min(train.num_units, MAX_DEFAULT_BATCH_SIZE)

    def run(self, rows: int, may_shuffle: bool = False) -> _Trial:
        self.found.restore()
        args = next(self.train.take(torch.arange(rows), rows))
        with undisturbed(self.program, self.seed), torch.no_grad():
            with Allocations() as allocated:
                examined = examine(self.program, *args, num_rows=len(args[0]) if args else None)
            trial = _Trial(examined, args, allocated.bytes, pyro.get_param_store().get_state())
            if not (self.shuffle or may_shuffle) and rows > 1:
                parameters = self.parameters()
                with pyro.validation_enabled(False):
                    trial.positional, trial.units_interact = depends_on_places(
                        examined, args, self.train, parameters, trial.allocated
                    )
        return trial

    def of_batch_size(self, batch_size: int | None) -> _Trial:
        """Return a trial with the size asked for, or else with one that suits the program."""
        count = self.train.num_units
        default = self.most if has_unset_autoguide(self.program) else DEFAULT_BATCH_SIZE
        rows = min(batch_size or default, count)
        try:
            trial = self.run(rows)
        except InputError as error:  # as of a guide that holds parameters for each row
            if rows == count:
                raise
            trial = self._on_all_rows(error)
            if batch_size is not None:
                self.found.restore()
                raise _takes_all_rows(error, rows, count) from error
        needs_all = trial.is_joint or trial.positional or trial.units_interact
        if batch_size is None and rows < self.most and needs_all and trial.rows != self.most:
            trial = self.run(self.most)
        return trial

    def _on_all_rows(self, error: InputError) -> _Trial:
        """Raise the first refusal, where the program does not take all rows either."""
        try:
            return self.run(self.most)
        except OneDatum:
            raise
        except InputError:
            raise error from error.__cause__

    def with_masks_of_all_rows(self, trial: _Trial) -> Examination:
        """Return what a batch shows, with the masked latents that count somewhere among all rows."""
        with undisturbed(self.program, self.seed), torch.no_grad():
            rows = next(self.train.take(torch.arange(self.most), self.most))
            every = examine(self.program, *rows, num_rows=self.most)
        structure = replace(trial.examined.structure, without_prior=every.structure.without_prior)
        return replace(
            trial.examined, program=every.program, structure=structure, notes=every.notes
        )

    def plates_to_scale(self, trial: _Trial, has_validation: bool) -> frozenset[str]:
        count = self.train.num_units
        if not trial.is_joint:
            return frozenset()
        program, args = self.program, trial.args
        if trial.rows < count:
            return plates_to_scale(trial.examined, args, program, self.train, self.seed)
        if has_validation and not trial.positional and count > 1:
            with suppress(InputError):  # then held-out rows count as data of their own
                return plates_to_scale(trial.examined, args, program, self.train, self.seed)
        return frozenset()


def _notes(trial: _Trial, count: int, scaled: frozenset[str]) -> tuple[str, ...]:
    """Say in a sentence how the rows, ``count`` in all, are taken, where it may surprise."""
    rows = trial.rows
    if trial.positional:
        return (
            f"the rows keep their order, {'all ' * (rows == count)}{rows:,} in a step: "
            f"{trial.positional[0]} depends on where a row stands (shuffle=True says that it does not)",
        )
    if trial.units_interact and rows < count:
        return (
            f"units of plate {trial.examined.structure.unit!r} depend on one another's latents, so there "
            f"is one joint figure of all data: each batch of {rows:,} counts as data of their own",
        )
    if trial.is_joint and rows < count:
        plates = ", ".join(map(repr, sorted(scaled)))
        times = f": what plate {plates} holds counts {count / rows:.4g} times" if scaled else ""
        return (f"a step takes {rows:,} of {count:,} rows for all of them{times}",)
    if trial.is_joint and count > DEFAULT_BATCH_SIZE:
        return (f"a step takes all {rows:,} rows, as some latents are shared by them",)
    return ()


def _takes_all_rows(error: InputError, rows: int, count: int) -> InputError:
    return InputError(
        f"the program takes all {count:,} rows and not {rows:,} of them, so it has parameters or "
        f"covariates for each row ({error})",
        subject="batch_size",
        remedy=f"take batch_size={count}, or pass what belongs to rows as a further tensor of the data",
    )


def _order_matters(site: str, rows: int, count: int) -> InputError:
    return InputError(
        f"batches of {rows:,} of {count:,} rows would change a row's position, and {site} depends on where "
        "a row stands (as AutoGuides, series and lookups by position do)",
        subject="batch_size",
        remedy=f"take batch_size={count}, or pass the row numbers as a further tensor and look up by them, "
        "or say shuffle=True if the position does not matter",
    )
