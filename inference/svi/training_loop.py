"""The loop around the step: epochs, validation, keep-best, early stopping, saving, stopping."""

import copy
import math
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from tqdm import tqdm

from pyro_vae import checkpoint
from pyro_vae.data import Batches
from pyro_vae.errors import InputError
from pyro_vae.inference.objectives.objective import Figure, Scheduled, figure_of
from pyro_vae.inference.objectives.schedule import Schedule
from pyro_vae.inference.objectives.validation import elbo_of_draws, validation_objective_of
from pyro_vae.inference.svi.convergence import what_rises
from pyro_vae.inference.svi.interrupt import stop_requested
from pyro_vae.inference.svi.rows import MOST_ROWS
from pyro_vae.inference.svi.run_state import CHECKPOINT, Metrics, Position, RunState
from pyro_vae.inference.svi.step import Step
from pyro_vae.program.isolation import rng_state, set_rng_state, undisturbed
from pyro_vae.progress import progress_bar

PARTS = ("train", "validation")
NEARLY = 0.01  # of its last value: a number that changes by as little counts as settled
SAVE_EVERY = 10.0  # seconds: what a kill can cost in time; it never changes the result


@dataclass(frozen=True)
class FitResult:
    """What a fit did; the program itself is trained in place.

    ``metrics`` holds one record an epoch, in nats per unit: ``train_elbo`` (what was maximised, with
    the KL weight ``beta``) and, where there are validation data, ``validation_elbo`` (with weight 1).
    Of an objective that is another bound of the evidence they are ``train_bound`` and
    ``validation_bound``; of one that is no bound ``train_objective`` and ``validation_elbo``.
    Where a prior is flat there is no evidence, and both are an ``objective``.
    ``epochs`` is how many there were to be. ``notes`` says in sentences how the steps were run.
    ``is_joint`` is whether the figures are of all data together, as where latents are shared by all.
    """

    metrics: list[Metrics]
    best_epoch: int | None
    seconds: float
    epochs: int
    notes: tuple[str, ...] = ()
    is_joint: bool = False


@dataclass(frozen=True)
class Settings:
    """How to run the loop; :func:`pyro_vae.inference.svi.fit.fit` says what each means."""

    epochs: int
    schedule: Callable[[Optimizer], LRScheduler] | None
    beta: float | Schedule
    kl_warmup: float
    patience: int | None
    keep_best: bool
    seed: int
    progress: bool | None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("beta", 0), ("kl_warmup", 0)):
            value = getattr(self, name)
            if not (isinstance(value, Schedule) or value >= least):
                raise InputError(f"{name} must be at least {least}, not {getattr(self, name)}")


def shown_figure(metrics: Metrics) -> tuple[str, float]:
    """The figure that an epoch is judged by, on held-out data where there are any; and its name.

    >>> shown_figure({"train_objective": -3.0, "validation_elbo": -2.0})
    ('validation_elbo', -2.0)
    """
    figures = {name: float(value) for name, value in metrics.items() if name.startswith(PARTS)}
    return max(figures.items(), key=lambda item: PARTS.index(item[0].partition("_")[0]))


def shown_name(figure: str) -> str:
    """A figure's name without whose it is."""
    return figure.partition("_")[2].replace("elbo", "ELBO")


