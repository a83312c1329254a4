"""FactorVAE: each side's gradient by another route, TC in closed form, and what a fit keeps of it."""

import math
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI
from pyro.optim import Adam as PyroAdam
from refused import refused, refused_with
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from pyro_vae import checkpoint, fit, log_evidence
from pyro_vae.inference.objectives import DIPVAE1, FactorVAE
from pyro_vae.inference.objectives.factor_vae import permute_dims
from pyro_vae.models import VAE, FactorAnalysis
from pyro_vae.networks import MLP

small = partial(MLP, hidden_dims=(16,))
X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
A = torch.tensor([[1.0, 0.2, -0.5], [0.9, 0.3, -0.7]])  # the guide's slope
S = 0.5  # and its scale
AGGREGATE = A @ A.T + S**2 * torch.eye(2)  # of z, where x ~ Normal(0, I)
TC = -0.5 * float(torch.linalg.slogdet(AGGREGATE)[1] - AGGREGATE.diagonal().log().sum())


class Linear(nn.Module):
    """z ~ Normal(0, I), x ~ Normal(W z, 1); guide q(z | x) = Normal(A x, S)."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[0.5, 1.0], [-1.0, 0.2], [0.3, 0.7]]))
        self.a = nn.Parameter(A.clone())

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.w.T, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x @ self.a.T, S).to_event(1))


class LogRatio(nn.Module):
    """slope * log q(z) / prod_d q(z_d) + offset: the best discriminator at 1 and 0."""

    def __init__(self, *_: Any) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor) -> Tensor:
        vectorized = dist.MultivariateNormal(torch.zeros(2), AGGREGATE).log_prob(z)
        apart = dist.Normal(0.0, AGGREGATE.diagonal().sqrt()).log_prob(z).sum(-1)
        return (self.slope * (vectorized - apart) + self.offset).unsqueeze(-1)


def planned(elbo: FactorVAE, program: Any, x: Tensor = X) -> FactorVAE:
    torch.manual_seed(3)
    return elbo.planned(program, x)


def gradients(loss: Tensor, of: nn.Module) -> list[Tensor]:
    return [*torch.autograd.grad(loss, [*of.parameters()], retain_graph=True)]


# --- what is maximised, and the two gradients -------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 7.0])
def test_each_side_has_its_own_gradient(gamma: float) -> None:
    program = Linear()
    elbo = planned(FactorVAE(gamma, small), program)
    d = elbo.discriminator
    pyro.set_rng_seed(1)
    loss = elbo.differentiable_loss(program.model, program.guide, X)

    pyro.set_rng_seed(1)
    q = dist.Normal(X @ program.a.T, S).to_event(1)
    z = q.rsample()
    log_joint = dist.Normal(0.0, 1.0).log_prob(z).sum(-1)
    log_joint = log_joint + dist.Normal(z @ program.w.T, 1.0).log_prob(X).sum(-1)
    objective = (log_joint - q.log_prob(z) - gamma * d(z)[:, 0]).sum()
    apart = permute_dims(z.detach())
    cross_entropy = -(logsigmoid(d(z.detach())) + logsigmoid(-d(apart))).sum() / 2

    assert float(loss.detach()) == pytest.approx(-float(objective.detach()), rel=1e-5)
    for found, expected in (
        (gradients(loss, program), gradients(-objective, program)),
        (gradients(loss, d), gradients(cross_entropy, d)),
    ):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    pyro.set_rng_seed(1)
    assert elbo.loss(program.model, program.guide, X) == pytest.approx(float(loss.detach()))


def test_under_a_subsampled_plate_both_count_as_the_rest_does() -> None:
    """Twelve equal data, of which four are taken: both gradients are three times those of the four."""
    program, x = Linear(), X[:1].expand(12, 3)

    def model(x: Tensor) -> None:
        with pyro.plate("data", 12, subsample_size=4):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ program.w.T, 1.0).to_event(1), obs=x[:4])

    def guide(x: Tensor) -> None:
        with pyro.plate("data", 12, subsample_size=4):
            pyro.sample("z", dist.Normal(x[:4] @ program.a.T, S).to_event(1))

    elbo = planned(FactorVAE(2.0, small), (model, guide), x)
    draws = elbo.draw(model, guide, (x,), {})
    assert draws.scale == 3.0
    pyro.set_rng_seed(1)
    value, surrogate = elbo.value(draws), elbo.surrogate(draws)
    z = draws.guides[0].nodes["z"]["value"].detach()
    pyro.set_rng_seed(1)
    apart, d = permute_dims(z), elbo.discriminator
    cross_entropy = -(logsigmoid(d(z)) + logsigmoid(-d(apart))).sum() / 2
    torch.testing.assert_close(surrogate, value)
    for one, other in zip(gradients(-surrogate, d), gradients(3 * cross_entropy, d), strict=True):
        torch.testing.assert_close(one, other)


# --- total correlation in closed form ---------------------------------------------------------


def test_with_the_best_discriminator_the_penalty_is_the_total_correlation() -> None:
    program = Linear()
    without, once = (planned(FactorVAE(gamma, LogRatio), program) for gamma in (0.0, 1.0))
    torch.manual_seed(0)
    found = []
    for seed in range(300):
        x = torch.randn(64, 3)
        pair = []
        for elbo in (once, without):
            with torch.random.fork_rng():
                pyro.set_rng_seed(seed)
                pair.append(elbo.loss(program.model, program.guide, x) / 64)
        found.append(pair[0] - pair[1])
    penalties = torch.tensor(found)
    assert abs(penalties.mean() - TC) < 4 * penalties.std() / math.sqrt(len(found))
    assert TC > 0.5  # so that this says something


@pytest.mark.slow
def test_it_is_the_best_one_that_has_no_gradient() -> None:
    """On average, as z' is a draw of the product of the marginals: no datum is met twice in it."""
    program = Linear()
    elbo = planned(FactorVAE(1.0, LogRatio), program)
    torch.manual_seed(0)
    found = []
    for _ in range(1500):
        loss = elbo.differentiable_loss(program.model, program.guide, torch.randn(4, 3))
        found.append(torch.stack(gradients(loss, elbo.discriminator)))
    slopes = torch.stack(found)
    assert (slopes.mean(0).abs() < 4 * slopes.std(0) / math.sqrt(len(slopes))).all()
    elbo.discriminator.slope.data.fill_(0.5)  # type: ignore[union-attr, operator]
    loss = elbo.differentiable_loss(program.model, program.guide, torch.randn(4000, 3))
    assert gradients(loss, elbo.discriminator)[0] < 0  # back up to 1


