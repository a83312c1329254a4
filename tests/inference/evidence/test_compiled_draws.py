"""Compiled draws and weights give what Python gives, or are refused."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused
from stories import Conjugate
from torch import Tensor, nn

from pyro_vae import log_evidence
from pyro_vae.inference.compiling import checked_code
from pyro_vae.inference.evidence import compiled_draws
from pyro_vae.inference.evidence.method import part_size
from pyro_vae.models import VAE, MixtureVAE

pytestmark = pytest.mark.usefixtures("small_blocks")

X = torch.randn(130, generator=torch.Generator().manual_seed(1)) * 1.5
PIXELS = (torch.rand(100, 20, generator=torch.Generator().manual_seed(2)) > 0.6).float()


def both_ways(program: Any, x: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    """Return the figures by compiled code and by Python, of the same noise."""
    compiled, plain = (
        log_evidence(program, x, seed=0, compile=mode, **options) for mode in ("on", "off")
    )
    torch.testing.assert_close(compiled.ess, plain.ess, rtol=1e-2, atol=1e-5)
    return compiled.log_evidence, plain.log_evidence


@pytest.fixture(autouse=True)
def quickly(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let graphs run as they are: one test needs Inductor's code, which takes seconds to make."""
    if "compiler" not in request.fixturenames:
        monkeypatch.setattr(checked_code, "by_inductor", lambda graph, *_: graph.module)


@pytest.fixture
def compiler() -> None:
    """Make code by Inductor in a test."""


@pytest.fixture
def compiled_calls(monkeypatch) -> list[int]:
    """The sizes of the calls that compiled code has answered."""
    sizes: list[int] = []
    original = compiled_draws.CompiledDraws.__call__

    def counted(self: Any, bound_program: Any) -> Any:
        sizes.append(bound_program.structure.num_units)
        return original(self, bound_program)

    monkeypatch.setattr(compiled_draws.CompiledDraws, "__call__", counted)
    return sizes


def test_a_conjugate_pair_in_tiles_of_two_sizes(compiled_calls) -> None:
    compiled, plain = both_ways(Conjugate, X, num_particles=1000)
    torch.testing.assert_close(compiled, plain, rtol=0, atol=1e-5)
    assert set(compiled_calls) == {43, 44}
    assert len(compiled_calls) == 2 * 3  # 1,000 particles as 500 and 500, in each of three tiles


def test_a_decoder_of_pixels(compiled_calls) -> None:
    torch.manual_seed(0)
    compiled, plain = both_ways(VAE((20,), 3), PIXELS, num_particles=96, max_memory=100_000)
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-4)
    assert compiled_calls == [50, 50]


@pytest.mark.slow
def test_a_decoder_of_pixels_by_inductor(compiler, compiled_calls) -> None:
    test_a_decoder_of_pixels(compiled_calls)


def test_a_class_that_is_summed_out(compiled_calls) -> None:
    torch.manual_seed(0)
    program = MixtureVAE((20,), 3, num_components=2)
    compiled, plain = both_ways(program, PIXELS, num_particles=96, max_memory=100_000)
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-4)
    assert compiled_calls == [50, 50]


def test_auto_compiles_where_there_is_enough_to_do(compiled_calls, monkeypatch) -> None:
    log_evidence(Conjugate, X, num_particles=100, seed=0)
    assert not compiled_calls
    monkeypatch.setattr(compiled_draws, "PARTS_WORTH_INDUCTOR", 0)
    log_evidence(Conjugate, X, num_particles=100, seed=0)
    assert compiled_calls


def test_without_a_compiler_python_goes_on(compiled_calls, monkeypatch) -> None:
    def missing(*_: Any) -> Callable[..., Any]:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(checked_code, "by_inductor", missing)
    monkeypatch.setattr(compiled_draws, "PARTS_WORTH_INDUCTOR", 0)
    evidence = log_evidence(Conjugate, X, num_particles=100, seed=0)
    plain = log_evidence(Conjugate, X, num_particles=100, seed=0, compile="off")
    assert torch.equal(evidence.log_evidence, plain.log_evidence)
    assert not compiled_calls
    with refused("compile", remedy="auto") as error:
        log_evidence(Conjugate, X, num_particles=100, compile="on")
    assert "no C++ compiler" in str(error.value)


def test_code_that_gives_other_values_is_not_used(monkeypatch) -> None:
    right = checked_code.by_inductor

    def wrong(graph: Any, *arguments: Tensor) -> Callable[..., Any]:
        code = right(graph, *arguments)
        return lambda *tensors: tuple(1.01 * out for out in code(*tensors))

    monkeypatch.setattr(checked_code, "by_inductor", wrong)
    with refused("compile"):
        log_evidence(Conjugate, X, num_particles=100, compile="on")


class Counts(nn.Module):
    """Counts its calls, which changes nothing; no graph would count on."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def model(self, x: Tensor) -> None:
        self.calls += 1
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0, 1))
            pyro.sample("x", dist.Normal(z, 1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.8))


class Branches(Counts):
    """Looks at the data."""

    def model(self, x: Tensor) -> None:
        scale = 1.0 if x.mean() > 0 else 2.0
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0, 1))
            pyro.sample("x", dist.Normal(z, scale), obs=x)


class Regression:
    """Multiplies matrices, so its particles do not run under a plate."""

    @staticmethod
    def model(x: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(2), 1).to_event(1))
        inputs = torch.stack([torch.ones(len(x)), x], -1)
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(inputs @ w, 1), obs=x)

    @staticmethod
    def guide(x: Tensor) -> None:
        pyro.sample("w", dist.Normal(torch.zeros(2), 0.1).to_event(1))


@pytest.mark.parametrize("program", [Counts(), Regression])
def test_refusals(program) -> None:
    with refused("compile", remedy="auto"):
        log_evidence(program, X, num_particles=100, compile="on")


def test_a_branch_on_the_data_is_refused() -> None:
    with refused("compile", remedy="auto"):
        log_evidence(Branches(), X.abs(), num_particles=100, compile="on", unit="data")


def test_a_mode_that_does_not_exist() -> None:
    with refused("compile", expected="'auto', 'on', 'off'"):
        log_evidence(Conjugate, X, compile="yes")


def test_parts_are_equal_or_as_large_as_possible() -> None:
    for total in range(1, 200):
        divisors = [size for size in range(33, 65) if total % size == 0]
        assert part_size(total, 64) == (total if total <= 64 else max(divisors, default=64))


def test_particles_that_no_part_divides(compiled_calls) -> None:
    compiled, plain = both_ways(VAE((20,), 3), PIXELS, num_particles=97, max_memory=100_000)
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-4)
    assert compiled_calls == [50, 50]
