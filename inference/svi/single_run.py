"""One run of a fit, from its start or its checkpoint to its end."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyro
from torch import Tensor

from pyro_vae.inference.compiling.inductor import Compile
from pyro_vae.inference.compiling.precision import Precision
from pyro_vae.inference.objectives import Objective
from pyro_vae.inference.svi.compiled_engine import CompiledEngine, expected_batches
from pyro_vae.inference.svi.engine import EagerEngine, Engine
from pyro_vae.inference.svi.fit_result import FitResult
from pyro_vae.inference.svi.opening import Opened
from pyro_vae.inference.svi.optimizer import ADAM, make_optimizer
from pyro_vae.inference.svi.preparation import Prepared, Task, prepare
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.inference.svi.run_storage import RunStorage
from pyro_vae.inference.svi.settings import Settings
from pyro_vae.inference.svi.step import Step
from pyro_vae.inference.svi.step_graph import StepCapture
from pyro_vae.inference.svi.training_loop import Loop
from pyro_vae.program.contract import Program
from pyro_vae.program.generators import rng_state, set_rng_state
from pyro_vae.program.one_thread import one_thread
from pyro_vae.program.param_store import own_parameters


@dataclass(frozen=True)
class Ended:
    """Hold a run that has ended.

    Attributes:
        result: what it returns.
        learnt: what a checkpoint holds, by name, with the values that the run ended with.
        figure: by which runs are compared, in nats; NaN where no others are run.
    """

    result: FitResult
    learnt: Mapping[str, Tensor]
    figure: float


@dataclass(frozen=True)
class SingleRun:
    """Run a fit once: call it with the folder, and the seed in the settings.

    The attributes are the arguments of :func:`pyro_vae.inference.svi.fit.fit`.
    """

    opened: Opened
    settings: Settings
    epochs: int | None
    steps: int | None
    batch_size: int | None
    shuffle: bool | None
    elbo: Any
    clip_norm: float | None
    record: Mapping[str, Any]
    compile: Compile
    precision: Precision
    control: RunControl

    def __call__(
        self,
        folder: Path | None,
        resume: bool,
        at_start: Callable[[Prepared], None] | None = None,
    ) -> Ended:
        """Run to the end.

        Args:
            folder: of the run, if it is kept.
            resume: whether the folder's run goes on.
            at_start: what is done before the first step, where this run is one of several.
        """
        opened, settings = self.opened, self.settings
        storage = RunStorage(folder, resume, {"program": opened.kind, **self.record})
        task = Task(
            opened.program,
            opened.train,
            opened.held_out,
            self.batch_size,
            self.shuffle,
            self.epochs,
            self.steps,
            self.elbo,
            settings,
        )
        with one_thread(), storage.sole_use(), _isolated(opened.program, settings.seed):
            prepared = prepare(task, resume)
            if at_start is not None:
                at_start(prepared)
            minibatching = prepared.loss.minibatching
            sizes = [minibatching.num_rows, minibatching.batch_size, minibatching.shuffle]
            storage.record |= {"rows": sizes}
            elbo = prepared.loss.elbo
            own_options = elbo.own_options if isinstance(elbo, Objective) else {}
            step = Step(
                self._engine(prepared),
                make_optimizer(
                    prepared.settings.optimizer or ADAM, prepared.parameters, own_options
                ),
                self.clip_norm,
            )
            loop = Loop(
                step,
                prepared.learnt,
                opened.train,
                opened.held_out,
                storage,
                prepared.settings,
                self.control,
                prepared.is_elbo,
            )
            result = loop.run(resume, _noun(prepared), prepared.notes)
            figure = math.nan if at_start is None else loop.score.common()
        has_latents = bool(prepared.loss.structure.latents)
        result = replace(result, program=opened.given, has_latents=has_latents)
        return Ended(result, prepared.learnt, figure)

    def _engine(self, prepared: Prepared) -> Engine:
        loss, parameters, settings = prepared.loss, prepared.parameters, prepared.settings
        eager = EagerEngine(loss, parameters, self.precision)
        if self.compile == "off":
            return eager
        capture = StepCapture(loss, parameters, settings.is_tempered)
        expected = expected_batches(prepared.first, loss.minibatching, settings.epochs)
        return CompiledEngine(eager, capture, self.compile, expected, self.control)


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