def test_a_discriminator_learns_the_total_correlation() -> None:
    program = Linear().requires_grad_(False)
    elbo = planned(FactorVAE(1.0, partial(MLP, hidden_dims=(32, 32))), program)
    torch.manual_seed(0)
    adam = torch.optim.Adam(elbo.modules["discriminator"].parameters(), lr=5e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 800)
    for _ in range(800):
        adam.zero_grad()
        elbo.differentiable_loss(program.model, program.guide, torch.randn(256, 3)).backward()
        adam.step()
        decay.step()
    z = torch.distributions.MultivariateNormal(torch.zeros(2), AGGREGATE).sample((50_000,))
    with torch.no_grad():
        found, exact = elbo.discriminator(z)[:, 0], LogRatio()(z)[:, 0]
    assert float(found.mean()) == pytest.approx(TC, rel=0.1)
    assert float((found - exact).square().mean().sqrt()) < 0.3


@pytest.mark.parametrize("shape", [(6, 3), (3, 3), (2, 5), (1, 4)])
def test_numbers_of_several_data(shape: tuple[int, int]) -> None:
    """Each number of each vector once, in its own place; no two from the same vector, if that can be."""
    count, dim = shape
    vectors = torch.arange(count).unsqueeze(1) + 100 * torch.arange(dim)
    for _ in range(20):
        made = permute_dims(vectors)
        torch.testing.assert_close(made.sort(0).values, vectors)
        from_rows = made % 100
        if count >= dim:
            assert all(len(set(row)) == dim for row in from_rows.tolist())
    assert len({tuple(permute_dims(vectors)[0].tolist()) for _ in range(50)}) >= min(2, count)


# --- in a fit ---------------------------------------------------------------------------------

quick: Any = partial(
    fit, batch_size=20, progress=False, device="cpu", optimizer=partial(torch.optim.Adam, lr=0.01)
)


def saved(folder: Any) -> dict[str, Tensor]:
    tensors, _ = checkpoint.read(folder / "checkpoint.safetensors")
    return tensors


