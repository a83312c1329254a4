"""95% intervals hold the truth in 90% of repeats or more, whatever the weights' tail is; or there is none.

The repeats are the units. A Normal guide of variance 1 - k under a standard Normal target has weights
sqrt(1 - k) exp(k e^2 / 2), with e standard Normal: their mean is 1, their tail's index k.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from pyro_vae.inference.evidence.psis import Tail, bad_k
from pyro_vae.inference.evidence.standard_error import standard_error
from pyro_vae.inference.evidence.weights import WeightSums

REPEATS = 1000
Draw = Callable[[int, int, torch.Generator], Tensor]


def normal(k: float, dims: int = 1) -> Draw:
    def draw(count: int, units: int, generator: torch.Generator) -> Tensor:
        e = torch.randn(dims, count, units, generator=generator, dtype=torch.float64)
        return (math.log1p(-k) / 2 + k * e.square() / 2).sum(0)

    return draw


def pareto(k: float) -> Draw:
    def draw(count: int, units: int, generator: torch.Generator) -> Tensor:
        u = torch.rand(count, units, generator=generator, dtype=torch.float64)
        return math.log1p(-k) - k * u.log()

    return draw


def log_normal(spread: float) -> Draw:
    def draw(count: int, units: int, generator: torch.Generator) -> Tensor:
        e = torch.randn(count, units, generator=generator, dtype=torch.float64)
        return spread * e - spread**2 / 2

    return draw


@dataclass(frozen=True)
class Covered:
    printed: float  # share of repeats
    covered: float  # share of those
    wrong: float  # share of repeats whose printed interval misses
    width: float  # median, of those printed, by the central 95% range of the estimates

    @classmethod
    def by(cls, draw: Draw, num_particles: int, repeats: int = REPEATS, seed: int = 0) -> "Covered":
        generator = torch.Generator().manual_seed(seed)
        sums = WeightSums(num_particles, repeats)
        for first in range(0, num_particles, 512):
            sums.add(draw(min(512, num_particles - first), repeats, generator))
        figure, error = sums.log_mean(), sums.standard_error()
        is_printed = error.isfinite()
        holds = figure.abs() <= 1.96 * error  # the truth is 0
        span = figure.quantile(0.975) - figure.quantile(0.025)
        return cls(
            is_printed.double().mean().item(),
            (holds.sum() / is_printed.sum()).item(),
            (is_printed & ~holds).double().mean().item(),
            (2 * 1.96 * error[is_printed].median() / span).item(),
        )


def check(draw: Draw, num_particles: int, k: float) -> None:
    found = Covered.by(draw, num_particles)
    chance = 3 * math.sqrt(0.9 * 0.1 / (found.printed * REPEATS))
    assert found.covered > 0.9 - (chance if k > 0.5 else 0)
    assert found.wrong < 0.1
    if num_particles >= 1000 and k <= 0.5:
        assert found.printed >= 0.85
        assert found.width <= {0.3: 1.25, 0.5: 2.0}[k]


@pytest.mark.parametrize("k", [0.3, 0.5, 0.6])
@pytest.mark.parametrize("num_particles", [300, 1000])
def test_intervals_hold_at_heavy_tails(num_particles: int, k: float) -> None:
    check(normal(k), num_particles, k)


@pytest.mark.slow
@pytest.mark.parametrize("k", [0.3, 0.5, 0.6])
@pytest.mark.parametrize("num_particles", [300, 1000, 10_000])
@pytest.mark.parametrize("draw", [normal, pareto, lambda k: normal(k, 3)])
def test_intervals_hold_at_heavy_tails_of_other_forms(
    draw: Callable[[float], Draw], num_particles: int, k: float
) -> None:
    check(draw(k), num_particles, k)


@pytest.mark.parametrize("k", [0.7, 0.9])
def test_where_the_tail_is_too_heavy_hardly_a_wrong_interval_is_printed(k: float) -> None:
    """One repeat in ten at most, as an interval of 90% would be."""
    for num_particles in (300, 1000):
        assert Covered.by(normal(k), num_particles).wrong < 0.1


@pytest.mark.parametrize("spread", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("num_particles", [16, 32, 1000])
def test_intervals_hold_at_light_tails(num_particles: int, spread: float) -> None:
    found = Covered.by(log_normal(spread), num_particles)
    assert found.wrong < 0.1 + 3 * math.sqrt(0.09 / REPEATS)
    assert found.covered > 0.9 - 3 * math.sqrt(0.09 / (found.printed * REPEATS))
    if spread < 1:
        assert found.printed > (0.7 if num_particles == 32 and spread == 0.5 else 0.95)
        assert found.width < 1.3


def test_of_light_tails_the_error_is_that_of_the_delta_method() -> None:
    generator = torch.Generator().manual_seed(0)
    w = log_normal(0.1)(20_000, 50, generator)
    sums = WeightSums(20_000, 50)
    sums.add(w)
    delta = w.exp().std(0) / w.exp().mean(0) / 20_000**0.5
    torch.testing.assert_close(sums.standard_error(), delta, rtol=0.02, atol=0.0)


def test_the_unseen_share_is_the_integral_of_the_tail() -> None:
    """Weights of an exact generalised Pareto tail, by numbers: the formula against a sum."""
    k, scale, cutoff, mean, count = 0.4, 0.2, 1.5, 1.0, 10_000
    above, sigmas = 300, 1.8
    upper = k + sigmas * (1 + k) / math.sqrt(above + 10)
    v = (torch.arange(2_000_000).double() + 0.5) / 2_000_000 / (8 * above)  # P(W > w | tail)
    w = cutoff + scale * (v**-upper - 1) / upper
    share = (w - mean).mean().item() / (8 * count) / mean
    tail = Tail(*(torch.tensor([x]).double() for x in (k, scale, cutoff, above)))
    largest = torch.zeros(1, 1).double()
    ess = torch.tensor([count]).double()  # no variance: what is left is the share
    log_mean = torch.tensor([math.log(mean)]).double()
    found = standard_error(ess, largest, log_mean, tail, count).item()
    assert found == pytest.approx(share, rel=2e-3)  # the sum leaves out the very largest


@pytest.mark.parametrize(("num_particles", "k"), [(300, 0.596), (1000, 2 / 3), (10**4, 0.7)])
def test_the_threshold_follows_k(num_particles: int, k: float) -> None:
    assert bad_k(num_particles) == pytest.approx(k, abs=1e-3)


def test_no_error_of_three_weights_but_equal_ones() -> None:
    for count in (1, 2, 3):
        sums = WeightSums(count, 2)
        sums.add(torch.tensor([0.0, 0.1]) * torch.arange(count).unsqueeze(-1))
        assert sums.standard_error().isfinite().tolist() == [count > 1, False]


def test_chains_that_went_astray_are_no_loss() -> None:
    """Two of 16 weigh nothing: a factor of 14/16, and an error to match."""
    w = 0.05 * torch.randn(16, 1, generator=torch.Generator().manual_seed(0)).double()
    w[:2] = -500.0
    sums = WeightSums(16, 1)
    sums.add(w)
    assert 0.05 < sums.standard_error().item() < 0.2
