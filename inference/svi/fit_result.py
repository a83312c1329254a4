"""What a fit returns."""

from dataclasses import dataclass, field
from typing import Any

from pyro_vae.inference.svi.run_storage import FIGURES, Metrics


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
