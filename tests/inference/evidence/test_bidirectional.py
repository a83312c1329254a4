"""Bounds from both sides, where the exact evidence is known."""

import json
import math
from functools import partial
from itertools import pairwise
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from oracles import errors_off
from refused import refused
from stories import Conjugate, GlobalMean
from torch import Tensor

from pyro_vae import log_evidence
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.bidirectional import Bidirectional, Sandwich
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.models import VAE, FactorAnalysis
from pyro_vae.program.generators import rng_state


def bidirectional(
    program: Any,
    data: Any,
    how: Any = Bidirectional,
    num_particles: int = 16,
    seed: int = 0,
    **options: Any,
) -> Evidence:
    method = how(Annealed(num_leapfrog=4, **options))
    return log_evidence(program, data, method=method, num_particles=num_particles, seed=seed)


sandwich = partial(bidirectional, how=Sandwich)


@pytest.fixture
def bad_guide() -> FactorAnalysis:
    """Not trained at all, and neither guide nor prior is near the posterior."""
    torch.manual_seed(0)
    model = FactorAnalysis((6,), 3)
    torch.nn.init.eye_(model.loadings).data.mul_(2)
    return model


def mean_and_error(values: Tensor) -> tuple[float, float]:
    return values.mean().item(), values.std().item() / len(values) ** 0.5


# 5 s each; that the weights are right from either start, the next test shows
@pytest.mark.parametrize("start", ["guide", pytest.param("prior", marks=pytest.mark.slow)])
def test_the_exact_value_lies_between_and_the_gap_shrinks(
    bad_guide: FactorAnalysis, start: str
) -> None:
    gaps = []
    for num_temperatures in (1, 10, 60):
        bounds = bidirectional(
            bad_guide,
            torch.zeros(150, 6),
            num_temperatures=num_temperatures,
            num_particles=8,
            start=start,
            seed=0,
        )
        exact = bad_guide.log_evidence(*bounds.simulated).detach().double()
        below, below_error = mean_and_error(exact - bounds.log_evidence)
        above, above_error = mean_and_error(bounds.upper - exact)
        assert below > -3 * below_error
        assert above > -3 * above_error
        low, high = bounds.interval()
        assert low < exact.mean() < high
        assert bounds.mean_gap == pytest.approx(below + above)
        gaps.append(bounds.mean_gap)
    assert all(b < max(a / 2, 4 * bounds.mean_gap_error) for a, b in pairwise(gaps))
    assert gaps[2] < 0.1 < gaps[0]
    assert gaps[2] > -3 * bounds.mean_gap_error


@pytest.mark.parametrize("start", ["guide", "prior"])
def test_reverse_weights_are_unbiased_for_one_over_the_evidence(start: str) -> None:
    bounds = bidirectional(
        Conjugate, torch.zeros(4000), num_particles=2, num_temperatures=3, start=start, seed=1
    )
    ratio = (Conjugate.log_evidence(*bounds.simulated) - bounds.upper).exp()
    mean, error = mean_and_error(ratio)
    assert abs(mean - 1) < 4 * error


@pytest.mark.slow
def test_the_error_of_the_gap_is_its_spread_over_repeats() -> None:
    options: dict[str, Any] = {"num_particles": 4, "num_temperatures": 3}
    repeats = [bidirectional(Conjugate, torch.zeros(60), seed=s, **options) for s in range(30)]
    spread = torch.tensor([b.mean_gap for b in repeats]).std().item()
    claimed = sum(b.mean_gap_error for b in repeats) / len(repeats)
    assert 0.6 < spread / claimed < 1.5  # 30 repeats know a spread to 13%


def test_simulated_data_are_drawn_from_the_model() -> None:
    (x,) = bidirectional(Conjugate, torch.full((4000,), 9.0), num_temperatures=1, seed=0).simulated
    assert abs(x.mean()) < 4 * (2 / 4000) ** 0.5
    assert abs(x.var() - 2) < 4 * 2 * (2 / 4000) ** 0.5


