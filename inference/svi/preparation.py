"""What a fit finds out about its program before the first step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from pyro_vae import checkpoint
from pyro_vae.data import Batch, Batches
from pyro_vae.errors import InputError, report_user_errors
from pyro_vae.inference.checks.elbo import reasons_for_no_elbo
from pyro_vae.inference.checks.training_rows import remember_training_rows
from pyro_vae.inference.objectives import Objective, default_elbo
from pyro_vae.inference.objectives.requirements import check_pyro_elbo
from pyro_vae.inference.svi.batch_loss import BatchLoss
from pyro_vae.inference.svi.data_initialization import initialize_from_data
from pyro_vae.inference.svi.epochs import choose_epochs
from pyro_vae.inference.svi.made_guide import validates, with_defaults
from pyro_vae.inference.svi.minibatch_choice import choose_minibatching
from pyro_vae.inference.svi.minibatching import Minibatching
from pyro_vae.inference.svi.prior_notes import notes_on_the_prior
from pyro_vae.inference.svi.settings import Settings
from pyro_vae.inference.svi.small_problems import with_optimizer
from pyro_vae.inference.svi.trained_parameters import check_everything_trains, trainable
from pyro_vae.program.contract import Program
from pyro_vae.program.examination import Examination, examine
from pyro_vae.program.isolation import as_found, undisturbed
from pyro_vae.program.parameters import named_parameters, registered


@dataclass(frozen=True)
class Task:
    """Hold a program and the data to fit it to; None is left to be chosen, as are the settings' epochs."""

    program: Program
    train: Batches
    held_out: Batches | None
    batch_size: int | None
    shuffle: bool | None
    epochs: int | None
    steps: int | None
    elbo: Any
    settings: Settings

    @property
    def seed(self) -> int:
        return self.settings.seed


@dataclass(frozen=True)
class Prepared:
    """Hold what a training loop needs to know."""

    loss: BatchLoss
    parameters: dict[str, Tensor]  # to train, by name
    learnt: dict[str, Tensor]  # what a checkpoint holds: parameters and buffers, by name
    first: Batch
    settings: Settings
    notes: list[str]  # sentences about all of this
    is_elbo: bool  # is an ELBO of this program a bound of its evidence?


def prepare(task: Task, resume: bool) -> Prepared:
    """Examine the program on the data, and choose what the user left open.

    Raises:
        InputError: the program does not fit the data, or nothing would be trained.
    """
    program, train, seed = task.program, task.train, task.seed
    with report_user_errors():
        if not resume:  # a checkpoint will replace the parameters
            initialize_from_data(program, train, seed)
        examined, first, minibatching = choose_minibatching(
            program,
            train,
            task.batch_size or train.batch_size,
            task.shuffle,
            seed,
            partial(_all_parameters, program),
            has_validation=task.held_out is not None,
        )
        _check_held_out(task, minibatching)
        epochs, epoch_notes = _epochs(task, minibatching, examined, first)
        stored = registered(program, examined.guide, examined.model)
        settings = replace(task.settings, epochs=epochs)
        own = {**named_parameters(program), **stored}
        trained = {name: p for name, p in own.items() if p.requires_grad}
        is_joint = minibatching.is_joint
        elbo, settings = with_defaults(
            program, task.elbo, settings, examined.structure, is_joint, trained
        )
        with undisturbed(program, seed):
            if isinstance(elbo, Objective):
                elbo = elbo.planned(examined, *first, num_data=train.num_units)
            elbo_notes = check_pyro_elbo(elbo, examined)
            not_an_elbo = reasons_for_no_elbo(
                examined, loss_is_pyros=not isinstance(elbo, Objective)
            )
        learning = _with_modules(program, elbo.modules if isinstance(elbo, Objective) else {})
    remember_training_rows(program, train)
    loss = BatchLoss(examined, minibatching, elbo or default_elbo(examined.structure))
    parameters = trainable({**named_parameters(learning), **stored})
    if settings.optimizer is None and isinstance(elbo, Objective):
        settings = replace(settings, optimizer=elbo.optimizer)
    settings, optimizer_notes = with_optimizer(
        learning, settings, minibatching, parameters, bool(examined.structure.latents)
    )
    with undisturbed(program, seed):
        hidden_notes = check_everything_trains(loss, parameters, first)
    notes = [
        *examined.notes,
        *minibatching.notes,
        *epoch_notes,
        *_held_out_notes(task, minibatching, elbo),
    ]
    notes += notes_on_the_prior(program, first)
    notes += [*optimizer_notes, *elbo_notes, *hidden_notes, *not_an_elbo]
    learnt = checkpoint.learnt_tensors(learning, stored)
    return Prepared(loss, parameters, learnt, first, settings, notes, not not_an_elbo)


def _all_parameters(program: Program) -> dict[str, Tensor]:
    """Return all that can be trained: in the program's modules, and in Pyro's store."""
    store = dict(pyro.get_param_store().named_parameters())
    return {**named_parameters(program), **{f"store/{n}": p for n, p in store.items()}}


def _epochs(
    task: Task, minibatching: Minibatching, examined: Examination, first: Batch
) -> tuple[int, list[str]]:
    if task.epochs is not None:
        return task.epochs, []
    if task.steps is not None:
        return math.ceil(task.steps / minibatching.steps_per_epoch), []
    parameters = _all_parameters(task.program) if task.held_out is None else None
    with undisturbed(task.program, task.seed):
        return choose_epochs(minibatching, examined, first, parameters)


def _with_modules(program: Program, modules: Mapping[str, nn.Module]) -> Program:
    """Return the program with what the objective trains besides it."""
    prefixed = {f"{checkpoint.OBJECTIVE_PREFIX}{name}.": module for name, module in modules.items()}
    return replace(program, modules={**program.modules, **prefixed})


def _check_held_out(task: Task, minibatching: Minibatching) -> None:
    """Check that the guide can score held-out rows: it may have parameters for each training row."""
    program, held_out, sites = task.program, task.held_out, minibatching.positional_guide_sites
    if held_out is None or not sites or held_out.num_units == minibatching.num_rows:
        return
    count = held_out.num_units
    found = as_found(program.modules, program.model, program.guide)
    try:
        with undisturbed(program), found, torch.no_grad():
            examine(program, *next(held_out.take(torch.arange(count), count)))
    except InputError as error:
        raise InputError(
            f"the validation data have {count:,} rows and the training data {minibatching.num_rows:,}, and "
            f"{sites[0]} has parameters for each training row, none for others",
            subject="validation",
            remedy="leave validation out",
        ) from error


def _held_out_notes(task: Task, minibatching: Minibatching, elbo: Any) -> list[str]:
    notes, train, held_out = [], task.train, task.held_out
    if held_out is not None and not validates(elbo):
        return [
            f"the validation rows are not used: {type(elbo).__name__} has no guide that scores its draws, "
            "and the last epoch is kept"
        ]
    if held_out is not None and minibatching.is_positional:
        notes.append(
            "rows have a position: the validation rows are scored at the positions of the first rows"
        )
    if (
        held_out is not None
        and minibatching.scaled_plates
        and held_out.num_units != train.num_units
    ):
        notes.append(
            f"the {held_out.num_units:,} validation rows stand for all {train.num_units:,}, whose "
            "latents they share"
        )
    return notes
