"""The loop around the step: epochs, validation, keep-best, early stopping, saving, stopping."""

import copy
import math
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace

import pyro
import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from tqdm import tqdm

from pyro_vae import checkpoint
from pyro_vae.data import Batches
from pyro_vae.errors import InputError
from pyro_vae.inference.objectives.objective import Scheduled
from pyro_vae.inference.svi.fit_result import FitResult, monitored_figure, times_of
from pyro_vae.inference.svi.interrupt import deferred_signals
from pyro_vae.inference.svi.made_guide import validates
from pyro_vae.inference.svi.optimizer import make_lr_schedule
from pyro_vae.inference.svi.reporter import Reporter
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.inference.svi.run_storage import CHECKPOINT, Metrics, Position, RunStorage
from pyro_vae.inference.svi.settings import Settings
from pyro_vae.inference.svi.snapshot import Snapshot
from pyro_vae.inference.svi.step import Step
from pyro_vae.inference.svi.step_errors import STABLER
from pyro_vae.inference.svi.validation import Validation, figures_of
from pyro_vae.program.generators import rng_state, set_rng_state, torch_rng_state
from pyro_vae.progress import progress_bar
from pyro_vae.tracking import EpochEvent

SETTLED = 0.01  # of its last value: a scheduled number that changes by less counts as settled