class Loop:
    """One run of :func:`pyro_vae.inference.svi.fit.fit`."""

    def __init__(
        self,
        step: Step,
        learnt: Mapping[str, Tensor],
        train: Batches,
        held_out: Batches | None,
        device: torch.device,
        run: RunState,
        settings: Settings,
        is_elbo: bool = True,
    ) -> None:
        """:param is_elbo: whether what an ELBO gives is one, of this program."""
        self.step, self.learnt, self.train, self.held_out = step, learnt, train, held_out
        self.files, self.settings = run, settings
        self.position = Position()
        self.weight_name = step.elbo.quantity if isinstance(step.elbo, Scheduled) else "beta"
        trained: Figure
        trained, (self.validation_objective, validation_figure) = (
            figure_of(step.elbo),
            validation_objective_of(step.elbo),
        )
        if not is_elbo:
            trained = "objective"
            self.validation_objective, validation_figure = elbo_of_draws(step.structure), "elbo"
        if step.structure.flat:  # there is no evidence that anything could bound
            trained = validation_figure = "objective"
        self.train_name, self.held_out_name = f"train_{trained}", f"validation_{validation_figure}"
        self.best: dict[str, Tensor] = {}
        self.total = torch.zeros((), dtype=torch.float64, device=device)
        self.runs_ahead = device.type != "cpu"  # the host does not wait for each loss
        self.schedule = settings.schedule(step.optimizer) if settings.schedule else None
        self.rows = step.rows
        self.steps_per_epoch = self.rows.steps

    def run(self, resume: bool, noun: str, start: Callable[[], list[str]] = list) -> FitResult:
        """Runs or goes on to the end.

        :param noun: what the bar counts.
        :param start: what is to be done before the first step; says in sentences what it did.
        """
        started = self.saved_at = time.monotonic()
        if resume:
            self.load()
        else:
            self.save()
        with stop_requested() as stopping, self.bar(noun) as bar:
            notes = start()
            for note in notes if not bar.disable else ():
                bar.write(note, file=sys.stderr)
            while not self.is_done() and not stopping():
                self.epoch(stopping, bar)
            self.save()
            if (late := self.too_short()) and not bar.disable:
                bar.write(late[0], file=sys.stderr)
        if self.best:
            checkpoint.load_into(self.learnt, self.best, CHECKPOINT)
        best_epoch = self.position.best_epoch if self.best else None
        seconds, is_joint = time.monotonic() - started, self.rows.is_whole
        epochs = self.settings.epochs
        return FitResult(self.files.metrics, best_epoch, seconds, epochs, (*notes, *late), is_joint)

    def too_short(self) -> list[str]:
        """Says, of a run that is through, what still rose; held-out data say more than that."""
        if self.held_out is not None or self.position.epoch < self.settings.epochs:
            return []
        figures = [float(metrics[self.train_name]) for metrics in self.files.metrics]
        return what_rises(f"the {shown_name(self.train_name)}", figures)

    def is_done(self) -> bool:
        return self.position.epoch >= self.settings.epochs or self.is_stale()

    def is_stale(self) -> bool:
        """Whether patience is at its end."""
        at, patience = self.position, self.settings.patience
        if patience is None or self.held_out is None:
            return False
        since = max(at.best_epoch, at.patient_from)
        return sum(map(self.has_settled, range(since + 1, at.epoch + 1))) >= patience

    def has_settled(self, epoch: int) -> bool:
        """Whether the scheduled number stood still over an epoch, or is nearly what it is to become.

        As long as the KL term's weight grows, that an epoch is no better says nothing.
        """
        after, final = map(self.weight_after_epoch, (epoch, self.settings.epochs))
        stood = epoch > 1 and after == self.weight_after_epoch(epoch - 1)
        return stood or abs(after - final) <= NEARLY * abs(final)

    def weight_after_epoch(self, epoch: int) -> float:
        return self.weight_after(epoch * self.steps_per_epoch)

    def epoch(self, stopping: Callable[[], bool], bar: tqdm) -> None:
        """Runs, or goes on with, one epoch; leaves it in the middle when asked to stop."""
        at = self.position
        start = self.snapshot() if self.runs_ahead else None
        order = self.rows.order(self.settings.seed, at.epoch)
        with pyro.validation_enabled(at.epoch == 0):  # every datum meets every check once
            for batch in self.train.take(order, self.rows.batch_size, at.batch):
                elbo = self.step(batch, self.kl_weight(), check=not self.runs_ahead)
                count = len(batch[0]) if batch else 1
                self.total += elbo.double() * count
                at.batch += 1
                at.units += count
                bar.update(count)
                if stopping():
                    return
                if time.monotonic() - self.saved_at > SAVE_EVERY:
                    self.save()
        if start is not None and not torch.isfinite(self.total):
            self.rewind(start)
            self.runs_ahead = False  # the same epoch again, step by step, to find the site
            self.epoch(stopping, bar)
            return
        self.finish_epoch(bar)

    def finish_epoch(self, bar: tqdm) -> None:
        at = self.position
        metrics: Metrics = {
            "epoch": at.epoch + 1,
            self.train_name: float(self.total) / at.units,
            self.weight_name: self.kl_weight(before=1),
            "learning_rate": self.learning_rate,
        }
        if self.held_out is not None:
            metrics[self.held_out_name] = self.validate(self.held_out)
        self.advance_schedule(metrics)
        at.epoch, at.batch, at.units = at.epoch + 1, 0, 0
        self.total.zero_()
        if metrics.get(self.held_out_name, -math.inf) > at.best:
            at.best, at.best_epoch = metrics[self.held_out_name], at.epoch
            if self.settings.keep_best:
                self.best = {name: value.clone() for name, value in self.learnt.items()}
        self.files.log(metrics)
        name, shown = shown_figure(metrics)
        word = shown_name(name)
        weighted = "KL-weighted " * (name == "train_elbo" and metrics[self.weight_name] != 1)
        bar.set_description_str(
            f"epoch {at.epoch}, {weighted}{word} {shown:.2f} nats", refresh=False
        )

    def validate(self, held_out: Batches) -> float:
        """The ELBO, or other bound, per unit on held-out data, with the same noise at every epoch.

        Where latents are shared by all rows the guide is for the training rows, so held-out ones stand for
        as many as those are: by themselves they would be scored under a posterior that is not theirs.
        """
        total, count = 0.0, held_out.num_units
        at_once = self.rows.batch_size
        if self.rows.is_whole or self.rows.has_places:
            at_once = max(at_once, min(count, MOST_ROWS))
        program, checked = self.step.program, pyro.validation_enabled(self.position.epoch == 0)
        with undisturbed(program, self.settings.seed), checked:
            for batch in held_out.take(torch.arange(count), at_once):
                scaled = self.rows.scale(program, batch)
                try:
                    loss = self.validation_objective.loss(scaled.model, scaled.guide, *batch)
                except (ValueError, RuntimeError) as error:  # a check of ours, Pyro's or torch's
                    explained = self.step.explain(batch, error)
                    raise InputError(f"in the validation data: {explained}") from error
                total -= loss / self.step.units(batch) * len(batch[0])
        return total / count

    def kl_weight(self, before: int = 0) -> float:
        """The scheduled number, beta, at the step about to be taken, or some steps before that."""
        done = self.position.epoch * self.steps_per_epoch + self.position.batch
        return self.weight_after(done - before + 1)

    def weight_after(self, steps: int) -> float:
        """The scheduled number at the last of so many steps."""
        beta = self.settings.beta
        warmup = self.settings.kl_warmup * self.steps_per_epoch
        weight = beta(steps / self.steps_per_epoch) if isinstance(beta, Schedule) else beta
        return weight * min(1.0, steps / max(warmup, 1))

    @property
    def learning_rate(self) -> float:
        return float(self.step.optimizer.param_groups[0]["lr"])

    def advance_schedule(self, metrics: Metrics) -> None:
        if isinstance(self.schedule, ReduceLROnPlateau):
            if self.has_settled(metrics["epoch"]):  # its patience does not count before, either
                # it takes something to be made smaller
                self.schedule.step(-shown_figure(metrics)[1])
        elif self.schedule is not None:
            with warnings.catch_warnings():  # torch's, when a resumed run replays the schedule
                warnings.filterwarnings("ignore", "Detected call of `lr_scheduler", UserWarning)
                self.schedule.step()

    def bar(self, noun: str) -> tqdm:
        rows = self.train.num_units
        return progress_bar(
            self.settings.epochs * rows,
            self.settings.progress,
            noun,
            initial=self.position.epoch * rows + self.position.units,
            bar_format="{percentage:3.0f}% {bar} {desc}  {rate_fmt}  {remaining} left",
        )

    # --- what is kept ---------------------------------------------------------------------

    def save(self) -> None:
        broken = [n for n, value in self.learnt.items() if not torch.isfinite(value).all()]
        if broken:
            raise InputError(
                f"parameter {broken[0]!r} is not finite any more; the last checkpoint is from before "
                "that. A smaller learning rate or gradient clipping (clip_norm) may help"
            )
        self.position.total = float(self.total)
        tensors = {f"model/{name}": value for name, value in self.learnt.items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        self.files.save(tensors, self.step.optimizer, self.position)
        self.saved_at = time.monotonic()

    def load(self) -> None:
        tensors, self.position = self.files.load(self.step.optimizer)
        at = self.position
        if at.batch > self.steps_per_epoch or bool(at.batch) != (
            0 < at.units <= self.train.num_units
        ):
            raise InputError(
                f"{CHECKPOINT} is damaged: batch {at.batch:,} with {at.units:,} rows is none of an epoch's"
            )
        self.total.fill_(self.position.total)
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition("/")
            if part in parts:
                parts[part][rest] = value
        checkpoint.load_into(self.learnt, parts["model"], CHECKPOINT)
        if parts["best"]:
            checkpoint.check_alike(self.learnt, parts["best"], CHECKPOINT)
        self.best = {n: v.to(self.learnt[n].device) for n, v in parts["best"].items()}
        is_another_rate = False
        for metrics in self.files.metrics:
            is_another_rate = metrics["learning_rate"] != self.learning_rate
            self.advance_schedule(metrics)
        if self.is_stale() and is_another_rate:
            self.position.patient_from = self.position.epoch  # it is to have its chance

    def snapshot(self) -> "_Snapshot":
        return _Snapshot(
            {name: value.clone() for name, value in self.learnt.items()},
            copy.deepcopy(self.step.optimizer.state_dict()),
            rng_state(),
            replace(self.position),
            self.total.clone(),
        )

    def rewind(self, snapshot: "_Snapshot") -> None:
        checkpoint.load_into(self.learnt, snapshot.learnt, CHECKPOINT)
        self.step.optimizer.load_state_dict(snapshot.optimizer)
        set_rng_state(snapshot.generators)
        self.position, self.total = snapshot.position, snapshot.total


@dataclass(frozen=True)
class _Snapshot:
    learnt: dict[str, Tensor]
    optimizer: dict[str, Any]
    generators: dict[str, Any]
    position: Position
    total: Tensor
