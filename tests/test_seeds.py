"""What a test draws depends on its name and `--seed` alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HELPERS = """
import sys, torch, random, numpy, pyro

def draws():
    return torch.rand(3).tolist(), random.random(), numpy.random.rand(3).tolist()

sys.path.insert(0, sys.argv[1])
pyro.set_rng_seed(0)
expected = draws()
pyro.set_rng_seed(0)
import oracles, parts.parts, stories
assert draws() == expected
assert stories.RNG.random() == numpy.random.default_rng(0).random()
"""


def test_helpers_draw_nothing_as_they_are_imported() -> None:
    """...or what a module draws after it would depend on which module imports them first."""
    run = [sys.executable, "-W", "ignore", "-c", HELPERS, str(HERE)]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


TESTS = """
import pytest
import torch
from stories import RNG

DATA = torch.randn(())

def test_what_names_a_seed():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    print("DREW", DATA, torch.randn(()), torch.randn((), generator=generator))

@pytest.mark.parametrize("n", range(2))
def test_what_names_none(n):
    print("DREW", torch.randn(()), RNG.normal())
"""


@pytest.mark.slow
def test_draws_depend_on_names_and_the_seed_alone(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((HERE / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(TESTS)

    def draws(*options: str) -> set[str]:
        run = [sys.executable, "-m", "pytest", "-s", "-c", "/dev/null", "--rootdir", ".", *options]
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [line.split("DREW ")[1] for line in done.stdout.splitlines() if "DREW" in line]
        return {number for line in lines for number in line.split()}

    whole, alone, other = (
        draws(),
        draws("test_it.py::test_what_names_none[1]"),
        draws("--seed", "1"),
    )
    assert len(whole) == len(other) == 7
    assert len(alone) == 2
    assert alone < whole
    assert not whole & other
