"""The runs of a report: each opened once, with all that its folder holds."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pyro_vae.cli.run.fit_record import FitRecord, read_record
from pyro_vae.cli.run.folder import CONFIG, RunFolder, open_run, read_config
from pyro_vae.cli.run.trained import TrainedModel
from pyro_vae.cli.run.trust import foreign_names
from pyro_vae.data import BlankDataSet
from pyro_vae.errors import InputError
from pyro_vae.inference.svi.run_storage import METRICS, Metrics, read_metrics


@dataclass(frozen=True)
class Run:
    """Hold a run of a report.

    Attributes:
        name: as the report calls it.
        folder: what it left.
        trained: its program, and its data with the test rows chosen.
        metrics: a record for each epoch.
        record: what the fit said, if the folder holds that.
        missing: why the run's data are not there; empty if they are.
    """

    name: str
    folder: RunFolder
    trained: TrainedModel
    metrics: Sequence[Metrics]
    record: FitRecord | None
    missing: str

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose parameters the program has; None where it has the last ones."""
        best: int = self.folder.saved[1]["position"]["best_epoch"]
        return best or None

    def check_has_data(self) -> None:
        """Check that the run's data are there.

        Raises:
            InputError: they are not.
        """
        if isinstance(self.trained.data, BlankDataSet):
            raise InputError(self.missing, subject=self.name)


def open_for_report(
    name: str, folder: str, own: Collection[str], device: torch.device, seed: int
) -> Run:
    """Return a run, also if its data are not there any more.

    Args:
        name: as the report calls it.
        folder: where it is.
        own: dotted names of code outside pyro_vae, torch and Pyro that may run.
        device: where the program is to be.
        seed: of all draws.

    Raises:
        InputError: there is no run, it has not taken a step, or it names other code.
    """
    run = open_run(folder, _own_model(folder, own), own)
    missing = ""
    try:
        data = run.load_data()
    except InputError as error:
        data, missing = run.remembered_data(), str(error)
    program = run.load_program(data, device)
    trained = TrainedModel(program, data, data.test, device, seed, run.config.options.label)
    metrics = read_metrics(run.folder / METRICS)
    return Run(name, run, trained, metrics, read_record(run.folder), missing)


def _own_model(folder: str, own: Collection[str]) -> list[str]:
    """Return the words that name the run's model, if it is one of ``own``: its package may run then."""
    try:
        config: Mapping[str, Any] = read_config(Path(folder, CONFIG))
    except InputError:
        return []  # to open it says what is wrong
    model = config.get("model")
    named = model.get("class_path") if isinstance(model, Mapping) else model
    is_foreign = bool(foreign_names({"model": named}))
    return ["--model", str(named)] if is_foreign and named in own else []
