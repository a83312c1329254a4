"""What an evidence takes of memory.

It does not grow with the data. With K it grows only by the largest weights of each unit, of which it keeps
3 sqrt(K): at K = 50,000 some 670 numbers a unit, against the model's own megabytes.
"""

import subprocess
import sys
from functools import partial

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux says"),
]

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
    """Of a process of its own: the most it had held before the estimate, and after it.

    How the C library's memory comes to be split up is a matter of luck, so the least of three.
    """
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(images), str(num_particles)]
    run = partial(subprocess.run, command, check=True, capture_output=True, text=True)
    before, after = zip(*(map(int, run().stdout.split()) for _ in range(3)), strict=True)
    return min(before), min(after)


@pytest.mark.parametrize(
    ("images", "few", "many"),
    [(64, 500, 5000), (16, 500, 50_000)],
)
def test_memory_hardly_grows_with_particles(images: int, few: int, many: int) -> None:
    assert peak(images, many)[1] <= 1.05 * peak(images, few)[1]


def test_memory_does_not_grow_with_data() -> None:
    """But for the data themselves, which are 6 MB here."""
    few, many = peak(64, 200)[1], peak(2000, 200)[1]
    assert many <= 1.05 * few + 2 * 2000 * 784 * 4 / 1024


def test_an_estimate_keeps_within_its_budget() -> None:
    """What the whole process grows by is the budget, and no multiple of it."""
    before, after = peak(64, 2000)
    assert after - before <= 2 * 2**24 / 1024