def test_what_the_model_does_not_generate_stays_and_slices_are_filled() -> None:
    """Steps of ragged sequences, each observed through a slice of the data."""

    def sites(x: Tensor, lengths: Tensor, of_model: bool) -> None:
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                with pyro.poutine.mask(mask=t < lengths):
                    loc = torch.zeros(len(x)) if of_model else 0.3 * x[:, t]
                    z = pyro.sample(f"z_{t}", dist.Normal(loc, 1.0))
                    if of_model:
                        pyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=x[:, t])

    program = (lambda x, n: sites(x, n, True), lambda x, n: sites(x, n, False))
    lengths = torch.arange(1, 4).repeat(30)
    bounds = bidirectional(program, (torch.zeros(90, 3), lengths), num_temperatures=20, seed=0)
    x, kept = bounds.simulated
    assert torch.equal(kept, lengths)
    inside = torch.arange(3) < lengths[:, None]
    exact = (dist.Normal(0.0, 2**0.5).log_prob(x) * inside).sum(-1)
    for gap in (exact - bounds.log_evidence, bounds.upper - exact):
        mean, error = mean_and_error(gap)
        assert -4 * error < mean < 0.05


@pytest.mark.slow
def test_a_constrained_latent_and_one_that_is_summed_out() -> None:
    rates = torch.tensor([1.0, 4.0])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Bernoulli(0.4), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Gamma(2.0, rates[which.long()]))
            pyro.sample("x", dist.Poisson(z), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.LogNormal((x + 0.5).log() - 0.5, 1.0))

    for start in ("guide", "prior"):
        bounds = bidirectional(
            (model, guide), torch.zeros(200), start=start, num_temperatures=25, seed=0
        )
        (x,) = bounds.simulated
        each = dist.GammaPoisson(2.0, rates).log_prob(x[:, None])
        exact = (each + torch.tensor([0.6, 0.4]).log()).logsumexp(-1)
        assert abs((exact - bounds.log_evidence).mean()) < 4 * bounds.mean_standard_error
        assert abs(bounds.mean_gap) < 0.05 + 4 * bounds.mean_gap_error


def test_a_joint_evidence_is_bounded_too() -> None:
    bounds = bidirectional(
        GlobalMean, torch.zeros(20), num_temperatures=30, num_particles=64, seed=0
    )
    exact = GlobalMean.log_evidence(*bounds.simulated).item()
    error = bounds.mean_gap_error
    assert bounds.num_units == 1
    assert bounds.log_evidence.item() - 4 * error < exact < bounds.upper.item() + 4 * error
    assert "'mean' lies outside" in bounds.summary()


def test_given_data(bad_guide: FactorAnalysis) -> None:
    x = torch.randn(60, 6) @ torch.randn(6, 6)
    each = bad_guide.log_evidence(x).detach()
    exact = each.mean().item()
    bounds = sandwich(bad_guide, x, num_temperatures=60, num_particles=16, seed=0)
    assert errors_off(bounds, each)[-1] < 4
    assert abs(bounds.upper.mean().item() - exact) < 4 * bounds.mean_gap_error
    assert bounds.indicative["CUBO"].mean() < exact < bounds.indicative["EUBO"].mean()
    assert math.isnan(bounds.interval()[0])
    assert not bounds.simulated
    summary = " ".join(bounds.summary().split())
    assert "upper estimate (no bound)" in summary
    assert "not from the posterior itself" in summary
    assert "biased low" in summary
    assert "certified, with probability 95% at least" in summary


