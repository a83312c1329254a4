"""Table: exact probabilities, missing cells, and draws given some cells."""

import itertools

import pytest
import torch
from refused import refused

from pyro_vae import fit, log_evidence
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
