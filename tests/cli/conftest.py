"""A working directory for each test, and a command line to call in it."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jsonargparse
import pytest
import torch

from pyro_vae.cli import main

MY_MODEL = '''
import math

import pyro
import pyro.distributions as dist
import torch
from torch import nn


class MyVAE(nn.Module):
    """A user's model.

    Args:
        width: of the hidden layer
    """

    def __init__(self, data_shape, width: int = 8):
        super().__init__()
        self.shape, size = tuple(data_shape), math.prod(data_shape)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.Tanh(), nn.Linear(width, 4))
        self.decoder = nn.Linear(2, size)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            loc = self.decoder(z).unflatten(-1, self.shape)
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(len(self.shape)), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc, raw = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))


class WithLabels(MyVAE):
    def model(self, x, y):
        super().model(x)

    def guide(self, x, y):
        super().guide(x)


class Failing(MyVAE):
    def model(self, x):
        raise ValueError("oh no")


class FailsLater(MyVAE):
    """Passes the checks on the first batch, of 128 rows, and fails on the last, of fewer."""

    def model(self, x):
        if len(x) != 128:
            raise ValueError("oh no")
        super().model(x)


class NoProgram:
    pass
'''

TABLE = "age,height\n" + "".join(f"{20 + i % 40},{150 + (i * 7) % 50}\n" for i in range(60))


@dataclass(frozen=True)
class Outcome:
    """Hold the exit code and the output of a command."""

    code: int
    out: str
    err: str

    def refuses(self, *names: str) -> None:
        """Check that the command ended with one error, with these names and numbers."""
        assert self.code == 2, (self.out, self.err)
        error = self.err[self.err.index("error: ") :]
        assert [name for name in names if name not in error] == [], error
        assert error.count("\n") <= 2
        assert not {"Traceback", "bug"} & set(self.err.split())


BoundProgram = Callable[..., Outcome]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with a module `my_model` and a table in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    settings = dict(jsonargparse._common.parsing_settings)
    modules, threads = set(sys.modules), torch.get_num_threads()
    (tmp_path / "my_model.py").write_text(MY_MODEL)
    (tmp_path / "table.csv").write_text(TABLE)
    yield tmp_path
    torch.set_num_threads(threads)
    jsonargparse._common.parsing_settings.update(settings)
    for name in set(sys.modules) - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def call(here: Path, capsys: pytest.CaptureFixture[str]) -> BoundProgram:
    """Calls the command line with words, some of them perhaps in one string."""

    def run(*words: str) -> Outcome:
        capsys.readouterr()
        code = main(" ".join(words).split())
        return Outcome(code, *capsys.readouterr())

    return run


Kept = dict[tuple[str, ...], tuple[Path, Path, Outcome]]


@pytest.fixture(scope="session")
def kept() -> Kept:
    """What :func:`made` has made: where it is kept, where it was made, and what the command said."""
    return {}


@pytest.fixture
def made(
    here: Path, call: BoundProgram, kept: Kept, tmp_path_factory: pytest.TempPathFactory
) -> BoundProgram:
    """Calls a command that many tests start from, once for all; later it copies what that left behind.

    A fit draws by its own seed, so that a copy is what the command would leave again.
    """

    def run(*words: str) -> Outcome:
        given = (path for path in sorted(here.rglob("*")) if path.is_file())
        known = (" ".join(words), *(f"{p.relative_to(here)}: {p.read_bytes()!r}" for p in given))
        if known not in kept:
            outcome = call(*words)
            kept[known] = (tmp_path_factory.mktemp("made") / "here", here, outcome)
            shutil.copytree(here, kept[known][0], ignore=shutil.ignore_patterns("__pycache__"))
        folder, place, outcome = kept[known]
        shutil.copytree(folder, here, dirs_exist_ok=True)
        for config in here.glob("runs/*/config.yaml"):  # which says where the run's paths start
            config.write_text(config.read_text().replace(str(place), str(here)))
        return outcome

    return run


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of ours on the binarised digits."""
    folder = tmp_path_factory.mktemp("runs") / "vae"
    words = f"""
        fit --model VAE --data digits --binarize stochastic --epochs 2 --out {folder}
        --model.latent_dim 2 --model.encoder.hidden_dims [16] --model.decoder.hidden_dims [16]
    """
    assert main(words.split()) == 0
    return folder


@pytest.fixture
def vae(here: Path, fitted: Path) -> Path:
    """That run, in the working directory."""
    return shutil.copytree(fitted, Path("runs/vae"))
