"""Views of a posterior: means, reconstructions; and the errors of correlated and of weighted draws."""

import math
from dataclasses import replace

import arviz
import pyro
import pyro.distributions as dist
import pytest
import torch
from posteriors import KNOWN, beta_bernoulli, normal_normal
from torch import Tensor

from pyro_vae import posterior, prior_samples
from pyro_vae.inference import NUTS, Annealed, Guide, Importance
from pyro_vae.models import SemiSupervisedVAE

REGRESSION = KNOWN[3]


def test_means_are_weighted_and_classes_have_none() -> None:
    known = normal_normal()
    found = posterior((known.model, known.wide), known.args, num_draws=2000, seed=0)
    loc, variance = known.moments["z"]
    assert ((found.means["z"] - loc) / (variance / found.ess).sqrt()).abs().max() < 4.5
    assert found.means["z"].dtype == torch.float32

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            infer = {"enumerate": "parallel"}
            which = pyro.sample("which", dist.Categorical(torch.ones(2)), infer=infer)
            pyro.sample("x", dist.Normal(3.0 * which, 1.0), obs=x)

    assert posterior((model, lambda x: None), torch.zeros(4), seed=0).means == {}
    vae, x = SemiSupervisedVAE((4,), 2, num_classes=3), torch.zeros(6, 4)
    one_hot = posterior(vae, (x, torch.full((6,), -1)), num_draws=50, seed=0)
    torch.testing.assert_close(one_hot.means["y"].sum(-1), torch.ones(6))


def test_reconstructions_are_the_fitted_values() -> None:
    """E[y' | y] = x E[w | y]: the noise of y' is not in it."""
    found = posterior((REGRESSION.model, REGRESSION.exact), REGRESSION.args, method=Guide(), seed=0)
    x = REGRESSION.args[0]
    fitted = found.reconstructions(seed=0)["y"]
    torch.testing.assert_close(fitted, x @ found.draws["w"].mean(0), atol=1e-5, rtol=1e-5)


def test_reconstructions_of_units_past_the_first_tile(small_blocks) -> None:
    known = normal_normal()
    found = posterior((known.model, known.exact), known.args, num_draws=60, seed=0)
    mean = found.draws["z"].mean(0)
    expected = mean.unsqueeze(-1).expand(70, 3)
    torch.testing.assert_close(found.reconstructions()["x"], expected)


# --- errors ---------------------------------------------------------------------------------------


def test_a_single_chain_has_the_errors_of_a_chain() -> None:
    method = NUTS(num_chains=1, num_warmup=100, max_tree_depth=1)  # its draws are correlated
    found = posterior(REGRESSION.model, REGRESSION.args, method=method, num_draws=400, seed=0)
    table = found.summary().columns
    assert list(table) == ["mean", "sd", "hdi_3%", "hdi_97%", "mcse", "ess"]
    own = [float(arviz.mcse(w.double().numpy()[None], method="mean")) for w in found.draws["w"].T]
    assert table["mcse"] == pytest.approx(own)
    assert own[0] > 1.2 * float(found.draws["w"][:, 0].std()) / 20


def test_repeated_draws_make_no_prediction_more_certain() -> None:
    """A chain that stays ten steps at each of 300 places knows as much as 300 draws."""
    program, new = (REGRESSION.model, REGRESSION.exact), (torch.randn(5, 3), torch.randn(5))
    drawn = posterior(program, REGRESSION.args, method=Guide(), num_draws=300, seed=0)
    slow = replace(
        drawn,
        particles={"w": drawn.particles["w"].repeat_interleave(10, 0)},
        log_weights=torch.full((3000, 1), -math.log(3000)),
        index=torch.arange(3000)[:, None],
        is_independent=False,
    )
    few, many = (found.log_predictive(new, seed=0) for found in (drawn, slow))
    torch.testing.assert_close(many.log_density, few.log_density)
    ratio = many.standard_error / few.standard_error
    assert ((ratio > 0.6) & (ratio < 1.5)).all()


@pytest.mark.slow
def test_errors_of_predictions_hold_for_weighted_draws() -> None:
    """With few weighted draws: as often as their own error says.

    Of the default, four particles for each draw, the draws are spread more evenly than the error assumes.
    """
    x, y = REGRESSION.args
    covariance = torch.linalg.inv(torch.eye(3) + x.T @ x / 0.25)
    new = torch.tensor([[1.0, 0.0, 0.0], [0.5, -0.5, 1.0]])
    scale = ((new @ covariance * new).sum(-1) + 0.25).sqrt()
    exact = dist.Normal(new @ REGRESSION.moments["w"][0], scale).log_prob(torch.zeros(2))
    off = []
    for seed in range(60):
        found = posterior(
            (REGRESSION.model, REGRESSION.wide), (x, y), num_draws=150, num_particles=150, seed=seed
        )
        density = found.log_predictive((new, torch.zeros(2)), seed=seed)
        off.append((density.log_density - exact) / density.standard_error)
    squares = torch.stack(off).square()
    assert 0.3 < float(squares.nanmedian() / 0.4549) < 1.8  # the median of chi-squared is 0.4549


# --- coverage ----------------------------------------------------------------------------------------

METHODS = [
    pytest.param(Importance(), 1000, id="importance"),
    pytest.param(Annealed(num_temperatures=8, num_leapfrog=4), 200, id="annealed"),
    pytest.param(NUTS(num_chains=2, num_warmup=150), 400, id="nuts", marks=pytest.mark.slow),
    pytest.param(Guide(), 1000, id="guide"),
]


@pytest.mark.parametrize("known", [normal_normal(), beta_bernoulli()], ids=str)
@pytest.mark.parametrize(("method", "num"), METHODS)
def test_intervals_hold_the_truth_as_often_as_they_say(known, method, num) -> None:
    """Over 200 repeats: each unit's latents and data are drawn from the model."""
    rows = tuple(torch.zeros(200, *x.shape[1:]) for x in known.args)
    drawn = prior_samples(known.model, rows, num_draws=1, seed=1)
    (name,), (x,) = known.moments, drawn.predictive.values()
    data = x[0].reshape(-1, 200).T if known.name == "beta_bernoulli" else x[0]
    program = known.model, known.exact if isinstance(method, Guide) else known.wide
    found = posterior(program, data, method=method, num_draws=num, seed=0)
    table = found.summary(probability=0.9).columns
    low, high = (torch.tensor(table[f"hdi_{end}%"]) for end in (5, 95))
    truth = drawn.draws[name][0]
    share = float(((low <= truth) & (truth <= high)).double().mean())
    assert abs(share - 0.9) < 4 * math.sqrt(0.09 / 200)
    assert share < 0.995
