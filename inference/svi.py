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
from pyro_vae.data import DataSet, batches
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.inference.compile import Compile, check_modes, use_compiled
from pyro_vae.inference.loop import Fit, Loop, Settings, order
from pyro_vae.inference.objectives import Objective, Schedule, default_elbo
from pyro_vae.inference.objectives.objective import Scheduled
from pyro_vae.inference.objectives.requirements import check_of_pyro
from pyro_vae.inference.precision import Precision
from pyro_vae.inference.run import Run
from pyro_vae.inference.step import OptimizerFactory, Step
from pyro_vae.isolation import checked_seed, own_parameters, rng_state, set_rng_state, undisturbed
from pyro_vae.layout import examine
from pyro_vae.parameters import named_parameters, stored_parameters
from pyro_vae.program import Program, as_program, num_arguments

ADAM: OptimizerFactory = partial(Adam, lr=1e-3)


def fit(
    program: Any,
    data: Any,
    *,
    validation: Any = None,
    epochs: int = 100,
    batch_size: int = 128,
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
) -> Fit:
    """Fits a program by SVI: maximises its ELBO over all its parameters.

    Ctrl-C and SIGTERM wait for the step under way and for a last save, and then act as ever (Ctrl-C
    raises KeyboardInterrupt); the program keeps what it has learnt. The same seed gives the same run,
    and a run that was killed and resumed ends as one that was not, to the last bit on a CPU. The
    global generators are left as they were.

    Args:
        program: a model and guide (:func:`pyro_vae.program.as_program`), trained in place.
        data: a tensor, a tuple of tensors of equal length, a torch Dataset, a DataLoader, a split,
            or a data set (whose validation split is used then).
        validation: held-out data of the same kind, for early stopping and keep-best.
        epochs: passes over the data.
        batch_size: data a step.
        optimizer: makes a torch optimizer from the parameters.
        schedule: makes a torch learning-rate schedule from the optimizer; stepped once an epoch.
        elbo: any Pyro ELBO, one of :mod:`pyro_vae.inference.objectives` say; by default Trace_ELBO, in
            a form that does not wait for the device, or TraceEnum_ELBO where a discrete latent is
            marked ``infer={"enumerate": "parallel"}``.
        beta: weight of the KL term, or its schedule. The reported validation ELBO always has weight 1.
        kl_warmup: epochs over which that weight grows from 0 to beta.
        clip_norm: largest norm of the gradient of the ELBO per unit.
        patience: stop after so many epochs without a better validation ELBO (or bound, where that is
            what the objective is).
        keep_best: end with the parameters of the epoch where it was best.
        seed: of the order of the data and of all noise.
        device: "auto" is the GPU where there is one.
        out: a folder for metrics and checkpoints.
        resume: go on with the run in ``out``.
        record: what else the checkpoint should hold; compared on resume.
        progress: whether to draw a bar; by default where standard error is a terminal.
        compile: "auto" runs the step as one compiled graph where that can be done and saves more
            than it costs, and says so in ``Fit.notes``; "on" does it always, and raises where it
            cannot be done; "off" never.
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
    settings = Settings(
        epochs, batch_size, schedule, beta, kl_warmup, patience, keep_best, seed, progress
    )
    target, place = as_program(program), resolve(device)
    check_modes(compile, precision, place)
    for module in target.modules.values():
        module.to(place)
    if isinstance(data, DataSet):
        data, validation = data.train, data.validation if validation is None else validation
    columns = num_arguments(target.model)
    train = batches(data, place, columns)
    held_out = None if validation is None else batches(validation, place, columns)
    kind = type(program).__qualname__ if target.modules else "functions"
    run = Run(None if out is None else Path(out), resume, {"program": kind, **(record or {})})
    with run.sole_use(), _own_noise(seed), own_parameters(target), _training(target), _noted():
        first = next(train.take(order(train.num_units, seed, 0), batch_size))
        with undisturbed(target, seed):
            layout = examine(target, *first)
            if isinstance(elbo, Objective):
                elbo = elbo.planned(target, *first, num_data=train.num_units)
            notes = check_of_pyro(elbo, target, layout, first)
        stored = stored_parameters(target, *first, seed=seed)
        beside = elbo.modules if isinstance(elbo, Objective) else {}
        modules = {**target.modules, **{f"{checkpoint.BESIDE}{n}.": m for n, m in beside.items()}}
        learning = replace(target, modules=modules)
        parameters = {**named_parameters(learning), **stored}
        step = Step(target, layout, parameters, elbo or default_elbo(layout), optimizer, clip_norm)
        with undisturbed(target, seed):
            step.check_everything_trains(first)
        compiled = partial(use_compiled, step, compile, precision, first, train.num_units, settings)
        learnt = checkpoint.tensors_of(learning, stored)
        return Loop(step, learnt, train, held_out, place, run, settings).run(
            resume, "images" if first[0].dim() == 4 else "rows", lambda: notes + compiled()
        )


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
