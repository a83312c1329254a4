"""Made guides of latents outside the units' plate: what is drawn together, and what has its own factor."""

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from pyro_vae import fit, log_evidence
from pyro_vae.guides import AutoAmortized

GROUPS = 40
INDEX = torch.arange(3 * GROUPS) % GROUPS


def groups_by_index(x: Tensor) -> None:
    """Random effects, with the number of its group beside each row."""
    mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    with pyro.plate("groups", GROUPS):
        effect = pyro.sample("effect", dist.Normal(mean, 1.0))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Normal(effect[..., INDEX], 0.5), obs=x)


def with_slopes(x: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("groups", GROUPS):
        level = pyro.sample("level", dist.Normal(mean, 1.0))
        slope = pyro.sample("slope", dist.LogNormal(0.0, 1.0))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Normal(level[..., INDEX] + slope[..., INDEX] * x, 0.5), obs=x)


def persons_and_items(x: Tensor) -> None:
    with pyro.plate("persons", GROUPS):
        ability = pyro.sample("ability", dist.Normal(0.0, 1.0))
    with pyro.plate("items", 3):
        difficulty = pyro.sample("difficulty", dist.Normal(0.0, 1.0))
    items = torch.arange(len(x)) // GROUPS
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Normal(ability[..., INDEX] - difficulty[..., items], 1.0), obs=x)


def states_and_counties(x: Tensor) -> None:
    state_of = torch.arange(GROUPS) % 4
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("states", 4):
        state = pyro.sample("state", dist.Normal(mean, 1.0))
    with pyro.plate("counties", GROUPS):
        county = pyro.sample("county", dist.Normal(state[..., state_of], 1.0))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Normal(county[..., INDEX], 0.5), obs=x)


def topics(x: Tensor) -> None:
    """Words whose topics are summed out: either topic may explain a word, so they are coupled."""
    with pyro.plate("topics", 2):
        topic = pyro.sample("topic", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("rows", len(x)):
        share = pyro.sample("share", dist.Dirichlet(torch.ones(2)))
        which = pyro.sample("which", dist.Categorical(share), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Categorical(topic[which]), obs=(x > 0).long())


def with_outliers(x: Tensor) -> None:
    """Which rows are outliers is summed out, and each of them belongs to one group."""
    with pyro.plate("groups", GROUPS):
        effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(x)):
        out = pyro.sample("out", dist.Categorical(torch.ones(2)), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Normal(effect[..., INDEX], 0.5 + 3.0 * out), obs=x)


def regression(x: Tensor) -> None:
    with pyro.plate("features", 3):
        weights = pyro.sample("weights", dist.Normal(0.0, 1.0))
    noise = pyro.sample("noise", dist.LogNormal(0.0, 1.0)).unsqueeze(-1)
    features = torch.randn(len(x), 3, generator=torch.Generator().manual_seed(0))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Normal((features * weights.unsqueeze(-2)).sum(-1), noise), obs=x)


def long_series(x: Tensor) -> None:
    z: Any = 0.0
    for t in range(len(x)):
        z = pyro.sample(f"z_{t}", dist.Normal(z, 1.0))
        pyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=x[t])


@pytest.mark.parametrize(
    ("model", "factors"),
    [
        (groups_by_index, "q(mean) prod_groups q(effect | mean)"),
        (topics, "q(topic) prod_rows q(share | rows, topic)"),
        (with_outliers, "prod_groups q(effect)"),
        (with_slopes, "q(mean) prod_groups q(level | mean) prod_groups q(slope | level)"),
        (persons_and_items, "q(difficulty) prod_persons q(ability | difficulty)"),
        (
            states_and_counties,
            "q(mean) prod_states q(state | mean) prod_counties q(county | state)",
        ),
        (regression, "q(weights, noise)"),  # the weights are coupled by every row
    ],
)
def test_cells_that_data_do_not_couple_have_factors_of_their_own(model, factors) -> None:
    assert str(AutoAmortized(model, torch.randn(3 * GROUPS))).splitlines()[0] == factors


@pytest.mark.slow
def test_what_one_covariance_cannot_hold_is_a_chain() -> None:
    factors = str(AutoAmortized(long_series, torch.randn(250))).splitlines()[0]
    assert factors.startswith("q(z_0, z_1, z_2, ..., z_199) q(z_200 | z_199) q(z_201 | z_200)")


@pytest.mark.slow
def test_a_hierarchy_by_index_has_the_exact_posterior() -> None:
    torch.manual_seed(0)
    x = 2 + torch.randn(GROUPS)[INDEX] + 0.5 * torch.randn(len(INDEX))
    result = fit(groups_by_index, args=(x,), epochs=2500, progress=False, device="cpu")
    same = (INDEX[:, None] == INDEX).float()
    covariance = 9.0 + same + 0.25 * torch.eye(len(x))
    exact = dist.MultivariateNormal(torch.zeros(len(x)), covariance.double()).log_prob(x.double())
    evidence = log_evidence(result.program, args=(x,), num_particles=1000, seed=0)
    assert abs(evidence.log_evidence - exact) < 4 * evidence.standard_error + 1e-3
    assert exact - evidence.bounds[1] < 0.1 + 4 * evidence.bounds_error[1]
    precision = 1 / 9 + GROUPS / (1 + 0.25 / 3)  # of the mean, given the groups' averages
    draws = result.program[1].shared.joint.distribution().sample((100_000,))
    assert draws.std().item() == pytest.approx(precision**-0.5, rel=0.05)
    assert draws.mean().item() == pytest.approx(
        x.mean().item() * (1 - 1 / 9 / precision), abs=0.15 * precision**-0.5
    )


def test_a_wide_joint_distribution_knows_the_density_of_its_draws() -> None:
    """Sums over many covariances must not amplify rounding, which an optimizer would climb."""

    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(torch.zeros(150), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z[..., 0], 1.0), obs=x)

    torch.manual_seed(0)
    joint = AutoAmortized(model, torch.tensor(0.5)).shared.joint
    with torch.no_grad():
        for each in (joint.covariance, joint.skew, joint.log_tail):
            each.normal_(std=0.2)  # twenty steps of 0.01, at random
        q = joint.distribution()
        z = q.sample((100,))
        exact = joint.double().distribution()
    assert (q.log_prob(z) - exact.log_prob(z.double())).abs().max() < 0.05


def test_coupled_cells_stay_together_where_all_are_too_many() -> None:
    """150 and 60 weights, all coupled by the rows: a covariance of low rank, and no mean field."""

    def model(x: Tensor) -> None:
        with pyro.plate("many", 150):
            many = pyro.sample("many_weights", dist.Normal(0.0, 1.0)).sum(-1)
        with pyro.plate("few", 60):
            few = pyro.sample("few_weights", dist.Normal(0.0, 1.0)).sum(-1)
        with pyro.plate("rows", len(x)):
            pyro.sample("x", dist.Normal((many + few).unsqueeze(-1), 1.0), obs=x)

    factors = str(AutoAmortized(model, torch.randn(9))).splitlines()
    assert factors[0] == "q(many_weights, few_weights)"
    assert "low rank" in factors[1]
