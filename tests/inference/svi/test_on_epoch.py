"""The hook of a fit: it is told of each epoch, changes no result, and where it raises nothing is lost."""

import random
from functools import partial

import numpy as np
import pytest
import torch
from refused import refused
from torch import Tensor

from pyro_vae import fit
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.models import VAE
from pyro_vae.tracking import EpochEvent

quick = partial(fit, progress=False, device="cpu", batch_size=32, epochs=4, seed=3)


def rows() -> Tensor:
    return torch.rand(96, 4, generator=torch.Generator().manual_seed(0)).round()


def small() -> VAE:
    torch.manual_seed(1)
    return VAE((4,), 2)


def draw(event: EpochEvent) -> None:
    """A careless hook: it draws from every generator, and writes into what it was given."""
    torch.rand(3), np.random.rand(), random.random()  # noqa: NPY002
    event.metrics["train_elbo"] = 0.0


def weights(program) -> Tensor:
    return torch.cat([p.detach().flatten() for p in program.parameters()])


def test_it_is_told_of_each_epoch(tmp_path) -> None:
    told: list[EpochEvent] = []
    result = quick(small(), rows(), on_epoch=told.append, out=tmp_path / "run")
    assert [event.metrics for event in told] == result.metrics
    assert [event.epoch for event in told] == [1, 2, 3, 4]
    assert {(e.epochs, e.seed, e.folder) for e in told} == {(4, 3, tmp_path / "run")}
    assert "epoch" not in told[0].figures


def test_it_changes_no_result() -> None:
    alone, told = (quick(small(), rows(), on_epoch=hook) for hook in (None, draw))
    assert alone.metrics == told.metrics
    assert torch.equal(weights(alone.program), weights(told.program))


def test_one_that_raises_is_named_and_costs_nothing(tmp_path) -> None:
    calls = []

    def send(event: EpochEvent) -> None:
        calls.append(event.epoch)
        if event.epoch == 2:
            raise ConnectionError("no server")

    result = quick(small(), rows(), on_epoch=send, out=tmp_path)
    assert calls == [1, 2]
    (note,) = [note for note in result.notes if note.startswith("on_epoch")]
    for word in ("send raised ConnectionError", "epoch 2", "no server", "went on", "test_on_epoch"):
        assert word in note
    alone = quick(small(), rows())
    assert result.metrics == alone.metrics
    assert torch.equal(weights(alone.program), weights(result.program))


def test_one_that_ends_the_program_leaves_a_run_to_go_on_with(tmp_path) -> None:
    def stop(event: EpochEvent) -> None:
        if event.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick(small(), rows(), on_epoch=stop, out=tmp_path)
    told: list[EpochEvent] = []
    resumed = quick(small(), rows(), out=tmp_path, resume=True, on_epoch=told.append)
    assert [event.epoch for event in told] == [3, 4]
    alone = quick(small(), rows())
    assert resumed.metrics == alone.metrics
    assert torch.equal(weights(alone.program), weights(resumed.program))


def test_epochs_that_are_done_again_are_told_again(tmp_path) -> None:
    told: list[int] = []
    once = partial(quick, out=tmp_path, on_epoch=lambda event: told.append(event.epoch))
    once(small(), rows(), control=RunControl(stop_after=4))  # in the second epoch, of three steps
    once(small(), rows(), resume=True)
    assert told == [1, 2, 3, 4]


def test_each_restart_tells_its_seed() -> None:
    told: list[EpochEvent] = []
    quick(small(), rows(), on_epoch=told.append, restarts=2)
    assert [(event.seed, event.epoch) for event in told] == [
        (s, e) for s in (3, 4) for e in (1, 2, 3, 4)
    ]


def test_what_is_no_function_is_refused() -> None:
    with refused("on_epoch"):
        quick(small(), rows(), on_epoch=3)
