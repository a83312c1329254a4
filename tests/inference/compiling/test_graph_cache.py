"""A function that became a graph says what it said in Python; and does not where it must not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from pyro_vae import log_evidence
from pyro_vae.inference.compiling import graph_cache, inductor
from pyro_vae.inference.compiling.fx_capture import CapturedGraph
from pyro_vae.inference.compiling.graph_cache import GraphedFunction
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.models import VAE, FactorAnalysis

WEIGHT = torch.randn(200, 300)
SCALE = torch.nn.Parameter(torch.tensor(2.0))


def written_by_rows(x: Tensor) -> Tensor:
    """A constant, written to through one of several views."""
    sums = torch.zeros(2)
    with torch.no_grad():
        first, _ = sums.unbind()
        first.add_(x.sum())
    return sums.sum()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_cache, "CALLS_WORTH_A_GRAPH", 3)


def gradient_of(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], tuple[Tensor, ...]]:
    def gradient(x: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            value = function(leaf)
            return value.detach(), *torch.autograd.grad(value.sum(), leaf)

    return gradient


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x @ WEIGHT).tanh().sum(-1),
        lambda x: (x * WEIGHT.exp().sum(-1).log() + torch.zeros_like(x)).square().sum(-1),
        lambda x: x.reshape(2, 50, 200).permute(0, 1, 2).contiguous().flatten(0, 1).sum(-1),
        lambda x: torch.zeros(200).add_(x.sum(0)),  # a constant that is written to
        lambda x: torch.where(x > 0, x, torch.nan).sum(-1),
        lambda x: (
            x.sum(-1) * SCALE.item() if SCALE > 1 else x.sum(-1)
        ),  # parameters stay as they are
        lambda x: x.sum(-1) + written_by_rows(x),
    ],
)
def test_the_graph_says_the_same(function: Callable[[Tensor], Tensor]) -> None:
    expected, calls = gradient_of(function), 0

    def counted(x: Tensor) -> tuple[Tensor, ...]:
        nonlocal calls
        calls += 1
        return expected(x)

    fast = GraphedFunction(counted)
    for _ in range(20):
        x = torch.randn(100, 200)
        for ours, wanted in zip(fast(x), expected(x), strict=True):
            torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-3, equal_nan=True)
    assert calls < 10, "no graph took over"


def test_it_goes_on_in_python() -> None:
    """...where Python decides, where the result is another every time, and for another shape."""
    count = 0

    def counter(x: Tensor) -> tuple[Tensor]:
        nonlocal count
        count += 1
        return (x + count,)

    decides = GraphedFunction(lambda x: (x if x.sum() > 0 else -x,))
    counts, random = GraphedFunction(counter), GraphedFunction(lambda x: (x + torch.rand(()),))
    for each in (decides, counts, random):
        for _ in range(8):
            each(torch.ones(3))
        assert not each.graphs
    assert count >= 8
    assert decides(-torch.ones(3))[0].equal(torch.ones(3))
    adds = GraphedFunction(lambda x: (x + 1,))
    for size in (2, 3):
        for _ in range(8):
            assert adds(torch.ones(size))[0].equal(2 * torch.ones(size))
    assert len(adds.graphs) == 2


def test_annealing_by_graphs_is_annealing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, x = FactorAnalysis((6,), 2), torch.randn(5, 6)
    pairs = [(model, x), (VAE((12,), 2), torch.rand(5, 12).round())]
    for program, data in pairs:
        figures = []
        for worth in (3, 10**9):
            monkeypatch.setattr(graph_cache, "CALLS_WORTH_A_GRAPH", worth)
            method = Annealed(num_temperatures=20, num_leapfrog=3)
            figures.append(log_evidence(program, data, method=method, seed=0).log_evidence)
        torch.testing.assert_close(*figures, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_annealing_by_compiled_code_is_annealing(monkeypatch: pytest.MonkeyPatch) -> None:
    """...and graphs of the same operations share their code: here those of two tiles."""
    torch.manual_seed(0)
    compiled: list[str] = []
    by_inductor = inductor.by_inductor

    def counted(graph: CapturedGraph, *arguments: Tensor) -> Callable[..., Any]:
        compiled.append(graph.module.code)
        return by_inductor(graph, *arguments)

    monkeypatch.setattr(inductor, "by_inductor", counted)
    program, x = VAE((12,), 2), torch.rand(100, 12).round()
    method = Annealed(num_temperatures=20, num_leapfrog=3)
    figures = [
        log_evidence(program, x, method=method, seed=0, compile=mode).log_evidence
        for mode in ("on", "off")
    ]
    torch.testing.assert_close(*figures, rtol=1e-4, atol=1e-4)
    # the gradient, and both densities with theirs; for 8 chains, which adapt, and for 16
    assert len(compiled) == len(set(compiled)) == 4
