"""What a fit said, kept in the folder of its run: its verdict, notes, time and versions."""

import json
import platform
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyro
import torch

import pyro_vae
from pyro_vae.errors import InputError, report_read_errors
from pyro_vae.inference.svi.fit_result import FitResult
from pyro_vae.storage import write_text

RECORD = "fit.json"


@dataclass(frozen=True)
class FitRecord:
    """Hold what a fit said.

    Attributes:
        verdict: whether it had converged, in a sentence.
        notes: further sentences.
        seconds: the wall-clock time, of all parts of a run that was continued.
        versions: of what it ran on, by name.
        is_joint: whether the figures are of all data together.
    """

    verdict: str
    notes: tuple[str, ...]
    seconds: float
    versions: dict[str, str]
    is_joint: bool = False


def versions() -> dict[str, str]:
    """Return the versions that a result depends on, by name."""
    return {
        "pyro_vae": pyro_vae.__version__,
        "Pyro": pyro.__version__,
        "torch": torch.__version__,
        "Python": platform.python_version(),
    }


def save_record(folder: Path, result: FitResult, before: FitRecord | None = None) -> None:
    """Write what a fit said to the folder of its run; ``before``: what the part before this one said."""
    seconds = result.seconds + (0.0 if before is None else before.seconds)
    notes = (*result.restarts_line(), *result.notes)
    record = FitRecord(result.verdict, notes, seconds, versions(), result.is_joint)
    write_text(folder / RECORD, json.dumps(asdict(record), indent=1) + "\n")


def read_record(folder: Path) -> FitRecord | None:
    """Return what a run's fit said, or None where the folder does not hold it.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    with report_read_errors(path):
        record = json.loads(path.read_text(encoding="utf-8"))
    if not _is_record(record):
        raise InputError(
            f"{path} is not the record of a fit",
            subject=str(path),
            remedy="remove it: nothing but a report needs it",
        )
    return FitRecord(**record | {"notes": tuple(record["notes"])})


def _is_record(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and record.keys() == {field.name for field in fields(FitRecord)}
        and isinstance(record["verdict"], str)
        and type(record["is_joint"]) is bool
        and type(record["seconds"]) in (int, float)
        and isinstance(record["notes"], list)
        and all(isinstance(note, str) for note in record["notes"])
        and isinstance(record["versions"], dict)
        and all(isinstance(version, str) for version in record["versions"].values())
    )
