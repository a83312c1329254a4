"""Table: exact probabilities, missing cells, and draws given some cells."""

import itertools
import time
from functools import partial

import pytest
import torch
from refused import refused

from pyro_vae import fit, log_evidence, score
from pyro_vae.likelihoods import Normal, Quantiles, Tokens
from pyro_vae.models import Table


def rows(*values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float)


EVERY = rows(*itertools.product(range(3), range(2), range(4)))


@pytest.fixture
def table() -> Table:
    made = Table((3,), [3, 2, 4], width=8)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += torch.randn_like(parameter)
    return made


def test_probabilities_sum_to_one(table):
    assert table.log_evidence(EVERY).logsumexp(0).item() == pytest.approx(0, abs=1e-5)


def test_missing_last_cells_are_summed_out(table):
    x = EVERY.reshape(3, 2, 4, 3)
    missing = x[:, :, 0].clone()
    missing[..., 2] = torch.nan
    summed = table.log_evidence(x.reshape(-1, 3)).reshape(3, 2, 4).logsumexp(-1)
    torch.testing.assert_close(table.log_evidence(missing.reshape(-1, 3)).reshape(3, 2), summed)


def test_the_evidence_is_exact(table):
    found = log_evidence(table, EVERY, num_particles=2, seed=0)
    exact = table.log_evidence(EVERY).mean().item()
    assert found.mean == pytest.approx(exact, abs=1e-5)


def test_draws_follow_the_probabilities(table):
    count = 20_000
    with torch.no_grad():
        drawn = table.data_distribution(count).sample()
        p = table.log_evidence(EVERY).exp()
    frequency = torch.stack([(drawn == x).all(1).double().mean() for x in EVERY])
    error = (p * (1 - p) / count).sqrt()
    assert bool(((frequency - p).abs() < 4.5 * error + 1e-6).all())


@pytest.mark.parametrize("place", [0, 2])
def test_weights_of_draws_given_a_cell_average_to_its_probability(table, place):
    known = torch.full((20_000, 3), torch.nan)
    known[:, place] = 1.0
    with torch.no_grad():
        x, log_weight = table.data_distribution(len(known)).sample_given(known)
        p = table.log_evidence(EVERY[EVERY[:, place] == 1]).exp().sum()
    weights = log_weight.exp()
    error = weights.std() / len(weights) ** 0.5
    assert bool((x[:, place] == 1).all() and not x.isnan().any())
    assert abs(weights.mean() - p).item() < 4.5 * error.item() + 1e-6


def test_a_cell_is_not_read_by_those_before_it(table):
    p = table.columns.given(torch.zeros(24, 0), EVERY)
    first = p.log_prob(torch.zeros(24, 3))[:, 0]
    assert bool((first == first[0]).all())


def test_a_fit_learns_what_depends_on_what():
    a = torch.randint(3, (2000,)).float()
    x = torch.stack([a, a * 10 + torch.randn(2000), (a == 2).float()], 1)
    table = Table((3,), [3, 0, 2])
    fit(table, x, epochs=15, batch_size=100, progress=False)
    with torch.no_grad():
        drawn = table.data_distribution(2000).sample()
    assert ((drawn[:, 0] == 2).float() == drawn[:, 2]).float().mean() > 0.97
    assert (drawn[:, 1] / 10 - drawn[:, 0]).abs().mean() < 0.2


def test_numbers_are_the_default():
    assert Table((4,)).log_evidence(torch.randn(5, 4)).shape == (5,)


def test_other_shapes_are_refused():
    with refused("category_counts", expected="a number for each column"):
        Table((3,), [0, 2])
    with refused("category_counts", expected="(columns,)"):
        Table((1, 3, 3))


def test_score_says_which_column_is_strange():
    torch.manual_seed(0)
    x = torch.randn(400, 1) + 0.1 * torch.randn(400, 3)
    table = Table((3,))
    fit(table, x[:300], steps=300, progress=False)
    odd = x[300:].clone()
    odd[:, 2] += 3.0  # in the range of the column, but not beside the others
    found = score(table, odd, progress=False)
    parts = found.shares["x"]
    assert parts.shape == (100, 3)
    torch.testing.assert_close(parts.sum(1), found.scores, rtol=1e-4, atol=1e-3)
    usual = score(table, x[300:], progress=False).shares["x"]
    assert (parts - usual).median(0).values.argmax() == 2


@pytest.mark.parametrize("make", [Quantiles, partial(Tokens, num_tokens=3), Normal])
def test_a_column_alone_has_its_distribution_among_all(make):
    x = torch.randint(0, 3, (50, 4)).float() * torch.tensor([1.0, 10.0, 0.5, 1.0]) ** (
        make is Quantiles
    )
    kind = make(1, (4,))
    kind.learn_scaling(x) if make is Quantiles else None
    parameters = torch.randn(50, kind.parameters_per_value, 4)
    every = kind.from_parameters(parameters).log_prob(x)
    for j in range(4):
        p, place = kind.of_column(parameters[..., j], j, 4)
        own = x[:, j : j + 1].expand(-1, p.batch_shape[-1])
        torch.testing.assert_close(p.log_prob(own)[:, place], every[:, j])


def test_a_wide_table_is_drawn_a_column_at_a_time():
    """Not all columns for each of them: 300 columns took 9 s."""
    table = Table((300,))
    began = time.process_time()
    with torch.no_grad():
        table.data_distribution(100).sample()
    assert time.process_time() - began < 3
