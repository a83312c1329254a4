"""Bridge sampling against closed forms, within its own standard errors."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused
from torch import Tensor

from pyro_vae import log_evidence, posterior
from pyro_vae.inference import NUTS, Bridge, Evidence, Importance
from pyro_vae.inference.annealing.reference import tail_index
from pyro_vae.inference.evidence.half_bridge import effective_size, first_of_each, iterate
from pyro_vae.models import FactorAnalysis


def correlated(num_draws: int, dims: int, rho: float, num_chains: int = 1) -> Tensor:
    """Standard Normal draws of chains with autocorrelation rho, one chain after another."""
    chains = torch.empty(num_chains, num_draws, dims, dtype=torch.float64)
    z = torch.randn(num_chains, dims, dtype=torch.float64)
    for i in range(num_draws):
        z = rho * z + math.sqrt(1 - rho**2) * torch.randn_like(z)
        chains[:, i] = z
    return chains.flatten(0, 1)


class Regression:
    """Gaussian, with a scale that is known: posterior and evidence in closed form."""

    def __init__(self, dims: int = 6, num_data: int = 40) -> None:
        self.x = torch.randn(num_data, dims)
        self.y = self.x @ torch.randn(dims) + torch.randn(num_data)
        x, y = self.x.double(), self.y.double()
        covariance = x @ x.T + torch.eye(num_data)
        self.exact = dist.MultivariateNormal(torch.zeros(num_data).double(), covariance).log_prob(y)
        precision = x.T @ x + torch.eye(dims)
        self.root = torch.linalg.cholesky(torch.linalg.inv(precision))
        self.mean = torch.linalg.solve(precision, x.T @ y)

    def model(self, x: Tensor, y: Tensor) -> None:
        slope = pyro.sample("slope", dist.Normal(torch.zeros(x.shape[1]), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(x @ slope, 1.0), obs=y)

    def draws(self, num_draws: int, rho: float = 0.0, num_chains: int = 1) -> dict[str, Tensor]:
        white = correlated(num_draws, len(self.mean), rho, num_chains)
        return {"slope": (self.mean + white @ self.root.T).float()}

    def bridged(self, draws: dict[str, Tensor], num_chains: int = 1, **options: Any) -> Evidence:
        method = Bridge(draws, num_chains)
        return log_evidence(self.model, args=(self.x, self.y), method=method, **options)


@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_regression(rho: float) -> None:
    program = Regression()
    evidence = program.bridged(program.draws(2000, rho, 2), 2, seed=0)
    assert (evidence.log_evidence - program.exact).abs() < 4 * evidence.standard_error
    assert float(evidence.standard_error) < 0.05
    assert not evidence.is_unbiased
    assert math.isnan(evidence.certificate())
    assert "4,000 draws of the posterior of 2 chains" in evidence.method


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.9, 0.95])
def test_intervals_cover_whatever_the_autocorrelation_is(rho: float) -> None:
    program, held = Regression(3, 15), []
    for seed in range(100):
        evidence = program.bridged(program.draws(1000, rho, 2), 2, num_particles=300, seed=seed)
        if not evidence.without_error.any():
            off = float((evidence.log_evidence - program.exact).abs())
            held.append(off < 1.96 * float(evidence.standard_error))
    assert len(held) > 50
    assert sum(held) > 0.88 * len(held)  # at 95 % less comes about once in 500 times


def test_few_independent_draws_have_no_error() -> None:
    program = Regression(3, 15)
    evidence = program.bridged(program.draws(200, 0.98), seed=0)
    assert evidence.standard_error.isnan()
    assert any("the draws were not enough" in note for note in evidence.notes)


def test_the_fixed_point_is_that_of_two_normals() -> None:
    """The ratio of a Normal's unnormalised density to another density is known."""
    u, v = 1.5 * torch.randn(20_000, 1).double(), 2 * torch.randn(20_000, 1).double()

    def log_ratio(z: Tensor) -> Tensor:
        return -((z / 1.5) ** 2) / 2 + 3 - dist.Normal(0.0, 2.0).log_prob(z)

    found = iterate(log_ratio(u), log_ratio(v), torch.tensor([20_000.0]))
    exact = 3 + math.log(1.5) + math.log(2 * math.pi) / 2
    assert abs(found.item() - exact) < 4 * 0.005


