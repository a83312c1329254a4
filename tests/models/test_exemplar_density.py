"""Exemplars as a density: closed forms, gaps, parts by value, leave-one-out, and the fit of the width."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from pyro_vae import fit, log_evidence, score
from pyro_vae.distributions import ExemplarMixture
from pyro_vae.models import ExemplarDensity


def learnt(rows: Tensor, width: float = 0.5) -> ExemplarDensity:
    model = ExemplarDensity(rows.shape[1:], num_exemplars=len(rows) + 3)
    model.learn_scaling(rows)
    model.log_width.data.fill_(math.log(width))
    return model.eval()


def test_the_density_is_the_mean_of_t_densities_in_the_data_s_units() -> None:
    rows, x = torch.randn(7, 2) * torch.tensor([1.0, 30.0]) + 5, torch.randn(4, 2) * 10
    found = learnt(rows).log_evidence(x).double()
    location, scale = rows.double().mean(0), rows.double().std(0, correction=0)
    e, y = (rows - location) / scale, (x - location) / scale
    shape = (0.5 + 1e-3) ** 2 * torch.eye(2).numpy()
    densities = [stats.multivariate_t(each.numpy(), shape, df=5).pdf(y.numpy()) for each in e]
    expected = torch.tensor(sum(densities) / 7).log() - scale.log().sum()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_gap_is_integrated_out() -> None:
    rows, x = torch.randn(9, 3), torch.randn(5, 3)
    gappy = x.clone()
    gappy[:, 1] = math.nan
    model = learnt(rows)
    marginal = learnt(rows[:, [0, 2]])
    torch.testing.assert_close(model.log_evidence(gappy), marginal.log_evidence(x[:, [0, 2]]))
    nothing = torch.full((1, 3), math.nan)
    torch.testing.assert_close(model.log_evidence(nothing), torch.zeros(1), atol=1e-5, rtol=0)
    assert score(model, gappy).shares["x"][:, 1].tolist() == [0] * 5


def test_parts_by_value_sum_to_the_density_and_name_the_column() -> None:
    rows = torch.randn(20, 2, 2)
    p = learnt(rows).data_distribution()
    x = torch.randn(6, 2, 2)
    x[3, 1, 0] = 40.0
    parts = p.by_value(x)
    assert parts.shape == (6, 2, 2)
    torch.testing.assert_close(parts.sum((1, 2)), p.log_prob(x), rtol=1e-4, atol=1e-4)
    assert int(parts[3].argmin()) == 2


def test_rows_that_equal_x_are_left_out_in_a_fit_alone() -> None:
    rows = torch.randn(5, 2)
    rows[4] = rows[0]
    p = ExemplarMixture(rows, torch.tensor(0.7), 5.0, leave_out=True)
    others = ExemplarMixture(rows[1:4], torch.tensor(0.7), 5.0)
    torch.testing.assert_close(p.log_prob(rows[:1]), others.log_prob(rows[:1]) + math.log(3 / 5))
    alone = ExemplarMixture(rows[:1], torch.tensor(0.7), 5.0, leave_out=True)
    assert bool(alone.log_prob(rows[:1]).isfinite())


def test_draws_follow_the_density() -> None:
    rows = torch.tensor([[-3.0], [3.0]])
    p = ExemplarMixture(rows, torch.tensor(0.5), 4.0)
    x = p.sample((4000,)).flatten()
    side = torch.where(x < 0, x + 3, x - 3).numpy() / 0.5
    assert stats.kstest(side, stats.t(4).cdf).pvalue > 1e-3
    assert abs(float((x < 0).double().mean()) - 0.5) < 0.04


def test_the_fitted_width_is_that_of_the_largest_leave_one_out_likelihood() -> None:
    x = torch.randn(150, 2)
    model = ExemplarDensity((2,), num_exemplars=150)
    adam = {"optimizer": lambda p: torch.optim.Adam(p, lr=0.1)}
    fit(model, x, steps=80, batch_size=150, progress=False, **adam)
    model.train()
    figures = []
    with torch.no_grad():
        fitted = model.log_width.clone()
        for factor in (0.7, 1.0, 1.4):
            model.log_width.copy_(fitted + math.log(factor))
            figures.append(float(model.log_evidence(x).mean()))
        model.log_width.copy_(fitted)
    assert figures[1] == max(figures)
    held_out = log_evidence(model, torch.randn(200, 2), method="exact")
    exact = -math.log(2 * math.pi) - 1  # of the Normal that the rows are from
    assert exact - 0.25 < held_out.mean < exact + 0.35


@pytest.mark.parametrize("count", [0, -1])
def test_there_is_at_least_one_exemplar(count) -> None:
    with pytest.raises(ValueError, match="num_exemplars"):
        ExemplarDensity((2,), num_exemplars=count)
