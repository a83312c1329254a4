"""The state of a run on disk: its position, the metrics so far, and a checkpoint to resume from."""

import json
import math
import random
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from pyro_vae import checkpoint
from pyro_vae.errors import InputError, report_read_errors
from pyro_vae.inference.svi.optimizer_update import laid_out_like
from pyro_vae.program.generators import rng_state, set_rng_state
from pyro_vae.storage import folder_lock, write_text

Metrics = dict[str, Any]
CHECKPOINT, METRICS = "checkpoint.safetensors", "metrics.jsonl"
FIGURES = ("train", "validation")  # the names of figures in the metrics begin so


@dataclass
class Position:
    """Hold where a run stands: epochs done, then batches and units of the current epoch."""

    epoch: int = 0
    batch: int = 0
    num_units: int = 0
    total: float = 0.0  # sum of the ELBO over the epoch's units so far
    best: float = -math.inf  # validation ELBO per unit
    best_epoch: int = 0
    patient_from: int = 0  # patience counts from this epoch on
    averaged: int = 0  # steps whose parameters the mean is of

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Position":
        """Return the position that a checkpoint records.

        Raises:
            KeyError, ValueError: a field is missing, or has a wrong value.
        """
        record = {"averaged": 0, **record}  # of a version without means
        _ = [record[field.name] for field in fields(cls)]  # all must be there
        position = cls(**record)
        for field in fields(cls):
            value = getattr(position, field.name)
            counts = type(field.default) is int
            if type(value) not in ((int,) if counts else (int, float)) or (counts and value < 0):
                raise ValueError(f"{field.name} is {value!r}")
        return position


class RunStorage:
    """Keep metrics and checkpoints in a folder, or metrics in memory where ``folder`` is None.

    Args:
        folder: where to write.
        resume: whether the folder's run goes on.
        record: what else the checkpoint holds; compared on resume.

    Raises:
        InputError: the folder holds another run.
    """

    def __init__(self, folder: Path | None, resume: bool, record: Mapping[str, Any]) -> None:
        self.folder, self.record = folder, dict(record)
        self.metrics: list[Metrics] = []
        if folder is None:
            return
        if not resume and (folder / CHECKPOINT).exists():
            raise InputError(
                f"{folder} holds another run",
                subject=str(folder),
                remedy="go on with it (--resume, in Python resume=True) or choose another folder",
            )
        folder.mkdir(parents=True, exist_ok=True)

    def sole_use(self) -> AbstractContextManager[None]:
        """Keep other runs out of the folder while this one goes on."""
        return nullcontext() if self.folder is None else folder_lock(self.folder)

    def log(self, metrics: Metrics) -> None:
        self.metrics.append(metrics)
        if self.folder is not None:
            with (self.folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(metrics) + "\n")

    def save(self, tensors: Mapping[str, Tensor], optimizer: Optimizer, position: Position) -> None:
        if self.folder is None:
            return
        generators = rng_state()
        slots, numbers = _optimizer_state(optimizer)
        cuda = {f"rng/cuda/{i}": state for i, state in enumerate(generators["cuda"])}
        checkpoint.write(
            self.folder / CHECKPOINT,
            {**tensors, **slots, **cuda, "rng/torch": generators["torch"]},
            {
                **self.record,
                "position": asdict(position),
                "optimizer": numbers,
                "numpy": _numpy_to_json(generators["numpy"]),
                "python": generators["python"],
            },
        )

    def load(self, optimizer: Optimizer) -> tuple[dict[str, Tensor], Position]:
        """Return the tensors of the last save, and restore generators and optimizer.

        Metrics written after it are deleted: those epochs run again.

        Raises:
            InputError: the checkpoint is damaged, or of another run.
        """
        assert self.folder is not None
        path = self.folder / CHECKPOINT
        tensors, record = checkpoint.read(path)
        for key, now in self.record.items():
            if record.get(key) != now:
                raise InputError(
                    f"{path} is of another run: its {key} is {_brief(record.get(key))}, "
                    f"not {_brief(now)}",
                    subject=key,
                    remedy="resume with the same, or choose another folder",
                )
        position = check_checkpoint(path, tensors, record)
        with checkpoint.checked_record(path):
            metrics = read_metrics(self.folder / METRICS)
            metrics = [m for m in metrics if m["epoch"] <= position.epoch]
            _load_optimizer(optimizer, tensors, record["optimizer"])
            set_rng_state(_generators(tensors, record))
        self._truncate_metrics(metrics)
        return tensors, position

    def _truncate_metrics(self, metrics: list[Metrics]) -> None:
        assert self.folder is not None
        self.metrics = metrics
        text = "".join(json.dumps(m) + "\n" for m in metrics)
        write_text(self.folder / METRICS, text)


def read_metrics(path: Path) -> list[Metrics]:
    """Return the metrics of each epoch, without a last line that was cut off.

    Raises:
        InputError: another line is not a record of an epoch.
    """
    if not path.exists():
        return []
    metrics: list[Metrics] = []
    with report_read_errors(path):
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            metrics.append(json.loads(line))
            if not _is_record(metrics[-1]):
                raise InputError(
                    f"{path} is damaged: line {len(metrics)} is not a record of an epoch",
                    subject=str(path),
                )
    return metrics


def _is_record(metrics: Any) -> bool:
    if not isinstance(metrics, dict) or type(metrics.get("epoch")) is not int:
        return False
    figures = [value for name, value in metrics.items() if name.startswith(FIGURES)]
    return bool(figures) and all(type(value) in (int, float) for value in metrics.values())


def check_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]
) -> Position:
    """Check that a run can go on from a checkpoint, and return its position.

    Raises:
        InputError: an entry is missing or damaged.
    """
    with checkpoint.checked_record(path):
        states = _generators(tensors, record)
        torch.Generator().set_state(states["torch"])
        for device, state in enumerate(states["cuda"]):
            torch.Generator(f"cuda:{device}").set_state(state)
        np.random.RandomState().set_state(states["numpy"])
        random.Random().setstate(states["python"])
        _slots(tensors, record["optimizer"])
        _ = record["program"], record["rows"]
        return Position.read(record["position"])


def _generators(tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> dict[str, Any]:
    names = [f"rng/cuda/{i}" for i in range(torch.cuda.device_count())]
    return {
        "torch": tensors["rng/torch"],
        "cuda": [tensors[name] for name in names if name in tensors],
        "numpy": _numpy_from_json(record["numpy"]),
        "python": _tuples(record["python"]),
    }


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the optimizer's state by name: its tensors, and its numbers."""
    state = {
        f"optimizer/{index}/{slot}": value
        for index, slots in optimizer.state_dict()["state"].items()
        for slot, value in slots.items()
    }
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    return tensors, {name: value for name, value in state.items() if name not in tensors}


def _load_optimizer(
    optimizer: Optimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> None:
    state = _slots(tensors, numbers)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for parameter, slots in optimizer.state.items():
        for slot, value in slots.items():
            if isinstance(parameter, Tensor) and getattr(value, "shape", None) == parameter.shape:
                slots[slot] = laid_out_like(value, parameter)  # a file knows no strides


def _slots(tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the optimizer's state of each parameter, by its index."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **numbers}.items():
        if name.startswith("optimizer/"):
            _, index, slot = name.split("/")
            state.setdefault(int(index), {})[slot] = value
    return state


def _numpy_to_json(state: tuple[Any, ...]) -> list[Any]:
    name, keys, *rest = state
    return [name, keys.tolist(), *rest]


def _numpy_from_json(state: list[Any]) -> tuple[Any, ...]:
    return tuple(state)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
