"""Stochastic variational inference: fit a model and a guide to data."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro.infer import ELBO
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pyro_vae import checkpoint
from pyro_vae.data import Batches, DataSet, OneCall, batches
from pyro_vae.device import resolve
from pyro_vae.errors import InputError, at_least_1, in_words
from pyro_vae.inference.checks.density import what_is_no_elbo
from pyro_vae.inference.compiling.precision import Precision
from pyro_vae.inference.objectives import Objective, Schedule, default_elbo
from pyro_vae.inference.objectives.objective import Scheduled
from pyro_vae.inference.objectives.requirements import check_of_pyro
from pyro_vae.inference.svi.compiled_step import Compile, check_modes, use_compiled
from pyro_vae.inference.svi.epochs import epochs_for
from pyro_vae.inference.svi.first_rows import show_rows
from pyro_vae.inference.svi.rows import Rows, settle
from pyro_vae.inference.svi.run_state import RunState
from pyro_vae.inference.svi.step import OptimizerFactory, Step
from pyro_vae.inference.svi.training_loop import FitResult, Loop, Settings
from pyro_vae.program.call_arguments import call_arguments
from pyro_vae.program.contract import Program, as_program, signature
from pyro_vae.program.examination import Examination, examine
from pyro_vae.program.isolation import (
    as_found,
    checked_seed,
    own_parameters,
    rng_state,
    set_rng_state,
    undisturbed,
)
from pyro_vae.program.parameters import named_parameters, registered

ADAM: OptimizerFactory = partial(Adam, lr=1e-3)


def fit(
    program: Any,
    data: Any = None,
    *,
    validation: Any = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    shuffle: bool | None = None,
    optimizer: OptimizerFactory = ADAM,
    schedule: Callable[[Optimizer], LRScheduler] | None = None,
    elbo: ELBO | None = None,
    beta: Schedule | float = 1.0,  # in this order the command line says what a schedule refuses
    kl_warmup: float = 0.0,
    clip_norm: float | None = None,
    patience: int | None = None,
    keep_best: bool = True,
    seed: int = 0,
    device: str | torch.device = "auto",
    out: Path | str | None = None,
    resume: bool = False,
    record: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    compile: Compile = "auto",
    precision: Precision = "float32",
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> FitResult:
    """Fits a program by SVI: maximises its ELBO over all its parameters.

    Ctrl-C and SIGTERM wait for the step under way and for a last save, and then act as ever (Ctrl-C
    raises KeyboardInterrupt); the program keeps what it has learnt. The same seed gives the same run,
    and a run that was killed and resumed ends as one that was not, to the last bit on a CPU. The
    global generators are left as they were.

    Args:
        program: a model and guide (:func:`pyro_vae.program.contract.as_program`), trained in place.
        data: a tensor, a tuple of tensors of equal length, a torch Dataset, a DataLoader, a split,
            or a data set (whose validation split is used then).
        validation: held-out data of the same kind, for early stopping and keep-best.
        epochs: passes over the data; by default 100, or more of small data, or fewer of large
            (:func:`pyro_vae.inference.svi.epochs.default_epochs`).
        batch_size: data a step; by default a DataLoader's own, or 128, and all of them, up to 100,000,
            where latents are shared by all data or rows have a place. A smaller batch counts for all data
            where latents are shared.
        shuffle: whether each epoch takes the rows in an order of its own. By default it does, unless
            what a row scores depends on where it stands: then they keep their order.
        optimizer: makes a torch optimizer from the parameters.
        schedule: makes a torch learning-rate schedule from the optimizer; stepped once an epoch.
        elbo: any Pyro ELBO, one of :mod:`pyro_vae.inference.objectives` say; by default Trace_ELBO, in
            a form that does not wait for the device, or TraceEnum_ELBO where a discrete latent is
            marked ``infer={"enumerate": "parallel"}``.
        beta: weight of the KL term, or its schedule. The reported validation ELBO always has weight 1.
        kl_warmup: epochs over which that weight grows from 0 to beta.
        clip_norm: largest norm of the gradient of the ELBO per unit.
        patience: stop after so many epochs without a better validation ELBO (or bound, where that is
            what the objective is). Epochs in which a KL weight changes (warm-up, a schedule) do not count.
        keep_best: end with the parameters of the epoch where it was best.
        seed: of the order of the data and of all noise.
        device: "auto" is the GPU where there is one.
        out: a folder for metrics and checkpoints.
        resume: go on with the run in ``out``; the optimizer may have another learning rate now.
        record: what else the checkpoint should hold; compared on resume.
        progress: whether to draw a bar; by default where standard error is a terminal.
        compile: "auto" runs the step as one compiled graph where that can be done and saves more
            than it costs, and says so in ``FitResult.notes``; "on" does it always, and raises where it
            cannot be done; "off" never.
        args: with ``kwargs``, in place of ``data``: each step calls the program with them, as they are,
            and where they are.
        precision: what matrix products and convolutions multiply in training: "float32", "bf16"
            (rounded to bfloat16, as autocast does; needs the step as a graph) or, on CUDA, "tf32". All
            else is float32, as are validation and every evidence.

    :raises InputError: the program does not fit the data (with the site), nothing would be trained,
        ``out`` holds another run, the loss is not finite (with the site).

    >>> from pyro_vae.models import FactorAnalysis
    >>> result = fit(FactorAnalysis((3,), 1), torch.randn(64, 3), epochs=2, progress=False)
    >>> len(result.metrics)
    2
    """
    if out is None and resume:
        raise InputError("resume needs `out`, the folder of the run to go on with")
    if isinstance(elbo, Scheduled):
        if isinstance(beta, Schedule) or beta != 1 or kl_warmup:
            raise InputError(
                f"{type(elbo).__name__} weighs the KL term itself: leave beta and kl_warmup out"
            )
        beta = elbo.schedule
    if batch_size is not None:
        at_least_1("batch_size", batch_size)
    settings = Settings(
        1 if epochs is None else epochs,
        schedule,
        beta,
        kl_warmup,
        patience,
        keep_best,
        seed,
        progress,
    )
    target, train, place = _opened(as_program(program), data, validation, device, args, kwargs)
    check_modes(compile, precision, place)
    for module in target.modules.values():
        module.to(place)
    if isinstance(data, DataSet) and validation is None:
        validation = data.validation
    held_out = None
    if validation is not None:
        held_out = batches(validation, place, signature(target))
    kind = type(program).__qualname__ if target.modules else "functions"
    run = RunState(None if out is None else Path(out), resume, {"program": kind, **(record or {})})
    with run.sole_use(), _own_noise(seed), own_parameters(target), _training(target), _noted():
        with in_words():
            if not resume:
                show_rows(target, train, seed)
            examined, first, rows = settle(
                target,
                train,
                batch_size or train.batch_size,
                shuffle,
                seed,
                partial(_all, target),
                is_judged=held_out is not None,
            )
            run.record |= {"rows": [rows.num_rows, rows.batch_size, rows.shuffle]}
            _check_held_out(target, rows, held_out)
            notes = [*examined.notes, *rows.notes]
            if epochs is None:
                trained = _all(target, examined) if held_out is None else None
                with undisturbed(target, seed):
                    count, more = epochs_for(rows, examined, first, trained)
                settings = replace(settings, epochs=count)
                notes += more
            if held_out is not None and rows.has_places:
                notes.append(
                    "rows have a place: the validation rows are scored at the places of the first rows"
                )
            if held_out is not None and rows.scaled and held_out.num_units != train.num_units:
                notes.append(
                    f"the {held_out.num_units:,} validation rows stand for all {train.num_units:,}, whose "
                    "latents they share"
                )
            with undisturbed(target, seed):
                if isinstance(elbo, Objective):
                    elbo = elbo.planned(examined, *first, num_data=train.num_units)
                notes += check_of_pyro(elbo, examined)
                terms = what_is_no_elbo(elbo, examined)
            stored = registered(target, examined.guide, examined.model)
            beside = elbo.modules if isinstance(elbo, Objective) else {}
            modules = {
                **target.modules,
                **{f"{checkpoint.BESIDE}{n}.": m for n, m in beside.items()},
            }
            learning = replace(target, modules=modules)
        parameters = {**named_parameters(learning), **stored}
        elbo = elbo or default_elbo(examined.structure)
        step = Step(examined, rows, parameters, elbo, optimizer, clip_norm)
        with undisturbed(target, seed):
            notes += step.check_everything_trains(first)
        compiled = partial(use_compiled, step, compile, precision, first, train.num_units, settings)
        learnt = checkpoint.tensors_of(learning, stored)
        noun = "images" if first and first[0].dim() == 4 else "rows" if first else "steps"
        loop = Loop(step, learnt, train, held_out, place, run, settings, is_elbo=not terms)
        return loop.run(resume, noun, lambda: [*notes, *terms, *compiled()])


def _opened(
    program: Program,
    data: Any,
    validation: Any,
    device: str | torch.device,
    args: tuple[Any, ...] | None,
    kwargs: Mapping[str, Any] | None,
) -> tuple[Program, Batches, torch.device]:
    """The program and what to call it with: rows of data, or one call over and over."""
    if isinstance(data, DataSet):
        data = data.train
    if data is not None and args is None and kwargs is None:
        place = resolve(device)
        return program, batches(data, place, signature(program)), place
    args, kwargs = call_arguments(data, args, kwargs)
    if validation is not None:
        raise InputError("validation data go with data; a call by args and kwargs has none")
    tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)]
    place = tensors[0].device if tensors and device == "auto" else resolve(device)
    model, guide = (
        partial(function, *args, **kwargs) for function in (program.model, program.guide)
    )
    return replace(program, model=model, guide=guide), OneCall(place), place


def _all(program: Program, examined: Examination) -> dict[str, torch.Tensor]:
    """All that can be trained: in the program's modules, and in Pyro's store."""
    store = dict(pyro.get_param_store().named_parameters())
    return {**named_parameters(program), **{f"store/{n}": p for n, p in store.items()}}


def _check_held_out(program: Program, rows: Rows, held_out: Batches | None) -> None:
    """:raises InputError: the guide has parameters for each row, and is to score others."""
    if held_out is None or not rows.of_rows or held_out.num_units == rows.num_rows:
        return
    count = held_out.num_units
    found = as_found(program.modules, program.model, program.guide)
    try:
        with undisturbed(program), found, torch.no_grad():
            examine(program, *next(held_out.take(torch.arange(count), count)))
    except InputError as error:
        raise InputError(
            f"the validation data have {count:,} rows and the training data {rows.num_rows:,}, and "
            f"{rows.of_rows[0]} has parameters for each of these: such a guide says nothing of other rows, "
            "so leave validation out"
        ) from error


@contextmanager
def _own_noise(seed: int) -> Iterator[None]:
    """Generators that start from ``seed``; the global ones go on afterwards as if nothing had been."""
    before = rng_state()
    pyro.set_rng_seed(checked_seed(seed))
    try:
        yield
    finally:
        set_rng_state(before)


@contextmanager
def _noted() -> Iterator[None]:
    """Leaves out the warning of Pyro's, at each call, of what a note says once."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"[\s\S]*you need to use TraceEnum_ELBO", UserWarning)
        yield


@contextmanager
def _training(program: Program) -> Iterator[None]:
    modes = {m: m.training for root in program.modules.values() for m in root.modules()}
    for module in program.modules.values():
        module.train()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
