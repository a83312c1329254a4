"""``fit --track``: the figures of each epoch, sent to a tracking service, too."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyro_vae.cli.output.console import note
from pyro_vae.cli.run.config import FitConfig
from pyro_vae.cli.run.folder import flat
from pyro_vae.errors import first_line
from pyro_vae.tracking import TRACKERS, TensorBoard, Tracker


@contextmanager
def tracked(folder: Path, config: FitConfig) -> Iterator[Tracker | None]:
    """Yield what a fit calls after each epoch: None where ``--track`` is not given.

    TensorBoard's files lie in the run's folder. A service that fails in the end costs the fit nothing.

    Raises:
        InputError: the service's package is not installed.
    """
    service = config.options.track
    if service is None:
        yield None
        return
    options = flat(config.to_dict())
    if TRACKERS[service] is TensorBoard:
        tracker: Tracker = TensorBoard(folder.name, options, folder / "tensorboard")
    else:
        tracker = TRACKERS[service](folder.name, options)
    try:
        yield tracker
    finally:
        try:
            tracker.close_run()
        except Exception as error:
            note(f"--track {service} did not end well: {type(error).__name__}: {first_line(error)}")