def test_effective_size_of_an_autoregression() -> None:
    chains = correlated(20_000, 2, 0.8, 2).unflatten(0, (2, -1))
    expected = 40_000 * (1 - 0.8) / (1 + 0.8)
    assert ((effective_size(chains) / expected - 1).abs() < 0.15).all()


def test_a_chain_that_stays_in_a_narrow_neck_does_not_hide_it() -> None:
    """A tenth of the draws are one, the farthest: a mean excess of them alone would be 0."""
    log_ratio = torch.distributions.Exponential(0.25).sample((500, 1))
    stuck = torch.cat([log_ratio, log_ratio.max().expand(60, 1)])
    assert tail_index(stuck) == 0
    assert tail_index(first_of_each(stuck)) > 0.7
    few = log_ratio[:40].repeat(14, 1)  # too few places for a tail
    assert tail_index(first_of_each(few)) > 0.9


def test_positive_latents_and_plates_in_their_own_coordinates() -> None:
    """A Gamma rate of each of three groups, given Poisson counts."""
    counts = torch.tensor([[3.0, 4.0, 0.0], [5.0, 2.0, 1.0]])

    def model(counts: Tensor) -> None:
        with pyro.plate("groups", 3):
            rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
        with pyro.plate("rows", 2, dim=-2), pyro.plate("columns", 3, dim=-1):
            pyro.sample("counts", dist.Poisson(rate), obs=counts)

    total = counts.sum(0).double()
    exact = (
        torch.lgamma(2 + total)
        - (2 + total) * math.log(3)
        - torch.lgamma(counts.double() + 1).sum(0)
    ).sum()
    draws = {"rate": dist.Gamma((2 + total).float(), 3.0).sample((2000,))}
    evidence = log_evidence(model, args=(counts,), method=Bridge(draws), seed=0)
    assert (evidence.log_evidence - exact).abs() < 4 * evidence.standard_error
    assert float(evidence.standard_error) < 0.03


def test_of_a_posterior() -> None:
    program = Regression(2)
    method = NUTS(num_chains=2, num_warmup=40)
    drawn = posterior(
        program.model, args=(program.x, program.y), method=method, num_draws=200, seed=0
    )
    evidence = drawn.log_evidence(seed=0)
    assert (evidence.log_evidence - program.exact).abs() < 4 * evidence.standard_error
    assert float(evidence.standard_error) < 0.1


def test_of_independent_units_in_one_tile() -> None:
    model, x = FactorAnalysis((3,), 1), torch.randn(4, 3)
    drawn = posterior(model, x, method=NUTS(num_chains=1, num_warmup=50), num_draws=300, seed=0)
    evidence = drawn.log_evidence(seed=0)
    off = (evidence.log_evidence - model.log_evidence(x).detach()).abs()
    assert (off < 4 * evidence.standard_error).all()


def test_draws_that_are_not_enough_are_said_to_be() -> None:
    """Two halves in two places have no bridge between them."""
    program = Regression(3)
    draws = program.draws(400)
    draws["slope"][200:] += 1.5
    evidence = program.bridged(draws, seed=0)
    assert any("the draws were not enough" in note for note in evidence.notes)
    off = (evidence.log_evidence - program.exact).abs()
    assert evidence.standard_error.isnan() or off < 1.96 * evidence.standard_error
    assert not any(
        "not enough" in note for note in program.bridged(program.draws(400), seed=0).notes
    )


def test_draws_of_another_model_are_refused() -> None:
    program = Regression(3)
    good = program.draws(100)["slope"]
    for draws, subject in (
        ({}, "draws"),
        ({"other": good}, "slope"),
        ({"slope": good[:, :2]}, "slope"),
        ({"slope": good[:50]}, "draws"),
        ({"slope": good * math.nan}, "draws"),
        ({"slope": good[:1].expand_as(good)}, "slope"),
        ({"slope": 1.0}, "slope"),
        (3, "draws"),
    ):
        with refused(subject):
            program.bridged(draws, 2)
    with refused("method", remedy="Bridge(draws)"):
        log_evidence(program.model, args=(program.x, program.y), method="bridge")


def test_weighted_draws_of_a_posterior_are_refused() -> None:
    model = FactorAnalysis((3,), 1)
    drawn = posterior(model, torch.randn(2, 3), method=Importance(), num_draws=100, seed=0)
    with refused("method", expected="NUTS"):
        drawn.log_evidence()
