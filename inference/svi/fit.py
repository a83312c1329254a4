"""Stochastic variational inference: fit a model and a guide to data."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pyro
import torch
from pyro.infer import ELBO
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pyro_vae import argument_checks as checks
from pyro_vae.allocations import raise_malloc_thresholds
from pyro_vae.data import DataSet, batches
from pyro_vae.errors import InputError, at_least_1, must_be, positive, true_or_false
from pyro_vae.inference.compiling.inductor import Compile
from pyro_vae.inference.compiling.precision import Precision
from pyro_vae.inference.objectives import Linear, Schedule
from pyro_vae.inference.objectives.objective import Scheduled
from pyro_vae.inference.svi.compiled_engine import (
    CompiledEngine,
    check_modes,
    expected_batches,
)
from pyro_vae.inference.svi.engine import EagerEngine, Engine
from pyro_vae.inference.svi.fit_result import FitResult
from pyro_vae.inference.svi.made_guide import (
    default_lr_schedule,
    default_objective,
    trains_made_guide_alone,
)
from pyro_vae.inference.svi.opening import kind_of, opened
from pyro_vae.inference.svi.optimizer import (
    PASS_LR_SCHEDULE,
    PASS_OPTIMIZER,
    OptimizerFactory,
    make_optimizer,
)
from pyro_vae.inference.svi.preparation import Prepared, Task, prepare
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.inference.svi.run_storage import RunStorage
from pyro_vae.inference.svi.settings import Settings
from pyro_vae.inference.svi.step import Step
from pyro_vae.inference.svi.step_graph import StepCapture
from pyro_vae.inference.svi.training_loop import Loop
from pyro_vae.program.contract import Program, signature
from pyro_vae.program.generators import rng_state, set_rng_state
from pyro_vae.program.one_thread import one_thread
from pyro_vae.program.param_store import own_parameters

ADAM: OptimizerFactory = partial(Adam, lr=1e-3)
DEFAULT_CONTROL = RunControl()


def fit(
    program: Any,
    data: Any = None,
    *,
    validation: Any = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    shuffle: bool | None = None,
    optimizer: OptimizerFactory = ADAM,
    lr_schedule: Callable[[Optimizer], LRScheduler] | None = None,
    elbo: ELBO | None = None,
    beta: Schedule | float = 1.0,  # in this order the command line says what one refuses
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
    control: RunControl = DEFAULT_CONTROL,
) -> FitResult:
    """Fit a program by SVI: maximise its ELBO over all its parameters.

    Ctrl-C and SIGTERM wait for the current step and a last save, and then act as ever (Ctrl-C raises
    KeyboardInterrupt); the program keeps what it has learnt. The same seed gives the same run, and a run
    that was killed and resumed ends as one that was not, to the last bit on a CPU. The global generators
    are restored. A second thread that fits or evaluates a program waits: Pyro's state is one per process.

    All rows are a batch, up to 100,000 of them, where rows share latents or a row's position matters; rows
    then keep their order. A smaller batch counts for all rows where they share latents. Epochs in which a
    KL weight changes (warm-up, a schedule) do not count for ``patience``, and figures in validation always
    have a KL weight of 1. Trace_ELBO is used in a form that does not wait for the device (TraceELBO); a
    latent is enumerated if it is marked ``infer={"enumerate": "parallel"}``.

    With a guide made from the model (:class:`pyro_vae.guides.AutoAmortized`), what is left out is chosen
    for it: the learning rate falls to 0 along a cosine; where the model sums nothing out, the objective is
    ``Landing`` over the first half of the epochs; where rows share latents and the model has no
    parameters, the last epoch is kept, since the guide is to fit the training rows.

    A step is compiled ("auto") where that is possible and saves more time than it costs, and
    ``FitResult.notes`` says so; "on" raises where it is impossible. The precision is that of matrix
    products and convolutions in training: "bf16" rounds to bfloat16, as autocast does. Everything else is
    float32, as are validation and every evidence.

    Args:
        program: a model and guide (:func:`pyro_vae.program.contract.as_program`), trained in place. A model
            alone, or an object with ``.model`` alone, gets a guide made from it
            (:class:`pyro_vae.guides.AutoAmortized`): ``FitResult.program`` holds both.
        data: a tensor or array, a tuple of them of equal length, a DataFrame whose columns have the names
            of the model's arguments, a torch Dataset, a DataLoader, a split, or a data set (its validation
            split is used, too).
        validation: held-out data of the same kind, for early stopping and keep-best.
        epochs: passes over the data; by default 100, more for few rows, fewer for many.
        batch_size: rows a step; by default a DataLoader's own, 128, or all where rows depend on each other.
        shuffle: take the rows in a new order each epoch; by default unless a row's position matters.
        optimizer: makes a torch optimizer from the parameters.
        lr_schedule: makes a torch learning-rate schedule from the optimizer; it steps once an epoch.
        elbo: the objective; by default Trace_ELBO, or TraceEnum_ELBO where a latent is enumerated.
        beta: weight of the KL term, or a schedule of it.
        kl_warmup: epochs over which that weight grows from 0 to beta.
        clip_norm: largest norm of the gradient of the ELBO per unit.
        patience: stop after so many epochs without a better figure in validation.
        keep_best: end with the parameters of the epoch where that figure was best.
        seed: seed of the order of the rows and of all noise.
        device: "auto" is the GPU where there is one.
        out: a folder for metrics and checkpoints.
        resume: go on with the run in ``out``; the optimizer may have another learning rate now.
        record: further entries of the checkpoint; compared on resume.
        progress: whether to draw a bar; by default where standard error is a terminal.
        compile: run the step as one compiled graph: where it saves time (auto), always, or never.
        precision: that of matrix products in training; bf16 requires a compiled step, tf32 CUDA.
        args: with ``kwargs``, in place of ``data``: each step calls the program with them as they are,
            on their device.
        kwargs: see ``args``.
        control: when to save, to compile and to stop, for tests and benchmarks.

    Returns:
        The metrics of each epoch, and how the steps were run.

    Raises:
        InputError: the program does not fit the data (with the site), nothing would be trained,
            ``out`` holds another run, the loss is not finite (with the site).

    >>> from pyro_vae.models import FactorAnalysis
    >>> result = fit(FactorAnalysis((3,), 1), torch.randn(64, 3), epochs=2, progress=False)
    >>> len(result.metrics)
    2
    """
    checks.check_arguments(CHECKS, locals())
    if out is None and resume:
        raise InputError(
            "resume needs the folder of the run", subject="resume", remedy="pass out=FOLDER, too"
        )
    beta = _beta_of(elbo, beta, kl_warmup)
    planned_epochs = 1 if epochs is None else epochs
    settings = Settings(
        planned_epochs, lr_schedule, beta, kl_warmup, patience, keep_best, seed, progress
    )
    kind = kind_of(program)
    given, program, train, place = opened(program, data, device, args, kwargs, seed, validation)
    check_modes(compile, precision, place)
    for module in program.modules.values():
        module.to(place)
    if isinstance(data, DataSet) and validation is None:
        validation = data.validation
    with checks.naming("validation"):
        held_out = None if validation is None else batches(validation, place, signature(program))
    run_storage = RunStorage(
        None if out is None else Path(out), resume, {"program": kind, **(record or {})}
    )
    landing = default_objective(program) if elbo is None and beta == 1 and not kl_warmup else None
    elbo = landing or elbo
    task = Task(program, train, held_out, batch_size, shuffle, epochs, elbo, seed)
    raise_malloc_thresholds()
    with one_thread(), run_storage.sole_use(), _isolated(program, seed):
        prepared = prepare(task, resume)
        minibatching = prepared.loss.minibatching
        sizes = [minibatching.num_rows, minibatching.batch_size, minibatching.shuffle]
        run_storage.record |= {"rows": sizes}
        if landing is not None:  # in the first half of the run
            settings = replace(settings, beta=Linear(0.0, 1.0, epochs=prepared.epochs / 2))
        lr_schedule = lr_schedule or default_lr_schedule(program, prepared.epochs)
        keep_best = keep_best and not (
            minibatching.is_joint and trains_made_guide_alone(program, prepared.parameters)
        )
        settings = replace(
            settings, epochs=prepared.epochs, lr_schedule=lr_schedule, keep_best=keep_best
        )
        engine = _make_engine(prepared, compile, precision, settings, control)
        step = Step(engine, make_optimizer(optimizer, prepared.parameters), clip_norm)
        loop = Loop(
            step, prepared.learnt, train, held_out, run_storage, settings, control, prepared.is_elbo
        )
        result = loop.run(resume, _noun(prepared), prepared.notes)
    return replace(result, program=given)


def _check_elbo(name: str, elbo: Any) -> None:
    if not isinstance(elbo, ELBO):
        is_class = isinstance(elbo, type) and issubclass(elbo, ELBO)
        remedy = f"pass {elbo.__name__}(...)" if is_class else "pass one, such as Trace_ELBO()"
        raise must_be(name, "an object of class ELBO", elbo, remedy=remedy)
    at_least_1("num_particles", elbo.num_particles)  # Pyro does not check it


CHECKS: dict[str, checks.Check] = {
    "epochs": checks.optional(at_least_1),
    "batch_size": checks.optional(at_least_1),
    "shuffle": checks.optional(true_or_false),
    "optimizer": checks.suggesting(PASS_OPTIMIZER, checks.function),
    "lr_schedule": checks.optional(checks.suggesting(PASS_LR_SCHEDULE, checks.function)),
    "elbo": checks.optional(_check_elbo),
    "beta": checks.number_or(Schedule, "a Schedule such as Linear()"),
    "kl_warmup": checks.not_negative,
    "clip_norm": checks.optional(positive),
    "patience": checks.optional(at_least_1),
    "keep_best": true_or_false,
    "seed": checks.seed,
    "out": checks.optional(checks.path),
    "resume": true_or_false,
    "record": checks.optional(checks.mapping),
    "progress": checks.optional(true_or_false),
    "compile": checks.one_of(*get_args(Compile)),
    "precision": checks.one_of(*get_args(Precision)),
    "control": checks.instance(RunControl, "a RunControl"),
}


def _beta_of(elbo: Any, beta: Schedule | float, kl_warmup: float) -> Schedule | float:
    """Return the number that changes over the run: the KL weight, or that of the objective itself.

    Raises:
        InputError: both are given.
    """
    if not isinstance(elbo, Scheduled):
        return beta
    if isinstance(beta, Schedule) or beta != 1 or kl_warmup:
        raise InputError(
            f"{type(elbo).__name__} weighs the KL term itself",
            subject=type(elbo).__name__,
            remedy="leave beta and kl_warmup out",
        )
    return elbo.schedule


def _make_engine(
    prepared: Prepared,
    mode: Compile,
    precision: Precision,
    settings: Settings,
    control: RunControl,
) -> Engine:
    loss, parameters = prepared.loss, prepared.parameters
    eager = EagerEngine(loss, parameters, precision)
    if mode == "off":
        return eager
    capture = StepCapture(loss, parameters, settings.is_tempered)
    expected = expected_batches(prepared.first, loss.minibatching, settings.epochs)
    return CompiledEngine(eager, capture, mode, expected, control)


def _noun(prepared: Prepared) -> str:
    """Return what a progress bar counts."""
    first = prepared.first
    return ("images" if first[0].dim() == 4 else "rows") if first else "steps"


@contextmanager
def _isolated(program: Program, seed: int) -> Iterator[None]:
    """Train with generators that start from ``seed``, and restore them and the modes afterwards."""
    modes = {m: m.training for root in program.modules.values() for m in root.modules()}
    generators = rng_state()
    pyro.set_rng_seed(seed)
    try:
        with own_parameters(program), warnings.catch_warnings():
            # a note says it once
            warnings.filterwarnings("ignore", r"[\s\S]*you need to use TraceEnum_ELBO", UserWarning)
            for module in program.modules.values():
                module.train()
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        set_rng_state(generators)
