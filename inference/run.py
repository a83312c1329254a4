"""What a run keeps: where it stands, its metrics as they went, and a checkpoint to go on from."""

import json
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pyro_vae import checkpoint
from pyro_vae.errors import InputError
from pyro_vae.files import sole_use
from pyro_vae.isolation import rng_state, set_rng_state

Metrics = dict[str, Any]
CHECKPOINT, METRICS = "checkpoint.safetensors", "metrics.jsonl"


@dataclass
class Position:
    """Where a run stands: epochs done, then batches and units of the epoch under way."""

    epoch: int = 0
    batch: int = 0
    units: int = 0
    total: float = 0.0  # sum of the ELBO over the epoch's units so far
    best: float = -math.inf  # validation ELBO per unit
    best_epoch: int = 0
    patient_from: int = 0  # the epoch before which patience does not count


class Run:
    """A folder for a run, or nowhere when ``folder`` is None: then metrics live in memory alone.

    :raises InputError: the folder holds another run, or cannot be written.
    """

    def __init__(self, folder: Path | None, resume: bool, record: Mapping[str, Any]) -> None:
        self.folder, self.record = folder, dict(record)
        self.metrics: list[Metrics] = []
        if folder is None:
            return
        if not resume and (folder / CHECKPOINT).exists():
            raise InputError(
                f"{folder} holds another run: go on with it (--resume, in Python resume=True) or "
                "choose another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)

    def sole_use(self) -> AbstractContextManager[None]:
        """Keeps other runs out of the folder while this one goes on."""
        return nullcontext() if self.folder is None else sole_use(self.folder)

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
        """The tensors of the last save, with generators and optimizer as they were then.

        Metrics written after it are taken back: those epochs are about to be run again.
        """
        assert self.folder is not None
        path = self.folder / CHECKPOINT
        tensors, record = checkpoint.read(path)
        for key, now in self.record.items():
            if record.get(key) != now:
                raise InputError(
                    f"{path} is of another run: its {key} is {_brief(record.get(key))}, "
                    f"not {_brief(now)}"
                )
        position = Position(**record["position"])
        self._truncate_metrics(position.epoch)
        _load_optimizer(optimizer, tensors, record["optimizer"])
        cuda = [
            tensors[f"rng/cuda/{i}"]
            for i in range(torch.cuda.device_count())
            if f"rng/cuda/{i}" in tensors
        ]
        set_rng_state(
            {
                "torch": tensors["rng/torch"],
                "cuda": cuda,
                "numpy": _numpy_from_json(record["numpy"]),
                "python": _tuples(record["python"]),
            }
        )
        return tensors, position

    def _truncate_metrics(self, epochs: int) -> None:
        assert self.folder is not None
        path = self.folder / METRICS
        self.metrics = [m for m in read_metrics(path) if m["epoch"] <= epochs]
        checkpoint.write_text(path, "".join(json.dumps(m) + "\n" for m in self.metrics))


def read_metrics(path: Path) -> list[Metrics]:
    """The metrics of each epoch; a last line that was cut off in the middle is left out."""
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    metrics = []
    for line in lines:
        try:
            metrics.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return metrics


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimizer's state: tensors, and numbers by the same names."""
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
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **numbers}.items():
        if name.startswith("optimizer/"):
            _, index, slot = name.split("/")
            state.setdefault(int(index), {})[slot] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _numpy_to_json(state: tuple[Any, ...]) -> list[Any]:
    name, keys, *rest = state
    return [name, keys.tolist(), *rest]


def _numpy_from_json(state: list[Any]) -> tuple[Any, ...]:
    return tuple(state)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
