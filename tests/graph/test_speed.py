"""The promised times, with room for a busy machine; measured in a process of its own."""

import json
import subprocess
import sys

import pytest

CODE = """
import json, sys, time
sys.path.insert(0, {examples!r})
import torch
from pyro_vae.graph import render_model
from gallery import GALLERY, VAE
times = {{}}
def measure(name, draw):
    start = time.perf_counter()
    draw().svg
    times[name] = time.perf_counter() - start
with torch.device("meta"):  # a network of 200 million weights, without its memory
    from functools import partial
    from pyro_vae.networks import MLP
    wide = VAE((3, 256, 256), 64, encoder=partial(MLP, hidden_dims=(512,)),
               decoder=partial(MLP, hidden_dims=(512,)))
x = torch.zeros(()).expand(1024, 3, 256, 256)
measure("vae", GALLERY["vae"])
measure("large", lambda: render_model(wide, (x,)))
measure("forty", GALLERY["forty_sites"])
print(json.dumps(times))
"""


@pytest.fixture(scope="module")
def times():
    from pathlib import Path

    examples = str(Path(__file__).parents[2] / "examples")
    runs = []
    for _ in range(2):  # the better of two: other processes may be at work
        code = CODE.format(examples=examples)
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        runs.append(json.loads(run.stdout))
    return {name: min(run[name] for run in runs) for name in runs[0]}


def test_a_vae_takes_a_tenth_of_a_second(times):
    assert times["vae"] < 0.1


def test_sizes_do_not_matter(times):
    assert times["large"] < 0.1


def test_forty_sites_take_half_a_second(times):
    assert times["forty"] < 0.5
