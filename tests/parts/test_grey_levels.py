"""Distributions over grey levels: masses that sum to 1, in closed form where there is one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pyro
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import refused

from pyro_vae import likelihoods
from pyro_vae.distributions import DiscretizedLogistic, GreyLevelCategorical, GreyLevels, Quantized


@settings(deadline=None, max_examples=50)
@given(st.floats(-0.5, 1.5), st.floats(1e-3, 3.0), st.sampled_from([2, 17, 256]))
def test_masses_sum_to_one(loc: float, scale: float, levels: int) -> None:
    grid = torch.linspace(0, 1, levels, dtype=torch.float64)
    logistic = DiscretizedLogistic(torch.tensor(loc).double(), torch.tensor(scale).double(), levels)
    assert logistic.log_prob(grid).exp().sum().item() == pytest.approx(1, abs=1e-9)
    categorical = GreyLevelCategorical(torch.randn(levels).double())
    assert categorical.log_prob(grid).exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_discretized_logistic_is_the_difference_of_its_distribution_function() -> None:
    loc, scale, step = torch.tensor(0.4).double(), torch.tensor(0.1).double(), 1 / 16
    x = torch.arange(1, 16).double() / 16
    upper, lower = (
        ((x + step / 2 - loc) / scale).sigmoid(),
        ((x - step / 2 - loc) / scale).sigmoid(),
    )
    log_prob = DiscretizedLogistic(loc, scale, 17).log_prob(x)
    torch.testing.assert_close(log_prob, (upper - lower).log())


def test_far_tails_stay_finite_with_finite_gradients() -> None:
    loc = torch.tensor(0.0, requires_grad=True)
    log_prob = DiscretizedLogistic(loc, torch.tensor(1e-3), 256).log_prob(
        torch.tensor([230 / 255, 1.0])
    )
    (gradient,) = torch.autograd.grad(log_prob.sum(), loc)
    assert torch.isfinite(log_prob).all()
    assert torch.isfinite(gradient)


@pytest.mark.parametrize(
    "p",
    [
        DiscretizedLogistic(torch.tensor([0.2, 0.9]), torch.tensor([0.05, 0.4]), 17),
        GreyLevelCategorical(torch.randn(2, 17, generator=torch.Generator().manual_seed(0))),
    ],
)
def test_draws_follow_the_masses(p) -> None:
    draws = p.sample((20_000,))
    assert draws.shape == (20_000, 2)
    assert p.support.check(draws).all()
    grid = torch.linspace(0, 1, 17)
    masses = p.log_prob(grid[:, None]).exp()
    counts = (draws[..., None] == grid).float().mean(0).T
    error = (masses * (1 - masses) / 20_000).sqrt()
    assert ((counts - masses).abs() < 5 * error + 1e-4).all()
    torch.testing.assert_close(p.mean, (masses * grid[:, None]).sum(0))
    expanded = p.expand((3, 2))
    assert expanded.batch_shape == (3, 2)
    torch.testing.assert_close(expanded.log_prob(draws[0]), p.log_prob(draws[0]).expand(3, 2))


def test_values_off_the_levels_are_refused() -> None:
    assert not GreyLevels(17).check(torch.tensor([0.03, 1.1, -0.1])).any()
    with pyro.validation_enabled(True), pytest.raises(ValueError, match="support"):
        GreyLevelCategorical(torch.zeros(17)).log_prob(torch.tensor(0.03))


HALF = torch.tensor(0.5)


@pytest.mark.parametrize("levels", [1, 0, -3])
@pytest.mark.parametrize(
    "make",
    [
        *(
            partial(kind, 2, (4,))
            for kind in (
                likelihoods.Categorical,
                likelihoods.DiscretizedLogistic,
                likelihoods.DiscretizedLogisticMixture,
            )
        ),
        partial(DiscretizedLogistic, HALF, HALF),
        partial(Quantized, HALF),
        lambda levels: GreyLevelCategorical(torch.zeros(max(levels, 0))),
    ],
)
def test_fewer_than_two_levels_are_refused(make: Callable[..., Any], levels: int) -> None:
    with refused("levels", expected="at least 2"):
        make(levels=levels)