def test_a_hidden_part_of_the_posterior_closes_the_gap_below_the_truth() -> None:
    """What the words on given data warn of: both sides agree, and both are too low by log 2."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z.abs(), 0.02), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 0.02))

    x = torch.linspace(1.0, 2.0, 20)
    exact = dist.Normal(0.0, 1.0).log_prob(x) + math.log(2)  # to the order of 0.02^2
    bounds = sandwich((model, guide), x, num_temperatures=20, seed=0)
    assert abs(bounds.mean_gap) < 0.01
    assert (exact.mean() - bounds.upper.mean()).item() == pytest.approx(math.log(2), abs=0.01)
    # on simulated data, exact draws of the posterior find the other part: the bounds stay apart
    assert bidirectional((model, guide), x, num_temperatures=20, seed=0).mean_gap > 1


def test_the_result_as_json_and_words() -> None:
    bounds = bidirectional(Conjugate, torch.zeros(30), num_temperatures=10, seed=0)
    figures = json.loads(json.dumps(bounds.to_dict(), allow_nan=False))
    assert figures["gap"] == pytest.approx(figures["upper"] - figures["mean"])
    assert figures["interval_95"][0] < figures["mean"] < figures["interval_95"][1]
    assert figures["simulated"]
    assert "upper bound, in expectation" in bounds.summary()
    given = sandwich(Conjugate, torch.zeros(30), num_temperatures=10, seed=0)
    assert json.loads(json.dumps(given.to_dict(), allow_nan=False))["interval_95"] == [None, None]


def test_nothing_is_left_behind_and_seeds_repeat() -> None:
    vae, x, noise = VAE((6,), 2), torch.zeros(5, 6), rng_state()["torch"]
    one, two = (bidirectional(vae, x, num_temperatures=4, seed=3) for _ in range(2))
    assert torch.equal(one.upper, two.upper)
    assert torch.equal(x, torch.zeros(5, 6))  # drawn into copies
    assert torch.equal(noise, rng_state()["torch"])
    assert all(p.grad is None for p in vae.parameters())


def computed(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=2 * x)


def autoregressive(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("first", dist.Normal(z, 1.0), obs=x[:, 0])
        pyro.sample("second", dist.Normal(z + x[:, 0], 1.0), obs=x[:, 1])


def of_mean(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.reshape(len(x), -1).mean(-1), 1.0))


@pytest.mark.parametrize(
    ("program", "x", "site", "remedy"),
    [
        ((computed, of_mean), torch.randn(5), "x", "the observed value itself"),
        ((autoregressive, of_mean), torch.randn(5, 2), "second", "sandwich"),
    ],
)
def test_what_cannot_be_simulated_is_refused(program, x, site, remedy) -> None:
    with refused(site, remedy=remedy):
        bidirectional(program, x, num_temperatures=2)


@pytest.mark.parametrize("function", [bidirectional, sandwich])
def test_wrong_options(function) -> None:
    with refused("num_particles", expected="at least 1"):
        function(Conjugate, torch.zeros(3), num_particles=0)
    bounds = function(Conjugate, torch.zeros(3), num_temperatures=2)
    with refused("delta", expected="between 0 and 1"):
        bounds.interval(1)


@pytest.mark.slow
def test_a_trained_decoder() -> None:
    """On digits that a VAE draws, the gap almost closes; on the real ones nothing speaks against it."""
    from pyro_vae import fit
    from pyro_vae.data import load

    data = load("digits").train
    x = data.tensors(1)[0].float().flatten(1)
    x = (x / x.max() > 0.5).float()
    vae = VAE((64,), 8)
    fit(vae, x, epochs=60, progress=False, optimizer=partial(torch.optim.Adam, lr=3e-3))
    wide = bidirectional(vae, x[:60], num_temperatures=5, num_particles=8, seed=0)
    narrow = bidirectional(vae, x[:60], num_temperatures=100, num_particles=8, seed=0)
    assert wide.mean_gap > narrow.mean_gap
    assert -4 * narrow.mean_gap_error < narrow.mean_gap < 0.1
    given = sandwich(vae, x[:60], num_temperatures=100, num_particles=8, seed=0)
    assert abs(given.mean_gap) < 0.1
