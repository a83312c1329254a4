import os

# Nothing here is large enough for a second thread, and on a busy machine two wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import random
import zlib

import numpy as np
import pyro
import pytest
import torch
from stories import RNG


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="other draws, in another order")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.seed:
        shift_seeds(config.option.seed * 10**6)
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(config.option.seed)


def shift_seeds(by: int) -> None:
    """Adds a number to the seeds that tests name, too, so that ``manual_seed(0)`` draws something else."""
    seed_torch, Generator = torch.manual_seed, torch.Generator

    class IsGenerator(type(Generator)):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, Generator)

    class Shifted(Generator, metaclass=IsGenerator):
        def manual_seed(self, seed: int) -> torch.Generator:
            return super().manual_seed(seed + by)

    torch.manual_seed = lambda seed: seed_torch(seed + by)
    torch.Generator = Shifted


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skips = {
        "gpu": (not torch.cuda.is_available(), "needs a CUDA device"),
        "data": ("PYRO_VAE_DATA" not in os.environ, "needs PYRO_VAE_DATA"),
    }
    for item in items:
        for marker, (missing, reason) in skips.items():
            if missing and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
    if config.option.seed:
        random.Random(config.option.seed).shuffle(items)


def start(node: pytest.Collector | pytest.Item) -> None:
    """Seeds every generator by the name of what comes next, so that nothing before it counts.

    A test draws the same alone, in any order and on any worker; data that its module draws as it is
    imported, too.
    """
    seed = zlib.crc32(f"{node.config.option.seed} {node.nodeid}".encode())
    pyro.set_rng_seed(seed)
    RNG.bit_generator.state = np.random.PCG64(seed).state


@pytest.hookimpl(tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> None:
    start(collector)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef, request: pytest.FixtureRequest) -> None:
    if (
        fixturedef.scope != "function"
    ):  # it is made before `_same_start`, after whatever test came before
        pyro.clear_param_store()
        start(request.node)


@pytest.fixture(autouse=True)
def _same_start(request: pytest.FixtureRequest) -> None:
    pyro.clear_param_store()
    start(request.node)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts little data and few particles, too: of small programs they would come in one block."""
    from pyro_vae.inference.evidence import tiles

    monkeypatch.setitem(tiles.UNITS_PER_TILE, "cpu", (64, 64))
    monkeypatch.setitem(tiles.PARTICLES_PER_BLOCK, "cpu", (512, 512))
