"""TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyro_vae.tracking.event import EpochEvent
from pyro_vae.tracking.tracker import Tracker, required


class TensorBoard(Tracker):
    """Write each epoch's figures to files of TensorBoard, FOLDER/NAME (``tensorboard --logdir FOLDER``).

    Args:
        name: of the run.
        options: of the fit, shown as a text.
        folder: where the files lie.

    Raises:
        InputError: the package ``tensorboard`` is not installed.
    """

    def __init__(
        self,
        name: str = "pyro_vae",
        options: Mapping[str, Any] | None = None,
        folder: Path | str = "tensorboard",
    ) -> None:
        super().__init__(name, options)
        self.folder = Path(folder)
        self.module = required("torch.utils.tensorboard", "tensorboard", "TensorBoard")

    def open(self, event: EpochEvent, name: str, known: str | None) -> str:
        place = str(self.folder / name) if known is None else known
        self.writer = self.module.SummaryWriter(place, purge_step=event.epoch)
        lines = [f"    {key}: {value}" for key, value in self.options.items()]
        if lines and known is None:
            self.writer.add_text("options", "\n".join(lines))
        return place

    def log(self, event: EpochEvent) -> None:
        for name, value in event.figures.items():
            self.writer.add_scalar(name, value, event.epoch)

    def close(self) -> None:
        self.writer.close()
