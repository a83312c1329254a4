"""Numbers on the scale of their ranks: the map, and the mixture of logistics on it."""

import numpy as np
import pytest
import torch
from scipy import stats
from stories import RNG

from pyro_vae.distributions import QuantileMixture
from pyro_vae.likelihoods import Quantiles
from pyro_vae.quantile_scores import QuantileScores

ROWS = 4000


def columns() -> torch.Tensor:
    """A spike at 0 with a tail of whole numbers, ages, a skewed real column, one with two decimals."""
    spiked = np.where(RNG.random(ROWS) < 0.9, 0, RNG.geometric(1e-3, ROWS))
    ages = RNG.integers(17, 90, ROWS)
    skewed, cents = RNG.lognormal(3, 1, ROWS), RNG.normal(5, 1, ROWS).round(2)
    return torch.tensor(np.stack([spiked, ages, skewed, cents], 1))


@pytest.fixture
def learnt() -> tuple[torch.Tensor, QuantileScores]:
    x, scores = columns(), QuantileScores((4,)).double()
    scores.learn(x)
    return x, scores


def mixture(scores: QuantileScores, *batch: int) -> QuantileMixture:
    shape = (*batch, 4, 3)
    return QuantileMixture(
        torch.randn(shape).double(), 2 * torch.randn(shape).double(),
        0.3 + torch.rand(shape).double(), scores,
    )  # fmt: skip


def test_the_files_steps_are_found(learnt):
    assert learnt[1].is_rounded.tolist() == [True, True, False, True]
    assert learnt[1].resolution[[0, 1, 3]].tolist() == pytest.approx([1.0, 1.0, 0.01])


def test_scores_rise_and_lead_back_to_the_values(learnt):
    x, scores = learnt
    assert bool((scores.scores.diff() > 0).all() and (scores.edges.diff() > 0).all())
    torch.testing.assert_close(scores.to_values(scores.to_scores(x)), x)


def test_a_standard_logistic_is_distributed_as_the_data_are(learnt):
    x, scores = learnt
    zero = torch.zeros(ROWS, 4, 1).double()
    drawn = QuantileMixture(zero, zero, zero + 1, scores).sample()
    noise = np.sqrt(2 / ROWS)  # of the largest distance; its 99.9 % quantile is 1.95 of that
    for column in range(4):
        distance = stats.ks_2samp(x[:, column], drawn[:, column]).statistic
        assert distance < 1.95 * noise + 1e-3, column
    spike = (drawn[:, 0] == 0).double().mean()
    assert abs(spike - (x[:, 0] == 0).double().mean()) < 4 * np.sqrt(0.09 * 2 / ROWS)


def test_densities_sum_to_one(learnt):
    p = mixture(learnt[1])
    for column, step, low, high in ((0, 1.0, -50, 60_000), (1, 1.0, -200, 400), (3, 0.01, -20, 40)):
        grid = torch.arange(round(low / step), round(high / step)).double() * step
        x = torch.zeros(len(grid), 4).double()
        x[:, column] = grid
        total = (p.log_prob(x)[:, column].exp() * step).sum()
        assert total.item() == pytest.approx(1, abs=1e-4), column
    grid = torch.linspace(-200, 4000, 400_001).double()
    x = torch.zeros(len(grid), 4).double()
    x[:, 2] = grid
    assert torch.trapezoid(p.log_prob(x)[:, 2].exp(), grid).item() == pytest.approx(1, abs=1e-3)


def test_draws_follow_the_density(learnt):
    p, count = mixture(learnt[1]), 20_000
    ages = p.sample((count,))[:, 1]
    values = torch.arange(0, 120).double()
    x = torch.zeros(len(values), 4).double()
    x[:, 1] = values
    expected = p.log_prob(x)[:, 1].exp() * count
    observed = torch.tensor([(ages == v).sum() for v in values])
    often = expected > 10
    chi = ((observed - expected) ** 2 / expected)[often].sum().item()
    assert stats.chi2.sf(chi, int(often.sum())) > 1e-4


def test_the_mean_is_that_of_the_draws(learnt):
    p = mixture(learnt[1])
    drawn = p.sample((40_000,))
    error = drawn.std(0) / np.sqrt(len(drawn))
    # the mean of a rounded value is that of the value up to half a step
    assert bool(((p.mean - drawn.mean(0)).abs() < 5 * error + 0.05).all())


def test_a_value_beyond_the_data_has_a_finite_density(learnt):
    far = torch.full((1, 4), 1e5).double()
    assert bool(mixture(learnt[1]).log_prob(far).isfinite().all())
    assert bool(mixture(learnt[1]).log_prob(-far).isfinite().all())


def test_few_rows_do_not_get_cells_of_their_own():
    """Otherwise a model would repeat its training rows, and give others no density."""
    x, scores = torch.randn(60, 1), QuantileScores((1,))
    scores.learn(x)
    other = torch.randn(500, 1)
    zero = torch.zeros(1, 1, 1)
    log_p = QuantileMixture(zero, zero, zero + 1, scores).log_prob(other)
    assert (
        log_p.mean().item() > torch.distributions.Normal(0, 1).log_prob(other).mean().item() - 0.5
    )


def test_gaps_and_constants_can_be_learnt():
    x = torch.tensor([[1.0, torch.nan, 7.0], [2.0, torch.nan, 7.0], [torch.nan, torch.nan, 7.0]])
    likelihood = Quantiles(2, (3,))
    likelihood.learn_scaling(x)
    p = likelihood(torch.zeros(5, 2))
    assert p.sample().shape == (5, 3)
    assert bool(p.log_prob(torch.full((5, 3), 7.0)).isfinite().all())
