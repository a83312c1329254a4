"""What a fit returns."""

import math
from dataclasses import dataclass, field
from typing import Any

from pyro_vae.inference.svi.convergence import verdict
from pyro_vae.inference.svi.run_storage import FIGURES, Metrics
from pyro_vae.notebook import table

MOST_EPOCHS = 6  # of a table


@dataclass(frozen=True)
class FitResult:
    """Hold the course of a fit; ``print`` sums it up. The program itself is trained in place.

    Attributes:
        metrics: a record an epoch, in nats per unit: ``train_elbo`` (what was maximised, with the KL weight
            ``beta``) and, with validation data, ``validation_elbo`` (with weight 1). For an objective that
            is another bound of the evidence they are ``train_bound`` and ``validation_bound``; for one
            that is no bound ``train_objective`` and ``validation_elbo``. Where a prior is flat there is no
            evidence, and both are an ``objective``.
        best_epoch: the epoch whose parameters the program has now, with validation data and keep_best.
        seconds: the wall-clock time.
        epochs: the epochs that were planned.
        notes: sentences about how the steps were run.
        is_joint: whether figures are of all data together, as where latents are shared by all.
        steps_per_epoch: 1 where all data are one batch: then an epoch is a step.
        said: what the objective says of the fit, in place of a verdict on its figure; "" for most.
        restarts: the final ELBO of each restart, by common draws, NaN where one failed; empty without.
        has_latents: whether the model draws any.
        program: what was trained, for every other verb; a pair (model, guide) where the guide was made.
    """

    metrics: list[Metrics]
    best_epoch: int | None
    seconds: float
    epochs: int
    notes: tuple[str, ...] = ()
    is_joint: bool = False
    steps_per_epoch: int = 1
    restarts: tuple[float, ...] = ()
    said: str = ""
    has_latents: bool = True
    program: Any = field(default=None, repr=False, compare=False)

    @property
    def verdict(self) -> str:
        """Whether the fit had converged, in a sentence."""
        if not self.metrics:
            return "the fit ended in its first epoch"
        if self.said:
            return self.said
        name, _ = monitored_figure(self.metrics[-1])
        done, times = len(self.metrics), times_of(self.steps_per_epoch)
        if done < self.epochs:
            best = f"; the best was {times[:-1]} {self.best_epoch:,}" if self.best_epoch else ""
            return f"the fit stopped after {done:,} of {self.epochs:,} {times}{best}"
        beta = self.metrics[-1].get(
            "beta"
        )  # as long as the KL weight changed, the figure was another
        same = [metrics for metrics in self.metrics if metrics.get("beta") == beta]
        figures = [float(metrics[name]) for metrics in same]
        rates = [float(metrics["learning_rate"]) for metrics in same]
        title = f"the {'validation ' * name.startswith('validation')}{figure_title(name)}"
        sentence = verdict(title, figures, rates, self.is_joint, times, self.steps_per_epoch)
        if self.best_epoch is None or self.best_epoch == done:
            return sentence
        return f"{sentence}; the parameters are those of {times[:-1]} {self.best_epoch:,}, the best"

    def __str__(self) -> str:
        done, times = len(self.metrics), times_of(self.steps_per_epoch)
        head = f"{done:,} {times if done != 1 else times[:-1]} in {self.seconds:.1f} s"
        if self.metrics:
            name, value = monitored_figure(self.metrics[(self.best_epoch or done) - 1])
            if self.best_epoch is None:  # the figure of one epoch may be that of one draw
                last = [
                    monitored_figure(metrics)[1] for metrics in self.metrics[-(done // 20 or 1) :]
                ]
                value = sum(last) / len(last)
            words = name.replace("_", " ").replace("elbo", "ELBO")
            unit = "for all data together" if self.is_joint else "per unit"
            head += f": {words} {value:,.2f} nats {unit}"
        return "\n".join(
            [head, self.verdict, *self.restarts_line(), *(f"note: {note}" for note in self.notes)]
        )

    def __repr__(self) -> str:
        return f"FitResult({in_a_line(self)})"

    def _repr_html_(self) -> str:
        return html(self)

    def restarts_line(self) -> list[str]:
        """Return the final ELBO of each restart in a line, the best first; nothing without restarts."""
        ended = sorted((r for r in self.restarts if not math.isnan(r)), reverse=True)
        if not ended:
            return []
        failed = len(self.restarts) - len(ended)
        others = ", ".join(f"{figure:,.2f}" for figure in ended[1:])
        line = f"{len(self.restarts)} restarts: ELBO {ended[0]:,.2f}, kept"
        line += f"; {others}" if others else ""
        return [line + (f"; {failed} failed" if failed else "")]


def times_of(steps_per_epoch: int) -> str:
    """Return what a run counts: its steps where each takes all data, or else its epochs."""
    return "steps" if steps_per_epoch == 1 else "epochs"


def monitored_figure(metrics: Metrics) -> tuple[str, float]:
    """Return name and value of the figure that decides which epoch is best: of validation data, if any.

    >>> monitored_figure({"train_objective": -3.0, "validation_elbo": -2.0})
    ('validation_elbo', -2.0)
    """
    figures = {name: float(value) for name, value in metrics.items() if name.startswith(FIGURES)}
    return max(figures.items(), key=lambda item: FIGURES.index(item[0].partition("_")[0]))


def figure_title(name: str) -> str:
    """Return a figure's name without the data that it is of.

    >>> figure_title("train_elbo")
    'ELBO'
    """
    return name.partition("_")[2].replace("elbo", "ELBO")


def in_a_line(result: "FitResult") -> str:
    """Return how a fit went: its length, and the figure of its best epoch, or of its last."""
    done = len(result.metrics)
    times = times_of(result.steps_per_epoch)
    text = f"{done:,} {times[:-1] if done == 1 else times} in {result.seconds:.1f} s"
    if not done:
        return text
    at = result.best_epoch
    metrics = next((m for m in result.metrics if m["epoch"] == at), result.metrics[-1])
    name, value = monitored_figure(metrics)
    which, unit = ("last", "") if at is None else ("best", f", at {times[:-1]} {at:,}")
    per = "of all data together" if result.is_joint else "per unit"
    return f"{text}; {which} {_heading(name)} {value:.3f} nats {per}{unit}"


def html(result: "FitResult") -> str:
    """Return a table of some epochs: the first, the best, the last, and a few between them."""
    names = [n for n in next(iter(result.metrics), {}) if n not in _unchanged(result.metrics)]
    rows = [
        [_cell(name, metrics[name]) for name in names] for metrics in _some(result, MOST_EPOCHS)
    ]
    headings = [_heading(name) for name in names]
    notes = [result.verdict, *result.restarts_line(), *result.notes]
    return table(rows, headings, f"Fit: {in_a_line(result)}", notes)


def _some(result: "FitResult", most: int) -> list[Metrics]:
    last = len(result.metrics) - 1
    shown = {round(last * i / (most - 1)) for i in range(most)} if last >= 0 else set()
    best = {i for i, m in enumerate(result.metrics) if m["epoch"] == result.best_epoch}
    return [result.metrics[i] for i in sorted(shown | best)]


def _unchanged(metrics: list[Metrics]) -> set[str]:
    """Return the settings that stay the same, which need no column."""
    settings = [n for n in next(iter(metrics), {}) if n != "epoch" and not n.startswith(FIGURES)]
    return {name for name in settings if len({m.get(name) for m in metrics}) == 1}


def _heading(name: str) -> str:
    return name.replace("_", " ").replace("elbo", "ELBO")


def _cell(name: str, value: float) -> str:
    if name == "epoch":
        return f"{value:,}"
    return f"{value:.3f}" if name.startswith(FIGURES) else f"{value:.3g}"
