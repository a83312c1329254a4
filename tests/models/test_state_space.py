"""The state space model: its exact evidence by another route, and its guide's family."""

from functools import partial

import pyro
import pytest
import torch
from refused import refused
from torch import Tensor
from torch.distributions import MultivariateNormal

from pyro_vae import fit
from pyro_vae.models import StateSpace

LENGTHS = torch.tensor([5, 1, 3, 4])


def random_model(data_shape: tuple[int, ...] = (5, 3)) -> StateSpace:
    torch.manual_seed(1)
    model = StateSpace(data_shape, 2).double()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.6)
    return model.requires_grad_(False)


def with_exact_guide(model: StateSpace) -> StateSpace:
    """Set the guide to the potentials of the model's own observations."""
    weighted = model.loadings * (-2 * model.log_scale).exp().unsqueeze(-1)  # diag(r^-2) C
    tiny = 1e-12 * torch.eye(2).double()  # one value leaves a direction undetermined
    tril = torch.linalg.cholesky(model.loadings.T @ weighted + tiny)
    model.raw_tril.copy_(tril.tril(-1) + tril.diagonal().log().diag())
    model.regression.weight.copy_(weighted.T)
    model.regression.bias.copy_(-model.bias @ weighted)
    return model


def joint_normal(model: StateSpace, steps: int) -> MultivariateNormal:
    """Return the distribution of flat x, from the covariance of every pair of steps."""
    transition, loadings = model.transition, model.loadings
    loc, covariance = model.initial_loc, (2 * model.initial_log_scale).exp().diag()
    locs, rows = [], []
    for _ in range(steps):
        lagged = [covariance]
        for _ in range(steps):
            lagged.append(transition @ lagged[-1])  # Cov(z_(t + lag), z_t)
        locs.append(loadings @ loc + model.bias)
        rows.append([loadings @ c @ loadings.T for c in lagged])
        loc = transition @ loc
        covariance = transition @ covariance @ transition.T + torch.eye(2).double()
    noise = (2 * model.log_scale).exp().diag()
    blocks = [
        [
            rows[min(s, t)][abs(s - t)].T if s < t else rows[t][s - t] + (s == t) * noise
            for t in range(steps)
        ]
        for s in range(steps)
    ]
    return MultivariateNormal(torch.cat(locs), torch.cat([torch.cat(r, 1) for r in blocks]))


def log_weight(model: StateSpace, *batch: Tensor) -> Tensor:
    """Return log p(x, z) - log q(z | x) of one draw for each sequence."""
    guide = pyro.poutine.trace(model.guide).get_trace(*batch)
    trace = pyro.poutine.trace(pyro.poutine.replay(model.model, guide)).get_trace(*batch)
    total = torch.zeros(len(batch[0]))
    for sign, part in ((1, trace), (-1, guide)):
        part.compute_log_prob()
        total = total + sign * sum(
            s["log_prob"] for s in part.nodes.values() if "log_prob" in s and s["type"] == "sample"
        )
    return total


def test_evidence_is_that_of_the_joint_normal() -> None:
    model, x = random_model(), torch.randn(4, 5, 3).double()
    expected = joint_normal(model, 5).log_prob(x.flatten(1))
    torch.testing.assert_close(model.log_evidence(x), expected)
    each = [
        joint_normal(model, n).log_prob(row[:n].flatten())
        for row, n in zip(x, LENGTHS, strict=True)
    ]
    torch.testing.assert_close(model.log_evidence(x, LENGTHS), torch.stack(each))


@pytest.mark.parametrize("data_shape", [(5, 3), (2, 5, 2), (5,)])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_the_guides_family_holds_the_posterior(data_shape, lengths) -> None:
    """The log-weight of every draw is then the evidence: model, guide and filter agree."""
    model, x = with_exact_guide(random_model(data_shape)), torch.randn(4, *data_shape).double()
    batch = (x,) if lengths is None else (x, lengths)
    torch.testing.assert_close(log_weight(model, *batch), model.log_evidence(*batch))


def test_what_lies_beyond_a_length_does_not_count() -> None:
    model, x = random_model(), torch.randn(4, 5, 3).double()
    beyond = torch.arange(5).unsqueeze(-1) >= LENGTHS[:, None, None]
    other = torch.where(beyond, 1e6, x)
    torch.testing.assert_close(model.log_evidence(x, LENGTHS), model.log_evidence(other, LENGTHS))
    weights = []
    for data in (x, other):
        pyro.set_rng_seed(0)
        weights.append(log_weight(model, data, LENGTHS))
    torch.testing.assert_close(*weights)


@pytest.mark.slow
def test_a_fit_reaches_the_evidence() -> None:
    truth = random_model((8, 3))
    truth.transition.copy_(torch.tensor([[0.8, -0.5], [0.5, 0.8]]))
    torch.nn.init.eye_(truth.loadings)  # so that Adam converges soon
    truth.log_scale.fill_(-0.5)
    x = joint_normal(truth, 8).sample((256,)).unflatten(-1, (8, 3)).float()
    model, best = StateSpace((8, 3), 2), truth.float().log_evidence(x).mean().item()
    assert model.log_evidence(x).mean() < best - 5
    adam = partial(torch.optim.Adam, lr=0.05)
    result = fit(model, x, epochs=150, batch_size=64, optimizer=adam, progress=False, device="cpu")
    evidence = model.log_evidence(x).mean().item()
    assert evidence > best - 0.5
    # no approximation gap is left; the rest is the noise of one draw a step and the change in an epoch
    assert result.metrics[-1]["train_elbo"] == pytest.approx(evidence, abs=0.4)


@pytest.mark.parametrize(
    ("batch", "subject", "expected", "found"),
    [
        ((torch.zeros(2, 4, 3),), "x", "(5, 3)", "(4, 3)"),
        ((torch.zeros(2, 5, 3), torch.ones(2)), "lengths", "each of 2", "float32"),
        ((torch.zeros(2, 5, 3), torch.ones(3).long()), "lengths", "each of 2", "(3,)"),
    ],
)
def test_wrong_data(batch, subject: str, expected: str, found: str) -> None:
    model = StateSpace((5, 3))
    for part in (model.model, model.guide, model.log_evidence):
        with refused(subject, expected=expected) as caught:
            part(*batch)
        assert found in caught.value.problem
    with refused("latent_dim", expected="at least 1"):
        StateSpace((5, 3), 0)
