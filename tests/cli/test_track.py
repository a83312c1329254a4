"""``fit --track``: what each service is sent, that the run is the same, and what is refused."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pyro_vae.tracking import Tracker

FIT = "fit --model FactorAnalysis --model.latent_dim 1 --data table.csv --batch_size 16"
KEPT = ("metrics.jsonl", "config.yaml", "checkpoint.safetensors")


@dataclass
class Service:
    """A stand-in for a service: what it was sent, and whether it fails."""

    opened: list[dict[str, Any]] = field(default_factory=list)
    sent: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    closed: int = 0
    fails_at: int | None = None
    closes: bool = True

    def open(self, **given: Any) -> SimpleNamespace:
        self.opened.append(given)
        self.options |= given.get("config", {})
        return SimpleNamespace(
            id="abc", info=SimpleNamespace(run_id="abc"), log=self.log, finish=self.close
        )

    def log(self, figures: dict[str, float], step: int) -> None:
        if self.fails_at == step:
            raise ConnectionError("no server")
        self.sent.append((step, figures))

    def close(self) -> None:
        self.closed += 1
        if not self.closes:
            raise TimeoutError("still no server")


@pytest.fixture
def service(monkeypatch) -> Service:
    """The one stand-in, under both names."""
    service, mlflow, wandb = Service(), ModuleType("mlflow"), ModuleType("wandb")
    mlflow.start_run, mlflow.end_run, mlflow.log_metrics = service.open, service.close, service.log
    mlflow.log_params = service.options.update
    wandb.init = service.open
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    return service


def contents(folder: str) -> list[bytes]:
    return [Path(folder, name).read_bytes() for name in KEPT]


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_run_is_tracked_and_is_the_same_run(call, service, name) -> None:
    assert call(FIT, "--epochs 2 --out runs/alone").code == 0
    outcome = call(FIT, f"--epochs 2 --track {name} --out runs/a")
    assert outcome.code == 0, outcome.err
    assert contents("runs/a") == contents("runs/alone")
    assert [step for step, _ in service.sent] == [1, 2]
    assert "train_elbo" in service.sent[0][1]
    assert str(service.options["batch_size"]) == "16"
    assert service.closed == 1
    assert call(f"fit --resume runs/a --epochs 3 --track {name}").code == 0
    assert [step for step, _ in service.sent] == [1, 2, 3]
    known = [given.get("run_id", given.get("id")) for given in service.opened]
    assert known == [None, "abc"]


def test_a_service_that_fails_is_named_and_costs_nothing(call, service) -> None:
    service.fails_at, service.closes = 2, False
    outcome = call(FIT, "--epochs 3 --track wandb --out runs/a")
    assert outcome.code == 0
    for words in ("WandB raised ConnectionError", "epoch 2", "no server", "TimeoutError"):
        assert words in outcome.err
    assert call(FIT, "--epochs 3 --out runs/alone").code == 0
    assert contents("runs/a") == contents("runs/alone")
    assert Path("runs/a/learning_curve.png").is_file()


def test_each_restart_is_a_run_of_its_own(call, service) -> None:
    outcome = call(FIT, "--epochs 1 --restarts 2 --seed 5 --track wandb --out runs/a")
    assert outcome.code == 0, outcome.err
    assert [given["name"] for given in service.opened] == ["a", "a-seed-6"]
    assert service.closed == 2


def test_tensorboard_has_the_figures(call) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert call(FIT, "--epochs 2 --track tensorboard --out runs/a").code == 0
    assert call("fit --resume runs/a --epochs 3 --track tensorboard").code == 0
    read = EventAccumulator("runs/a/tensorboard/a").Reload()
    assert [event.step for event in read.Scalars("train_elbo")] == [1, 2, 3]


def test_what_is_refused(call, monkeypatch) -> None:
    call(FIT, "--epochs 1 --track excel --out runs/a").refuses("--track", "tensorboard")
    monkeypatch.setitem(sys.modules, "wandb", None)
    call(FIT, "--epochs 1 --track wandb --out runs/a").refuses(
        "wandb", "not installed", "pip install"
    )
    assert not Path("runs/a").exists()


def test_a_service_of_ones_own_is_three_methods() -> None:
    class Printer(Tracker):
        def open(self, event, name, known):
            return name

        def log(self, event):
            pass

        def close(self):
            pass

    assert Printer().name == "pyro_vae"
