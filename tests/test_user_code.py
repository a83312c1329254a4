"""The line that a message shows: the user's own, wherever the file lies and however it is run."""

import importlib.util
import subprocess
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from refused import refused
from torch import Tensor

from pyro_vae import log_evidence
from pyro_vae.errors import report_user_errors
from pyro_vae.inference.compiling.fx_capture import CannotCapture, capture
from pyro_vae.models import VAE
from pyro_vae.networks import MLP
from pyro_vae.user_code import Line, calls_within, program_line

BRANCH = "if x.sum() > 1e9:"
MODEL = f"""
import pyro
import pyro.distributions as dist
import torch

def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        {BRANCH}
            z = z + 1
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)

def fails(x):
    return torch.linalg.cholesky(-torch.eye(2))
"""
FAILS = "return torch.linalg.cholesky(-torch.eye(2))"


def line_of(call: object, *args: object) -> Line | None:
    try:
        call(*args)
    except Exception as error:
        calls = list(traceback.walk_tb(error.__traceback__))[1:]  # without this test
        while error.__cause__ is not None:
            error = error.__cause__
            calls = traceback.walk_tb(error.__traceback__)
        return program_line(calls)
    raise AssertionError("nothing was raised")


def module_in(folder: Path, name: str = "story") -> ModuleType:
    folder.mkdir(parents=True)
    path = folder / f"{name}.py"
    path.write_text(MODEL, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folder", ["", "pyro", "torch", "numpy/torch", "pyro_vae/models"])
def test_the_line_of_a_file_wherever_it_lies(tmp_path: Path, folder: str) -> None:
    line = line_of(module_in(tmp_path / folder / "x").fails, torch.zeros(2))
    assert not line.is_ours
    assert str(line) == f"line 14 of story.py: `{FAILS}`"
    assert line.place == "line 14 of story.py"


def test_a_graph_that_cannot_be_captured_shows_the_line(tmp_path: Path) -> None:
    story = module_in(tmp_path / "torch")

    def log_prob(x: Tensor) -> tuple[Tensor]:
        story.model(x)
        return (x,)

    with pytest.raises(CannotCapture, match=r"\(line 9 of story.py: `if x.sum\(\) > 1e9:`\)"):
        capture(log_prob, torch.zeros(3))


def test_an_error_of_the_users_shows_the_line(tmp_path: Path) -> None:
    story = module_in(tmp_path / "pyro")
    with refused("line 14 of story.py") as caught, report_user_errors():
        story.fails(torch.zeros(2))
    assert f"(line 14 of story.py: `{FAILS}`)" in caught.value.problem


SCRIPT = """
import traceback
from pyro_vae.inference.compiling.fx_capture import CannotCapture, capture
from pyro_vae.user_code import program_line

try:
    fails(torch.zeros(2))
except Exception as error:
    print(program_line(traceback.walk_tb(error.__traceback__)))
try:
    capture(lambda x: (model(x),), torch.zeros(3))
except CannotCapture as error:
    print(error)
"""


def test_a_script(tmp_path: Path) -> None:
    """Its functions are those of ``__main__``."""
    script = tmp_path / "torch" / "script.py"
    script.parent.mkdir()
    script.write_text(MODEL + SCRIPT, encoding="utf-8")
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert f"line 14 of script.py: `{FAILS}`" in run.stdout
    assert f"line 9 of script.py: `{BRANCH}`" in run.stdout


def broken() -> tuple[MLP, Tensor]:
    """A network of ours that fails in torch."""
    network = MLP((3,), (2,))
    network.layers[1].weight = torch.nn.Parameter(torch.zeros(5, 5))
    return network, torch.zeros(4, 3)


def test_a_part_of_ours_shows_its_own_line_unless_the_user_calls_it() -> None:
    network, x = broken()

    def mine(x: Tensor) -> Tensor:
        return network(x)

    assert line_of(network, x).is_ours
    line = line_of(mine, x)
    assert not line.is_ours
    assert line.number == mine.__code__.co_firstlineno + 1


def test_a_model_of_ours_as_the_users_program() -> None:
    """Never the line that calls ``log_evidence``."""
    vae = VAE((3,), 2)
    vae.recognition = broken()[0]
    line = line_of(log_evidence, vae, torch.zeros(4, 3))
    assert line.is_ours


def test_an_error_of_ours_is_not_called_the_users() -> None:
    ours: dict[str, Any] = {"__name__": "pyro_vae.room", "report": report_user_errors}
    exec("def call(function, x):\n    with report():\n        function(x)", ours)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        ours["call"](*broken())


def test_libraries_and_the_rest_of_pyro_vae_are_no_program() -> None:
    assert line_of(torch.linalg.cholesky, -torch.eye(2)) is None
    assert line_of(log_evidence, VAE((3,), 2), None) is None


def test_only_calls_within_the_program_count() -> None:
    """The script that called us is not where the program is."""

    def ours() -> Line | None:
        return program_line(calls_within(ours.__code__))

    def outer() -> Line | None:
        return inner()

    def inner() -> Line | None:
        return program_line(calls_within(outer.__code__))

    assert ours() is None
    assert outer().number == inner.__code__.co_firstlineno + 1
