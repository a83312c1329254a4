"""What an evidence takes of memory does not grow with K, nor with the data."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says")

PROGRAM = """
import sys, torch
from pathlib import Path
from pyro_vae import log_evidence
from pyro_vae.models import VAE

torch.set_num_threads(1)
def peak():  # in KiB; getrusage would count what the parent held when it started this process
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

images, num_particles = map(int, sys.argv[1:])
vae = VAE((784,), 8)
data = torch.zeros(images, 784)
log_evidence(vae, data[:64], num_particles=1)
before = peak()
log_evidence(vae, data, num_particles=num_particles, seed=0, max_memory=2**24)
after = peak()
print(before, after)
"""


def peak(images: int, num_particles: int) -> tuple[int, int]:
    """Of a process of its own: the most it had held before the estimate, and after it."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(images), str(num_particles)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    before, after = map(int, out.split())
    return before, after


@pytest.mark.parametrize(
    ("images", "few", "many"),
    [(64, 500, 5000), pytest.param(4, 500, 50_000, marks=pytest.mark.slow)],
)
def test_memory_does_not_grow_with_particles(images: int, few: int, many: int) -> None:
    assert peak(images, many)[1] <= 1.05 * peak(images, few)[1]


def test_memory_does_not_grow_with_data() -> None:
    """But for the data themselves."""
    few, many = peak(64, 200)[1], peak(640, 200)[1]
    assert many <= 1.05 * few


def test_an_estimate_keeps_within_its_budget() -> None:
    """What the whole process grows by is the budget, and no multiple of it."""
    before, after = peak(64, 2000)
    assert after - before <= 2 * 2**24 / 1024
