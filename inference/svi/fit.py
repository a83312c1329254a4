"""Stochastic variational inference: fit a model and a guide to data."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pyro.infer import ELBO
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pyro_vae import argument_checks as checks
from pyro_vae.allocations import raise_malloc_thresholds
from pyro_vae.inference.compiling.inductor import Compile
from pyro_vae.inference.compiling.precision import Precision
from pyro_vae.inference.objectives import Schedule
from pyro_vae.inference.svi.compiled_engine import check_modes
from pyro_vae.inference.svi.fit_arguments import CHECKS, beta_of, check_restarts, check_together
from pyro_vae.inference.svi.fit_result import FitResult
from pyro_vae.inference.svi.hook import Hook, OnEpoch
from pyro_vae.inference.svi.made_guide import needs_guide
from pyro_vae.inference.svi.opening import open_fit
from pyro_vae.inference.svi.optimizer import OptimizerFactory
from pyro_vae.inference.svi.restarts import best_of
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.inference.svi.settings import Settings
from pyro_vae.inference.svi.single_run import SingleRun

DEFAULT_CONTROL = RunControl()


def fit(
    program: Any,
    data: Any = None,
    *,
    validation: Any = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    shuffle: bool | None = None,
    optimizer: OptimizerFactory | None = None,
    lr_schedule: Callable[[Optimizer], LRScheduler] | None = None,
    elbo: ELBO | None = None,
    beta: Schedule | float = 1.0,  # in this order the command line says what one refuses
    kl_warmup: float = 0.0,
    clip_norm: float | None = None,
    patience: int | None = None,
    keep_best: bool = True,
    averaging: float | None = None,
    restarts: int = 1,
    seed: int = 0,
    device: str | torch.device = "auto",
    out: Path | str | None = None,
    resume: bool = False,
    record: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    on_epoch: OnEpoch | None = None,
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

    Small problems, of 1,000 rows at most (or all rows in a step), get a learning rate that falls to 0 along
    a cosine, unless ``optimizer`` or ``lr_schedule`` says otherwise. It starts from 0.1, or from
    1 / sqrt(n) with n > 100 parameters; with layers, of 1,000 parameters at most, from 0.01. For a model
    without latents, such as Table, of any size, it starts from 0.001. An AutoGuide that has the posterior's
    covariances then gets the objective ``Landing``, over half of the run.
    ``FitResult.verdict`` says in a sentence whether the fit had converged, and ``print(result)`` shows it.

    With ``restarts`` and ``out``, the first fit is in ``out`` and each other in a folder in there, and
    ``resume`` goes on with all of them; when all have ended, ``out`` holds the best. Without ``out``,
    Ctrl-C leaves the program with what the present fit has learnt.

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
            (:class:`pyro_vae.guides.AutoAmortized`): ``FitResult.program`` holds both. Where the objective
            uses no guide (Adversarial), a model stays without.
        data: a tensor or array, a tuple of them of equal length, a DataFrame whose columns have the names
            of the model's arguments, a torch Dataset, a DataLoader, a split, or a data set (its validation
            split is used, too).
        validation: held-out data of the same kind, for early stopping and keep-best.
        epochs: passes over the data; by default 100, more for few rows, fewer for many.
        steps: of the optimizer, in place of epochs; rounded up to whole passes over the rows.
        batch_size: rows a step; by default a DataLoader's own, 128, or all where rows depend on each other.
        shuffle: take the rows in a new order each epoch; by default unless a row's position matters.
        optimizer: makes a torch optimizer from the parameters; by default Adam at a learning rate of 0.001,
            or one that falls to 0 for small problems and for models without latents.
        lr_schedule: makes a torch learning-rate schedule from the optimizer; it steps once an epoch.
        elbo: the objective; by default Trace_ELBO, TraceEnum_ELBO where a latent is enumerated, or Landing.
        beta: weight of the KL term, or a schedule of it.
        kl_warmup: epochs over which that weight grows from 0 to beta.
        clip_norm: largest norm of the gradient of the ELBO per unit.
        patience: stop after so many epochs without a better figure in validation.
        keep_best: end with the parameters of the epoch where that figure was best.
        averaging: end with the mean of the parameters over the last steps, a share such as 0.25.
        restarts: fit so many times from starts of their own, and keep the best by its (validation) ELBO.
        seed: seed of the order of the rows and of all noise.
        device: "auto" is the GPU where there is one.
        out: a folder for metrics and checkpoints.
        resume: go on with the run in ``out``; the optimizer may have another learning rate now.
        record: further entries of the checkpoint; compared on resume.
        progress: whether to draw a bar; by default where standard error is a terminal.
        on_epoch: a function that is called after each epoch with an
            :class:`~pyro_vae.tracking.EpochEvent`. It changes no result. If it raises, a note names it, and
            the fit goes on without it.
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
    check_together(epochs, steps, resume, out)
    check_restarts(elbo, restarts)
    beta = beta_of(elbo, beta, kl_warmup)
    opened = open_fit(program, data, validation, device, args, kwargs, seed, needs_guide(elbo))
    check_modes(compile, precision, opened.device)
    raise_malloc_thresholds()
    hook = Hook(on_epoch)
    run = SingleRun(
        opened,
        Settings(
            optimizer,
            lr_schedule,
            beta,
            kl_warmup,
            patience,
            keep_best,
            averaging,
            seed,
            progress,
            hook,
        ),
        epochs,
        steps,
        batch_size,
        shuffle,
        elbo,
        clip_norm,
        record or {},
        compile,
        precision,
        control,
    )
    folder = None if out is None else Path(out)
    result = run(folder, resume).result if restarts == 1 else best_of(restarts, run, folder, resume)
    return hook.noted(result)
