"""A run that is killed at any moment and resumed ends as one that was not: to the last bit."""

import multiprocessing
import os
import random
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyro_vae import checkpoint, fit, load
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.models import VAE
from pyro_vae.networks import MLP


def train(folder: Path) -> None:
    """A run with everything that has a state: noise, schedule, warm-up, best parameters."""
    torch.set_num_threads(1)
    data = load("digits", binarize="stochastic")
    torch.manual_seed(0)
    small = partial(MLP, hidden_dims=(16,))
    vae = VAE(data.event_shape, 4, encoder=small, decoder=small)
    fit(
        vae, data, epochs=60, batch_size=300, kl_warmup=20, clip_norm=5.0, seed=1, device="cpu",
        optimizer=partial(Adam, lr=0.01), lr_schedule=partial(CosineAnnealingLR, T_max=60),
        out=folder, resume=(folder / "checkpoint.safetensors").exists(), progress=False,
        control=RunControl(save_every=0.003),  # so that many kills fall into a save
    )  # fmt: skip


def killed_run(folder: Path, kills: int, chance: random.Random) -> int:
    """Starts and kills the run until ``kills`` are spent, then lets it end; how many hit it alive."""
    context, hits = multiprocessing.get_context("fork"), 0
    for attempt in range(kills + 1):
        child = context.Process(target=train, args=(folder,))
        child.start()
        if attempt < kills:
            child.join(timeout=chance.uniform(0.02, 0.35))
            hits += child.is_alive()
            if child.is_alive():
                os.kill(child.pid, signal.SIGKILL)
        child.join()
    assert child.exitcode == 0
    return hits


def contents(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, object], str]:
    tensors, record = checkpoint.read(folder / "checkpoint.safetensors")
    return tensors, record, (folder / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    ("runs", "kills"), [(1, 6), pytest.param(20, 10, marks=pytest.mark.slow, id="200 kills")]
)
def test_killed_and_resumed_is_the_same_run(tmp_path, runs, kills) -> None:
    chance = random.Random(time.time_ns())
    killed_run(tmp_path / "whole", 0, chance)
    tensors, record, metrics = contents(tmp_path / "whole")
    hits = 0
    for index in range(runs):
        hits += killed_run(tmp_path / str(index), kills, chance)
        tensors_again, record_again, metrics_again = contents(tmp_path / str(index))
        assert metrics_again == metrics
        assert record_again == record
        assert tensors_again.keys() == tensors.keys()
        assert all(torch.equal(tensors_again[n], t) for n, t in tensors.items())
        assert {p.name for p in (tmp_path / str(index)).iterdir()} <= {
            "checkpoint.safetensors", "metrics.jsonl", ".checkpoint.safetensors.unfinished",
            ".metrics.jsonl.unfinished", ".lock",
        }  # fmt: skip
    assert hits >= runs * kills / 2  # most kills hit a run at work
