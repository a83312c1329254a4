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

from pyro_vae.data import Batches, DataSet, OneCall, batches
from pyro_vae.device import resolve
from pyro_vae.errors import InputError, at_least_1, positive, true_or_false
from pyro_vae.inference.compiling.precision import Precision
from pyro_vae.inference.objectives import Schedule
from pyro_vae.inference.objectives.objective import Scheduled
from pyro_vae.inference.svi.compiled_engine import (
    Compile,
    CompiledEngine,
    check_modes,
    expected_batches,
)
from pyro_vae.inference.svi.engine import EagerEngine, Engine
from pyro_vae.inference.svi.fit_result import FitResult
from pyro_vae.inference.svi.optimizer import OptimizerFactory, make_optimizer
from pyro_vae.inference.svi.preparation import Prepared, Task, prepare
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.inference.svi.run_state import RunState
from pyro_vae.inference.svi.settings import Settings
from pyro_vae.inference.svi.step import Step
from pyro_vae.inference.svi.step_graph import StepCapture
from pyro_vae.inference.svi.training_loop import Loop
from pyro_vae.program.call_arguments import call_arguments
from pyro_vae.program.contract import Program, as_program, signature
from pyro_vae.program.generators import rng_state, set_rng_state
from pyro_vae.program.isolation import checked_seed
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
    control: RunControl = DEFAULT_CONTROL,
) -> FitResult:
    """Fit a program by SVI: maximise its ELBO over all its parameters.

    Ctrl-C and SIGTERM wait for the current step and a last save, and then act as ever (Ctrl-C raises
    KeyboardInterrupt); the program keeps what it has learnt. The same seed gives the same run, and a run
    that was killed and resumed ends as one that was not, to the last bit on a CPU. The global generators
    are restored. A second thread that fits or evaluates a program waits: Pyro's state is one per process.

    Args:
        program: a model and guide (:func:`pyro_vae.program.contract.as_program`), trained in place.
        data: a tensor, a tuple of tensors of equal length, a torch Dataset, a DataLoader, a split,
            or a data set (its validation split is used, too).
        validation: held-out data of the same kind, for early stopping and keep-best.
        epochs: passes over the data; by default 100, or more for small data, or fewer for large
            (:func:`pyro_vae.inference.svi.epochs.default_epochs`).
        batch_size: rows a step; by default a DataLoader's own, or 128, or all of them, up to 100,000,
            where all rows share latents or a row's position matters. A smaller batch counts for all rows
            where they share latents.
        shuffle: whether each epoch takes the rows in an order of its own. By default it does, unless
            a row's score depends on its position: then they keep their order.
        optimizer: makes a torch optimizer from the parameters.
        schedule: makes a torch learning-rate schedule from the optimizer; stepped once an epoch.
        elbo: any Pyro ELBO, such as those of :mod:`pyro_vae.inference.objectives`; by default Trace_ELBO,
            in a form that does not wait for the device, or TraceEnum_ELBO where a discrete latent is
            marked ``infer={"enumerate": "parallel"}``.
        beta: weight of the KL term, or its schedule. The reported validation ELBO always has weight 1.
        kl_warmup: epochs over which that weight grows from 0 to beta.
        clip_norm: largest norm of the gradient of the ELBO per unit.
        patience: epochs without a better validation ELBO (or bound, if the objective is one) after which
            the run stops. Epochs in which a KL weight changes (warm-up, a schedule) do not count.
        keep_best: end with the parameters of the epoch where it was best.
        seed: of the order of the data and of all noise.
        device: "auto" is the GPU where there is one.
        out: a folder for metrics and checkpoints.
        resume: go on with the run in ``out``; the optimizer may have another learning rate now.
        record: further entries of the checkpoint; compared on resume.
        progress: whether to draw a bar; by default where standard error is a terminal.
        compile: "auto" runs the step as one compiled graph where that is possible and saves more
            than it costs, and says so in ``FitResult.notes``; "on" does it always, and raises where it
            is impossible; "off" never does.
        precision: what matrix products and convolutions multiply in training: "float32", "bf16"
            (rounded to bfloat16, as autocast does; needs the step as a graph) or, on CUDA, "tf32".
            Everything else is float32, as are validation and every evidence.
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
    if out is None and resume:
        raise InputError("resume needs `out`, the folder of the run", subject="resume")
    _check_options(elbo, batch_size, shuffle, clip_norm)
    beta = _beta_of(elbo, beta, kl_warmup)
    planned_epochs = 1 if epochs is None else epochs
    settings = Settings(
        planned_epochs, schedule, beta, kl_warmup, patience, keep_best, seed, progress
    )
    kind = type(program).__qualname__
    program, train, place = _open(as_program(program), data, validation, device, args, kwargs)
    check_modes(compile, precision, place)
    kind = kind if program.modules else "functions"
    for module in program.modules.values():
        module.to(place)
    if isinstance(data, DataSet) and validation is None:
        validation = data.validation
    held_out = None if validation is None else batches(validation, place, signature(program))
    run_state = RunState(
        None if out is None else Path(out), resume, {"program": kind, **(record or {})}
    )
    task = Task(program, train, held_out, batch_size, shuffle, epochs, elbo, seed)
    with one_thread(), run_state.sole_use(), _isolated(program, seed):
        prepared = prepare(task, resume)
        minibatching = prepared.loss.minibatching
        sizes = [minibatching.num_rows, minibatching.batch_size, minibatching.shuffle]
        run_state.record |= {"rows": sizes}
        settings = replace(settings, epochs=prepared.epochs)
        engine = _make_engine(prepared, compile, precision, settings, control)
        step = Step(engine, make_optimizer(optimizer, prepared.parameters), clip_norm)
        loop = Loop(
            step, prepared.learnt, train, held_out, run_state, settings, control, prepared.is_elbo
        )
        return loop.run(resume, _noun(prepared), prepared.notes)


def _check_options(elbo: Any, batch_size: Any, shuffle: Any, clip_norm: Any) -> None:
    """Check the options that :class:`Settings` does not hold."""
    if batch_size is not None:
        at_least_1("batch_size", batch_size)
    if shuffle is not None:
        true_or_false("shuffle", shuffle)
    if clip_norm is not None:
        positive("clip_norm", clip_norm)
    if elbo is not None and not isinstance(elbo, ELBO):
        is_class = isinstance(elbo, type) and issubclass(elbo, ELBO)
        raise InputError(
            f"elbo is {f'the class {elbo.__name__}' if is_class else repr(elbo)}",
            subject="elbo",
            expected="an object of class ELBO",
            remedy=f"pass {elbo.__name__}(...)" if is_class else "pass one, such as Trace_ELBO()",
        )


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


def _open(
    program: Program,
    data: Any,
    validation: Any,
    device: str | torch.device,
    args: tuple[Any, ...] | None,
    kwargs: Mapping[str, Any] | None,
) -> tuple[Program, Batches, torch.device]:
    """Return the program and its data: rows, or one call over and over."""
    if isinstance(data, DataSet):
        data = data.train
    if data is not None and args is None and kwargs is None:
        place = resolve(device)
        return program, batches(data, place, signature(program)), place
    args, kwargs = call_arguments(data, args, kwargs)
    if validation is not None:
        raise InputError(
            "validation goes with data, not with args and kwargs",
            subject="validation",
            remedy="pass the rows as data",
        )
    tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)]
    place = tensors[0].device if tensors and device == "auto" else resolve(device)
    model, guide = (
        partial(function, *args, **kwargs) for function in (program.model, program.guide)
    )
    return replace(program, model=model, guide=guide), OneCall(place), place


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
    pyro.set_rng_seed(checked_seed(seed))
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
