"""Draws of SMC: islands of particles that depend on one another, and errors that know it."""

import math
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from posteriors import normal_normal
from torch import Tensor

from pyro_vae import posterior
from pyro_vae.inference import SMC, Guide
from pyro_vae.inference.evidence.smc import FEW
from pyro_vae.inference.posterior.moments import moments

FROM_PRIOR = SMC(start="prior")


def one_mean(x: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


def test_errors_are_those_over_repeats() -> None:
    """Each unit has particles of its own, so its mean is a repeat."""
    known = normal_normal()
    found = posterior(known.model, known.args, method=FROM_PRIOR, num_draws=200, seed=0)
    mcse = torch.tensor(found.summary().columns["mcse"]).reshape(known.moments["z"][0].shape)
    off = (found.means["z"] - known.moments["z"][0]) / mcse
    assert 0.6 < off.square().mean().sqrt() < 1.2
    assert (off.abs() < 1.96).double().mean() > 0.9


def test_particles_that_are_copies_have_the_error_of_one_each() -> None:
    """Ten islands of copies: the error is that of ten draws, whatever the number of copies."""
    z = torch.randn(10, dtype=torch.float64).repeat_interleave(50).reshape(500, 1, 1)
    equal = torch.full((500, 1), 1 / 500, dtype=torch.float64).log()
    apart, together = moments(z, equal, 0.9), moments(z, equal, 0.9, num_islands=10)
    exact = z[::50].std(0) / math.sqrt(10)
    torch.testing.assert_close(together.mcse, exact)
    assert together.ess < 11 < 400 < apart.ess


def test_copies_of_draws_predict_no_better() -> None:
    """Thirty islands of a hundred copies know as much as thirty draws."""
    x, new = torch.tensor([0.5, 1.5, 1.0]), (torch.tensor([1.0, 1.5]),)
    exact = lambda x: pyro.sample("mean", dist.Normal(0.75, 0.5))  # noqa: E731
    few = posterior((one_mean, exact), args=(x,), method=Guide(), num_draws=30, seed=0)
    many = replace(
        few,
        particles={"mean": few.particles["mean"].repeat_interleave(100, 0)},
        log_weights=torch.full((3000, 1), -math.log(3000)),
        index=torch.arange(3000)[:, None],
        num_islands=30,
    )
    few, many = (found.log_predictive(new, seed=0) for found in (few, many))
    torch.testing.assert_close(many.log_density, few.log_density)
    torch.testing.assert_close(many.standard_error, few.standard_error, rtol=0.1, atol=0.0)


def test_islands_that_do_not_agree_are_named() -> None:
    """Two particles each, most of which have one ancestor: their means lie far apart."""
    x = torch.full((200,), 30.0)
    found = posterior(one_mean, args=(x,), method=FROM_PRIOR, num_draws=20, seed=0)
    table = found.summary()
    assert table.doubtful == (True,)
    assert table.columns["ess"][0] < 50
    assert "the islands of particles do not agree on 1 number" in table.warnings[0]
    assert "k" not in table.columns  # particles of an island have one weight


def test_islands_of_few_particles_have_no_error_and_are_named() -> None:
    found = posterior(one_mean, args=(torch.ones(3),), method=FROM_PRIOR, num_draws=500, seed=0)
    assert not found.summary().warnings
    assert 200 < found.ess < 500  # of the evidence
    few = replace(
        found, without_error=torch.tensor([True])
    )  # as where few survive at a temperature
    table = few.summary()
    assert math.isnan(table.columns["mcse"][0])
    assert FEW in table.warnings[0]
    assert few.log_predictive((torch.ones(1),), seed=0).standard_error.isnan().all()


def test_what_arviz_gets() -> None:
    x = torch.tensor([0.5, 1.5, 1.0])
    found = posterior(one_mean, args=(x,), method=FROM_PRIOR, num_draws=500, seed=0)
    exported = found.to_arviz()
    assert list(exported.sample_stats.data_vars) == ["log_weight"]
    exact = dist.Normal(x.sum() / 4, 0.5)
    assert abs(found.means["mean"] - exact.mean) < 4 * found.summary().columns["mcse"][0]


def test_a_density_of_new_rows_has_the_error_of_islands() -> None:
    x, new = torch.tensor([0.5, 1.5, 1.0]), torch.tensor([1.0, -2.0, 3.0])
    exact = dist.Normal(x.sum() / 4, math.sqrt(0.25 + 1.0)).log_prob(new)
    off = []
    for seed in range(15):
        found = posterior(one_mean, args=(x,), method=FROM_PRIOR, num_draws=500, seed=seed)
        predicted = found.log_predictive((new,), seed=seed)
        off.append((predicted.log_density - exact) / predicted.standard_error)
    assert 0.4 < torch.stack(off).square().mean().sqrt() < 1.5


@pytest.mark.slow
def test_a_local_level_with_unknown_variances_is_that_of_quadrature() -> None:
    """Sixty states and two scales: weights from any guide are bad here."""
    steps = torch.arange(60)
    y = torch.randn(60).mul(0.3).cumsum(0) + 0.5 * torch.randn(60)

    def model(y: Tensor) -> None:
        q = pyro.sample("q", dist.HalfNormal(1.0))
        r = pyro.sample("r", dist.HalfNormal(1.0))
        x = pyro.sample("x_0", dist.Normal(0.0, 2.0))
        for t in pyro.markov(range(len(y))):
            x = pyro.sample(f"x_{t}", dist.Normal(x, q)) if t else x
            pyro.sample(f"y_{t}", dist.Normal(x, r), obs=y[t])

    grid = torch.linspace(0.005, 1.8, 160, dtype=torch.float64)
    q, r = (scale.reshape(-1) for scale in torch.meshgrid(grid, grid, indexing="ij"))
    prior = 4.0 + q[:, None, None] ** 2 * torch.minimum(steps[:, None], steps)
    of_y = dist.MultivariateNormal(
        torch.zeros(60).double(), prior + r[:, None, None] ** 2 * torch.eye(60).double()
    )
    weights = (of_y.log_prob(y.double()) - (q**2 + r**2) / 2).softmax(0)
    root = of_y.scale_tril
    gain = torch.cholesky_solve(prior, root)  # (prior + noise)^-1 prior
    mean_given = (gain * y.double()[:, None]).sum(-2)
    variance_given = prior.diagonal(dim1=-2, dim2=-1) - (prior * gain).sum(-2)
    values = torch.cat([torch.stack([q, r], -1), mean_given], -1)
    within = torch.cat([torch.zeros(len(q), 2), variance_given], -1)
    mean = weights @ values
    sd = (weights @ (within + (values - mean) ** 2)).sqrt()

    found = posterior(model, args=(y,), method=FROM_PRIOR, num_draws=4000, seed=0)
    table = found.summary(["q", "r", *(f"x_{t}" for t in range(60))])
    assert not table.warnings
    own = torch.tensor([table.columns["mean"], table.columns["sd"], table.columns["mcse"]]).double()
    assert ((own[0] - mean).abs() < 4 * own[2]).all()
    assert ((own[0] - mean).abs() < 0.1 * sd).all()
    assert (own[1] / sd - 1).abs().max() < 0.1
