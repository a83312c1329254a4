"""MLflow."""

from collections.abc import Mapping
from typing import Any

from pyro_vae.tracking.event import EpochEvent
from pyro_vae.tracking.tracker import Tracker, required

MOST_LETTERS = 500  # of a parameter's value, which every server takes


class MLflow(Tracker):
    """Send each epoch's figures to MLflow; its own settings (MLFLOW_TRACKING_URI, ...) say where it is.

    Args:
        name: of the run.
        options: of the fit: the run's parameters.

    Raises:
        InputError: the package ``mlflow`` is not installed.
    """

    def __init__(self, name: str = "pyro_vae", options: Mapping[str, Any] | None = None) -> None:
        super().__init__(name, options)
        self.module = required("mlflow", "mlflow", "MLflow")

    def open(self, event: EpochEvent, name: str, known: str | None) -> str:
        run = self.module.start_run(run_id=known, run_name=name)
        if known is None:
            shown = {key: str(value)[:MOST_LETTERS] for key, value in self.options.items()}
            self.module.log_params(shown)
        return str(run.info.run_id)

    def log(self, event: EpochEvent) -> None:
        self.module.log_metrics(dict(event.figures), step=event.epoch)

    def close(self) -> None:
        self.module.end_run()
