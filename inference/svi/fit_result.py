"""What a fit returns."""

from dataclasses import dataclass, field
from typing import Any

from pyro_vae.inference.svi.run_storage import FIGURES, Metrics
from pyro_vae.notebook import table

MOST_EPOCHS = 6  # of a table


@dataclass(frozen=True)
class FitResult:
    """Hold the course of a fit; the program itself is trained in place.

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
        program: what was trained, for every other verb; a pair (model, guide) where the guide was made.
    """

    metrics: list[Metrics]
    best_epoch: int | None
    seconds: float
    epochs: int
    notes: tuple[str, ...] = ()
    is_joint: bool = False
    program: Any = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"FitResult({in_a_line(self)})"

    def _repr_html_(self) -> str:
        return html(self)


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
    text = f"{done:,} epoch{'' if done == 1 else 's'} in {result.seconds:.1f} s"
    if not done:
        return text
    at = result.best_epoch
    metrics = next((m for m in result.metrics if m["epoch"] == at), result.metrics[-1])
    name, value = monitored_figure(metrics)
    which, unit = ("last", "") if at is None else ("best", f", at epoch {at:,}")
    per = "of all data together" if result.is_joint else "per unit"
    return f"{text}; {which} {_heading(name)} {value:.3f} nats {per}{unit}"


def html(result: "FitResult") -> str:
    """Return a table of some epochs: the first, the best, the last, and a few between them."""
    names = [n for n in next(iter(result.metrics), {}) if n not in _unchanged(result.metrics)]
    rows = [
        [_cell(name, metrics[name]) for name in names] for metrics in _some(result, MOST_EPOCHS)
    ]
    headings = [_heading(name) for name in names]
    return table(rows, headings, f"Fit: {in_a_line(result)}", result.notes)


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