def test_the_discriminator_is_trained_and_kept_beside_the_model(tmp_path) -> None:
    pyro.clear_param_store()
    frozen, x = FactorAnalysis((3,), 2).requires_grad_(False), X
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    for epochs in (1, 2):
        quick(frozen, x, epochs=epochs, elbo=FactorVAE(3.0, small), out=tmp_path / str(epochs))
    one, two = (saved(tmp_path / str(epochs)) for epochs in (1, 2))
    names = [name for name in one if name.startswith("model/objective/discriminator.")]
    assert len(names) == 4
    assert all((one[name] != two[name]).any() for name in names)
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())
    assert not dict(pyro.get_param_store().named_parameters())  # a fit leaves nothing there
    torch.manual_seed(0)
    whole = FactorAnalysis((3,), 2)
    elbo = FactorVAE(3.0, small)
    result = quick(whole, x, epochs=2, elbo=elbo, validation=x)
    assert {"train_objective", "validation_elbo"} <= result.metrics[0].keys()
    assert elbo.plan is None  # it serves the next program
    assert not elbo.modules
    evidence = log_evidence(whole, x, num_particles=2000, seed=0, device="cpu")
    exact = whole.log_evidence(x)
    off, known = (evidence.log_evidence - exact).abs(), ~evidence.without_error
    assert known.double().mean() > 0.8  # of the others nothing is known
    assert (off < 5 * evidence.standard_error + 1e-3)[known].all()


def test_it_starts_from_the_seed_and_no_other_fit() -> None:
    def run() -> list[float]:
        torch.manual_seed(0)
        result = quick(FactorAnalysis((3,), 2), X, epochs=2, elbo=FactorVAE(3.0, small))
        return [m["train_objective"] for m in result.metrics]

    assert run() == run()


def test_a_run_is_of_its_objective(tmp_path) -> None:
    quick(FactorAnalysis((3,), 2), X, epochs=1, elbo=FactorVAE(3.0, small), out=tmp_path)
    with refused_with("checkpoint", "'objective/discriminator"):
        quick(FactorAnalysis((3,), 2), X, epochs=2, elbo=DIPVAE1(), out=tmp_path, resume=True)


def test_pyros_svi_trains_both() -> None:
    pyro.clear_param_store()
    program, elbo = FactorAnalysis((3,), 2), FactorVAE(3.0, small)

    def model(x: Tensor) -> None:
        pyro.module("program", program)
        program.model(x)

    svi = SVI(model, program.guide, PyroAdam({"lr": 0.01}), loss=elbo)
    svi.step(X)
    modules = (program, elbo.discriminator)
    before = [[p.detach().clone() for p in module.parameters()] for module in modules]
    assert math.isfinite(svi.step(X))
    for module, olds in zip(modules, before, strict=True):
        assert all((p != old).any() for p, old in zip(module.parameters(), olds, strict=True))
    again = FactorVAE(3.0, small)  # as all that Pyro finds in its store: it goes on with it
    again.loss(model, program.guide, X)
    for one, other in zip(
        again.discriminator.parameters(), elbo.discriminator.parameters(), strict=True
    ):
        assert torch.equal(one, other)
    pyro.clear_param_store()


class Quadratic(nn.Module):
    """The family that log-ratios of Gaussians are in."""

    def __init__(self, *_: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, z: Tensor) -> Tensor:
        products = (z[..., 0] * z[..., 1], z[..., 0].square(), z[..., 1].square())
        return self.linear(torch.stack(products, -1))


@pytest.mark.slow
def test_the_more_it_costs_the_less_total_correlation() -> None:
    """Data along a line, which the model as it stands explains by both numbers of z together."""
    torch.manual_seed(0)
    x = torch.randn(500, 1) * torch.tensor([[3.0, -1.0, 2.0]]) + 0.1 * torch.randn(500, 3)
    optimizer = partial(torch.optim.Adam, lr=0.003, betas=(0.0, 0.99))

    def correlation(gamma: float) -> float:
        torch.manual_seed(0)
        program, elbo = Linear(), FactorVAE(gamma, Quadratic)
        program.w.data.copy_(torch.tensor([[1.0, 0.5], [-0.3, -0.2], [0.5, 0.7]]))
        program.w.requires_grad_(False)
        quick(program, x, epochs=150, batch_size=100, elbo=elbo, optimizer=optimizer)
        aggregate = program.a @ torch.cov(x.T) @ program.a.T + S**2 * torch.eye(2)
        total = torch.linalg.slogdet(aggregate)[1] - aggregate.diagonal().log().sum()
        return -0.5 * float(total.detach())

    free, some, none = map(correlation, (0.0, 1.0, 3.0))
    assert some < 0.9 * free
    assert none < 0.3 * free


# --- what is refused --------------------------------------------------------------------------


def test_what_makes_no_sense() -> None:
    with refused("gamma", expected="at least 0"):
        FactorVAE(-1.0)
    with refused("z", remedy="TraceELBO"):
        fit(VAE((3,), 1), (X > 0).float(), epochs=1, elbo=FactorVAE(), progress=False)
