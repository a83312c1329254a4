"""Checkpoints: written completely or not at all, never executed, refused when they do not fit."""

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from refused import refused
from safetensors.torch import save_file

from pyro_vae import InputError, checkpoint


def sample() -> dict[str, torch.Tensor]:
    shared = torch.randn(3)
    return {
        "a": shared,
        "b": shared,
        "c": torch.randn(4, 4).T,
        "d": torch.tensor(3),
        "e": torch.zeros(0),
    }


def test_round_trip_also_of_shared_and_transposed_tensors(tmp_path) -> None:
    tensors = sample()
    checkpoint.write(
        tmp_path / "c", tensors, {"position": {"best": float("-inf"), "total": 0.1 + 0.2}}
    )
    read, record = checkpoint.read(tmp_path / "c")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[n], t) and read[n].dtype == t.dtype for n, t in tensors.items())
    assert record["position"] == {"best": float("-inf"), "total": 0.1 + 0.2}
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_damaged_file_is_refused(tmp_path, cut) -> None:
    path = tmp_path / "c"
    checkpoint.write(path, sample(), {})
    path.write_bytes(path.read_bytes()[:cut])
    with refused(str(path)) as caught:
        checkpoint.read(path)
    assert "damaged" in str(caught.value)


def test_a_flipped_bit_anywhere_is_found_or_harmless(tmp_path) -> None:
    path, chance = tmp_path / "c", random.Random(0)
    checkpoint.write(path, sample(), {"x": 1})
    whole = path.read_bytes()
    tensors, _ = checkpoint.read(path)
    for _ in range(300):
        spoilt = bytearray(whole)
        spoilt[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(spoilt)
        try:
            read, _ = checkpoint.read(path)
        except InputError:
            continue  # any other error fails the test
        assert read.keys() == tensors.keys()
        assert all(torch.equal(read[n], t) for n, t in tensors.items())


def test_what_is_no_checkpoint_of_ours(tmp_path) -> None:
    with refused(str(tmp_path / "none")):
        checkpoint.read(tmp_path / "none")
    save_file({"a": torch.zeros(1)}, tmp_path / "other")
    with refused(str(tmp_path / "other")) as caught:
        checkpoint.read(tmp_path / "other")
    assert "not a checkpoint" in str(caught.value)
    header = {"pyro_vae": json.dumps({"format": checkpoint.FORMAT + 1})}
    save_file({"a": torch.zeros(1)}, tmp_path / "newer", metadata=header)
    with refused(str(tmp_path / "newer"), expected="format 1", remedy="upgrade"):
        checkpoint.read(tmp_path / "newer")


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("boom",)


def test_a_pickle_is_not_executed(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c").write_bytes(pickle.dumps(Bomb()))
    with refused(str(tmp_path / "c")):
        checkpoint.read(tmp_path / "c")
    assert not (tmp_path / "boom").exists()


def test_loading_checks_before_it_copies() -> None:
    own = {"a": torch.zeros(2), "b": torch.zeros(3)}
    for saved, name, details in [
        ({"a": torch.ones(2), "b": torch.ones(4)}, "b", ("(4,) there", "(3,) here")),
        ({"a": torch.ones(2)}, "b", ("not there",)),
        ({"a": torch.ones(2), "b": torch.ones(3), "c": torch.ones(1)}, "c", ("only there",)),
    ]:
        with refused(name, remedy="options") as caught:
            checkpoint.load_into(own, saved, "somewhere")
        assert all(detail in str(caught.value) for detail in details)
        assert not own["a"].any()
    checkpoint.load_into(own, {"a": torch.ones(2), "b": torch.ones(3)}, "somewhere")
    assert own["b"].all()


WRITES_FOR_EVER = """
import sys, torch
from pathlib import Path
from pyro_vae import checkpoint
for i in range(10**9):
    checkpoint.write(Path(sys.argv[1]), {"i": torch.full((200_000,), i)}, {"i": i})
"""


def test_a_kill_in_the_middle_of_a_save_leaves_the_last_one_whole(tmp_path) -> None:
    path = tmp_path / "c"
    writer = subprocess.Popen([sys.executable, "-c", WRITES_FOR_EVER, path])
    while not path.exists() and writer.poll() is None:
        time.sleep(0.01)
    time.sleep(0.2 + 0.1 * random.random())
    writer.kill()
    assert writer.wait() == -signal.SIGKILL
    tensors, record = checkpoint.read(path)
    assert (tensors["i"] == record["i"]).all()
