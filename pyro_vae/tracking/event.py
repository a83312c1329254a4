"""What a fit tells its hook after an epoch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class EpochEvent:
    """Hold what ``fit(on_epoch=...)`` hands to its function after each epoch.

    A run that was killed does the epochs after its last save again, and tells of them again.

    Attributes:
        metrics: the record of the epoch, as in ``FitResult.metrics``: ``epoch``, from 1, and by name
            its figures, in nats per unit, and settings such as ``learning_rate``. It is a copy.
        epochs: how many are planned.
        seed: of this run; each restart has its own.
        folder: of this run, or None.

    >>> event = EpochEvent({"epoch": 3, "train_elbo": -1.5}, epochs=10, seed=0)
    >>> event.epoch, dict(event.figures)
    (3, {'train_elbo': -1.5})
    """

    metrics: Mapping[str, float]
    epochs: int
    seed: int
    folder: Path | None = None

    @property
    def epoch(self) -> int:
        """The number of the epoch, from 1."""
        return int(self.metrics["epoch"])

    @property
    def figures(self) -> Mapping[str, float]:
        """The record without the number of the epoch."""
        return {name: value for name, value in self.metrics.items() if name != "epoch"}
