"""What all trackers have in common: one run of the service for each run of a fit."""

import abc
import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from pyro_vae.errors import InputError, first_line
from pyro_vae.storage import write_text
from pyro_vae.tracking.event import EpochEvent


class Tracker(abc.ABC):
    """Send the figures of each epoch to a service: ``with Tracker(...) as t: fit(..., on_epoch=t)``.

    Each restart is a run of its own there. A fit that goes on continues its run there, whose identity lies
    in the fit's folder. A service of your own is a class with :meth:`open`, :meth:`log` and :meth:`close`.

    Args:
        name: of the run.
        options: of the fit, to be shown beside its figures.
    """

    def __init__(self, name: str = "pyro_vae", options: Mapping[str, Any] | None = None) -> None:
        self.name, self.options = name, dict(options or {})
        self._of: tuple[Path | None, int] | None = None  # folder and seed of the run that is open
        self._first_seed: int | None = None

    def __call__(self, event: EpochEvent) -> None:
        """Send the record of an epoch."""
        if self._of != (event.folder, event.seed):
            self._start(event)
        self.log(event)

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close_run()

    @abc.abstractmethod
    def open(self, event: EpochEvent, name: str, known: str | None) -> str:
        """Open a run, or the one whose identity is known, and return its identity."""

    @abc.abstractmethod
    def log(self, event: EpochEvent) -> None:
        """Send the record of an epoch to the open run."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close the open run."""

    def _start(self, event: EpochEvent) -> None:
        self.close_run()
        path = None if event.folder is None else event.folder / f"{type(self).__name__.lower()}.txt"
        goes_on = path is not None and path.is_file() and event.epoch > 1
        known = path.read_text(encoding="utf-8").strip() if path and goes_on else None
        self._first_seed = event.seed if self._first_seed is None else self._first_seed
        is_first = event.seed == self._first_seed
        name = self.name if is_first else f"{self.name}-seed-{event.seed}"
        identity = self.open(event, name, known)
        self._of = (event.folder, event.seed)
        if path is not None:
            write_text(path, f"{identity}\n")

    def close_run(self) -> None:
        """Close the open run, if there is one."""
        if self._of is not None:
            self._of = None
            self.close()


def required(module: str, package: str, tracker: str) -> ModuleType:
    """Return a module of a package that only a tracker needs.

    Raises:
        InputError: it is not installed.

    >>> required("no_such_service", "no-such-service", "Service")
    Traceback (most recent call last):
    pyro_vae.errors.InputError: Service needs the package no-such-service, ... `pip install no-such-service`
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        is_missing = f"which is not installed (no module {error.name})"
        what = is_missing if isinstance(error, ModuleNotFoundError) else first_line(error)
        raise InputError(
            f"{tracker} needs the package {package}, {what}",
            subject=tracker,
            remedy=f"`pip install {package}`",
        ) from error
