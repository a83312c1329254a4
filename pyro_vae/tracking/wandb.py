"""Weights & Biases."""

from collections.abc import Mapping
from typing import Any

from pyro_vae.tracking.event import EpochEvent
from pyro_vae.tracking.tracker import Tracker, required


class WandB(Tracker):
    """Send each epoch's figures to Weights & Biases; its own settings (WANDB_MODE, ...) say how.

    Args:
        name: of the run.
        options: of the fit: the run's configuration.

    Raises:
        InputError: the package ``wandb`` is not installed.
    """

    def __init__(self, name: str = "pyro_vae", options: Mapping[str, Any] | None = None) -> None:
        super().__init__(name, options)
        self.module = required("wandb", "wandb", "WandB")

    def open(self, event: EpochEvent, name: str, known: str | None) -> str:
        self.run = self.module.init(id=known, name=name, config=self.options, resume="allow")
        return str(self.run.id)

    def log(self, event: EpochEvent) -> None:
        self.run.log(dict(event.figures), step=event.epoch)

    def close(self) -> None:
        self.run.finish()