class Loop:
    """Run :func:`pyro_vae.inference.svi.fit.fit` once, from the start or from a checkpoint.

    Args:
        learnt: what a checkpoint holds: parameters and buffers, by name.
        is_elbo: whether an ELBO of this program is a bound of its evidence.
    """

    def __init__(
        self,
        step: Step,
        learnt: Mapping[str, Tensor],
        train: Batches,
        held_out: Batches | None,
        run_storage: RunStorage,
        settings: Settings,
        control: RunControl,
        is_elbo: bool = True,
    ) -> None:
        self.step, self.learnt, self.train, self.run_storage = step, learnt, train, run_storage
        self.settings, self.control = settings, control
        elbo, self.minibatching = step.loss.elbo, step.loss.minibatching
        self.beta_name = elbo.quantity if isinstance(elbo, Scheduled) else "beta"
        self.train_name, name, objective = figures_of(step.loss, is_elbo)
        scored = train if held_out is None else held_out
        self.score = Validation(objective, name, scored, step.loss, settings.seed)
        self.validation = self.score if held_out is not None and validates(elbo) else None
        self.reporter = Reporter(step.loss, train, run_storage.folder, settings)
        self.position, self.best, self.steps_taken = Position(), dict[str, Tensor](), 0
        self.total = torch.zeros((), dtype=torch.float64, device=train.device)
        asked, is_cpu = control.checks_each_loss, train.device.type == "cpu"
        self.checks_each_loss = is_cpu if asked is None else asked
        self.lr_schedule = make_lr_schedule(settings.lr_schedule, step.optimizer)
        self.steps_per_epoch = self.minibatching.steps_per_epoch

    def run(self, resume: bool, noun: str, notes: list[str]) -> FitResult:
        """Run, or go on, to the end; ``noun`` is what the bar counts."""
        started = self.saved_at = time.monotonic()
        if resume:
            self.load()
        else:
            self.save()
        stop_after = math.inf if self.control.stop_after is None else self.control.stop_after
        with deferred_signals() as is_interrupted, self.bar(noun) as bar:

            def stopping() -> bool:
                return is_interrupted() or self.steps_taken >= stop_after

            notes = [*notes, *self.step.engine.prepare()]
            for note in notes if not bar.disable else ():
                bar.write(note, file=sys.stderr)
            while not self.is_done() and not stopping():
                self.epoch(stopping, bar)
            self.save()
            if self.best:
                checkpoint.load_into(self.learnt, self.best, CHECKPOINT)
            result = self.result(time.monotonic() - started, notes)
            if not bar.disable and self.is_done():
                bar.write(result.verdict, file=sys.stderr)
        return result

    def result(self, seconds: float, notes: list[str]) -> FitResult:
        has_best = self.best and self.settings.averaging is None
        return FitResult(
            self.run_storage.metrics,
            self.position.best_epoch if has_best else None,
            seconds,
            self.settings.epochs,
            tuple(notes),
            self.minibatching.is_joint,
            self.steps_per_epoch,
            said=self.reporter.verdict(self.run_storage.metrics),
        )

    def is_done(self) -> bool:
        return self.position.epoch >= self.settings.epochs or self.is_out_of_patience()

    def is_out_of_patience(self) -> bool:
        at, patience = self.position, self.settings.patience
        if patience is None or self.validation is None:
            return False
        since = max(at.best_epoch, at.patient_from)
        return sum(map(self.has_settled, range(since + 1, at.epoch + 1))) >= patience

    def has_settled(self, epoch: int) -> bool:
        """Return whether the scheduled number stood still over an epoch, or is close to its last value.

        As long as the KL term's weight grows, an epoch that is no better shows nothing.
        """
        after, final = (
            self.beta_after(n * self.steps_per_epoch) for n in (epoch, self.settings.epochs)
        )
        before = self.beta_after((epoch - 1) * self.steps_per_epoch)
        return (epoch > 1 and after == before) or abs(after - final) <= SETTLED * abs(final)

    def epoch(self, stopping: Callable[[], bool], bar: tqdm) -> None:
        """Run, or go on with, one epoch; leave it in the middle when asked to stop."""
        at = self.position
        start = None if self.checks_each_loss else self.snapshot()
        order = self.minibatching.order(self.settings.seed, at.epoch)
        with pyro.validation_enabled(at.epoch == 0):  # every datum meets every check once
            for batch in self.train.take(order, self.minibatching.batch_size, at.batch):
                before = torch_rng_state() if self.checks_each_loss else None
                elbo = self.step(batch, self.beta(), before, self.steps_done + 1)
                count = len(batch[0]) if batch else 1
                self.total += elbo.double() * count
                at.batch += 1
                at.num_units += count
                self.average()
                self.steps_taken += 1
                bar.update(count)
                if stopping():
                    return
                if time.monotonic() - self.saved_at > self.control.save_every:
                    self.save()
        if start is not None and not torch.isfinite(self.total):
            self.rewind(start)
            self.checks_each_loss = True  # the same epoch again, step by step, to find the site
            self.epoch(stopping, bar)
            return
        self.finish_epoch(bar)

    def average(self) -> None:
        """Let the parameters to end with be the mean over the last steps, the present one included."""
        at, share = self.position, self.settings.averaging
        if share is None:
            return
        planned = self.settings.epochs * self.steps_per_epoch
        if at.epoch * self.steps_per_epoch + at.batch <= (1 - share) * planned:
            at.averaged, self.best = 0, {}  # of a run that was planned shorter
            return
        at.averaged += 1
        if at.averaged == 1:
            self.best = {name: value.clone() for name, value in self.learnt.items()}
        with torch.no_grad():
            for name, value in self.learnt.items():
                if name.removeprefix("store/") in self.step.parameters:
                    self.best[name].lerp_(value, 1 / at.averaged)
                else:  # a buffer
                    self.best[name].copy_(value)

    def finish_epoch(self, bar: tqdm) -> None:
        at = self.position
        metrics: Metrics = {
            "epoch": at.epoch + 1,
            self.train_name: float(self.total) / at.num_units,
            self.beta_name: self.beta(before=1),
            "learning_rate": self.learning_rate,
        }
        if self.validation is not None:
            metrics[self.validation.name] = self.validation(check=at.epoch == 0)
        metrics |= self.reporter(at.epoch + 1)
        self.advance_schedule(metrics)
        at.epoch, at.batch, at.num_units = at.epoch + 1, 0, 0
        self.total.zero_()
        if self.validation is not None and metrics[self.validation.name] > at.best:
            at.best, at.best_epoch = metrics[self.validation.name], at.epoch
            if self.settings.keep_best and self.settings.averaging is None:
                self.best = {name: value.clone() for name, value in self.learnt.items()}
        self.run_storage.log(metrics)
        folder, settings = self.run_storage.folder, self.settings
        event = EpochEvent(dict(metrics), settings.epochs, settings.seed, folder)
        settings.on_epoch(event, bar, self.save)
        times = times_of(self.steps_per_epoch)
        bar.set_description_str(
            self.reporter.headline(metrics, self.beta_name, times), refresh=False
        )

    def beta(self, before: int = 0) -> float:
        """Return the scheduled number at the next step, or some steps before."""
        return self.beta_after(self.steps_done - before + 1)

    @property
    def steps_done(self) -> int:
        return self.position.epoch * self.steps_per_epoch + self.position.batch

    def beta_after(self, steps: int) -> float:
        return self.settings.beta_after(steps, self.steps_per_epoch)

    @property
    def learning_rate(self) -> float:
        return float(self.step.optimizer.param_groups[0]["lr"])

    def advance_schedule(self, metrics: Metrics) -> None:
        if isinstance(self.lr_schedule, ReduceLROnPlateau):
            if self.has_settled(metrics["epoch"]):  # its patience counts from then on, too
                self.lr_schedule.step(-monitored_figure(metrics)[1])  # it minimises
        elif self.lr_schedule is not None:
            with warnings.catch_warnings():  # torch's, when a resumed run replays the schedule
                warnings.filterwarnings("ignore", "Detected call of `lr_scheduler", UserWarning)
                self.lr_schedule.step()

    def bar(self, noun: str) -> tqdm:
        rows = self.train.num_units
        return progress_bar(
            self.settings.epochs * rows,
            self.settings.progress,
            noun,
            initial=self.position.epoch * rows + self.position.num_units,
            bar_format="{percentage:3.0f}% {bar} {desc}  {rate_fmt}  {remaining} left",
        )

    # --- saved and restored -------------------------------------------------------------------

    def save(self) -> None:
        broken = [n for n, value in self.learnt.items() if not torch.isfinite(value).all()]
        if broken:
            raise InputError(
                f"parameter {broken[0]!r} is no longer finite; the last checkpoint is from before",
                subject=broken[0],
                remedy=STABLER,
            )
        self.position.total = float(self.total)
        tensors = {f"model/{name}": value for name, value in self.learnt.items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        self.run_storage.save(tensors, self.step.optimizer, self.position)
        self.saved_at = time.monotonic()

    def load(self) -> None:
        tensors, self.position = self.run_storage.load(self.step.optimizer)
        at = self.position
        has_units = 0 < at.num_units <= self.train.num_units
        if at.batch > self.steps_per_epoch or bool(at.batch) != has_units:
            raise InputError(
                f"{CHECKPOINT} is damaged: an epoch has no batch {at.batch:,} after {at.num_units:,} rows",
                subject=CHECKPOINT,
            )
        self.total.fill_(self.position.total)
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition("/")
            if part in parts:
                parts[part][rest] = value
        checkpoint.load_into(self.learnt, parts["model"], CHECKPOINT)
        if parts["best"]:
            checkpoint.check_same_structure(self.learnt, parts["best"], CHECKPOINT)
        self.best = {n: v.to(self.learnt[n].device) for n, v in parts["best"].items()}
        is_another_rate = False
        for metrics in self.run_storage.metrics:
            is_another_rate = metrics["learning_rate"] != self.learning_rate
            self.advance_schedule(metrics)
        if self.is_out_of_patience() and is_another_rate:
            self.position.patient_from = self.position.epoch  # the new rate has its own patience

    def snapshot(self) -> Snapshot:
        return Snapshot(
            {name: value.clone() for name, value in self.learnt.items()},
            copy.deepcopy(self.step.optimizer.state_dict()),
            rng_state(),
            replace(self.position),
            self.total.clone(),
            dict(self.best) if self.settings.averaging is None else copy.deepcopy(self.best),
        )

    def rewind(self, snapshot: Snapshot) -> None:
        checkpoint.load_into(self.learnt, snapshot.learnt, CHECKPOINT)
        self.step.optimizer.load_state_dict(snapshot.optimizer)
        set_rng_state(snapshot.generators)
        self.position, self.total = snapshot.position, snapshot.total
        self.best = snapshot.best
