"""Made guides of series: one network for all steps."""

from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.optim import Adam

from pyro_vae import fit, log_evidence
from pyro_vae.guides import AutoAmortized
from pyro_vae.networks import MLP
from pyro_vae.testing import CHECKS, check_program, training

SMALL = partial(MLP, hidden_dims=(32, 32))


def local_level(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        z: Any = 0.0
        for t in range(x.shape[1]):
            z = pyro.sample(f"z_{t}", dist.Normal(z, 0.5))
            pyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=x[:, t])


def of_length(steps: int) -> dist.MultivariateNormal:
    times = torch.arange(1.0, steps + 1)
    covariance = 0.25 * torch.minimum(times, times[:, None]) + torch.eye(steps)
    return dist.MultivariateNormal(torch.zeros(steps), covariance)


def with_a_start(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        z = pyro.sample("state0", dist.Normal(0.0, 1.0))
        for t in range(x.shape[1]):
            z = pyro.sample(f"state{t + 1}", dist.Normal(z, 0.5))
            pyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=x[:, t])


def two_chains(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        level, drift = torch.zeros(()), torch.zeros(())
        for t in range(x.shape[1]):
            drift = pyro.sample(f"drift_{t}", dist.Normal(drift, 0.1))
            level = pyro.sample(f"level_{t}", dist.Normal(level + drift, 0.5))
            pyro.sample(f"x_{t}", dist.Normal(level, 1.0), obs=x[:, t])


def observed_together(x: Tensor) -> None:
    """One site observes all steps, so the graph joins all states."""
    with pyro.plate("units", len(x)):
        z, states = torch.zeros(()), []
        for t in range(x.shape[1]):
            z = pyro.sample(f"z_{t}", dist.Normal(z, 0.5))
            states.append(z.expand(*z.shape[:-1], len(x)))
        pyro.sample("x", dist.Normal(torch.stack(states, -1), 1.0).to_event(1), obs=x)


def of_its_scale(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        scale = pyro.sample("scale", dist.LogNormal(0.0, 0.5))
        z: Any = 0.0
        for t in range(x.shape[1]):
            z = pyro.sample(f"z_{t}", dist.Normal(z, scale))
            pyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=x[:, t])


@pytest.mark.parametrize(
    ("model", "factors"),
    [
        (local_level, "prod_units q(z_1 | rows, z_0) ..."),
        (with_a_start, "prod_units q(state1 | rows, state0) ..."),
        (
            two_chains,
            "prod_units q(drift_1 | rows, drift_0, level_0) ... "
            "q(level_1 | rows, drift_1, level_0) ...",
        ),
        (observed_together, "prod_units q(z_1 | rows, z_0) ..."),
        pytest.param(
            of_its_scale,
            "prod_units q(scale | rows) q(z_1 | rows, scale, z_0) ...",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_steps_share_a_network(model, factors) -> None:
    x = torch.randn(12, 5)
    guide = AutoAmortized(model, x, network=SMALL)
    assert str(guide).splitlines()[0] == factors
    sites = poutine.trace(guide).get_trace(torch.randn(3, 5)).nodes
    assert all(site["value"].shape == (3,) for n, site in sites.items() if n.startswith("z_"))
    # a captured step is a long graph: of the others it is made of the same parts
    left_out = set() if model in (local_level, of_its_scale) else {training.captured_step}
    checks = [check for check in CHECKS if check not in left_out]
    report = check_program((model, guide), x, checks=checks)
    assert not report.failed, str(report)


def test_a_step_reads_the_rows_from_itself_on() -> None:
    guide = AutoAmortized(local_level, torch.randn(12, 5), network=SMALL)
    x = torch.randn(1, 5, requires_grad=True)
    trace = poutine.trace(guide).get_trace(x)
    # given the step before, nothing of the past counts
    seen = guide.local.readers["z_0"]([x])[2].sum()
    (gradient,) = torch.autograd.grad(seen, x)
    assert (gradient[0] != 0).tolist() == [False, False, True, True, True]
    assert trace.nodes["z_4"]["value"].shape == (1,)


@pytest.mark.parametrize(
    ("steps", "count", "most"),
    [(6, 500, 0.02), (50, 2000, 0.05)],
)
@pytest.mark.slow
def test_the_elbo_of_new_series_is_nearly_their_evidence(steps, count, most) -> None:
    torch.manual_seed(0)
    prior = of_length(steps)
    x, new = prior.sample((count * 5,)), prior.sample((200,))
    guide = AutoAmortized(local_level, x[:1000], network=SMALL)
    options: dict[str, Any] = {"batch_size": 250, "progress": False, "device": "cpu"}
    epochs = 1500 * 250 // len(x)
    fit((local_level, guide), x, epochs=epochs, optimizer=partial(Adam, lr=5e-3), **options)
    evidence = log_evidence((local_level, guide), new, num_particles=500, seed=0)
    exact = prior.log_prob(new).double()
    error = evidence.standard_error.square().sum().sqrt() / len(new)
    assert abs((evidence.log_evidence - exact).mean()) < 4 * error + 1e-3
    gap = exact - evidence.bounds[1]
    assert gap.median() < most
    assert (evidence.ess > 0.8 * 500).double().mean() > 0.9
