"""Bounds by weights of each unit: their formulas, their gradients, and that they are bounds."""

import math
from collections.abc import Callable
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import RenyiELBO, TraceEnum_ELBO
from torch import Tensor

from pyro_vae.inference.objectives import (
    CIWAE,
    IWAE,
    MIWAE,
    PIWAE,
    DReG,
    Renyi,
    StickingTheLanding,
    Tempered,
    TraceELBO,
    WakeSleep,
)
from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.objective import Objective
from pyro_vae.models import FactorAnalysis

X = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)) * 2


def story() -> FactorAnalysis:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = FactorAnalysis((5,), 2)
        with torch.no_grad():
            made.raw_tril.copy_(torch.tensor([[-0.3, 0.0], [0.4, 0.2]]))
    return made


def with_exact_guide() -> FactorAnalysis:
    """Its guide is the posterior, so every weight is the evidence."""
    made = story()
    with torch.no_grad():
        posterior = made.posterior(torch.zeros(1, 5))
        columns = [made.posterior(row).loc - posterior.loc for row in torch.eye(5)[:, None]]
        made.regression.weight.copy_(torch.cat(columns).T)
        made.regression.bias.copy_(posterior.loc[0])
        tril = posterior.scale_tril[0]
        made.raw_tril.copy_(tril.tril(-1) + tril.diagonal().log().diag())
    return made


def evidence(fa: FactorAnalysis, x: Tensor) -> float:
    return float(fa.log_evidence(x).detach().sum())


# --- the formulas, written down once more -------------------------------------------------------

Terms = tuple[
    Tensor, Tensor, Tensor
]  # log p(x, z) with z cut off, with z, and log q(z | x); (K, U) each


def by_hand(fa: FactorAnalysis, num_particles: int) -> tuple[Terms, Tensor, Callable[..., Tensor]]:
    """The terms at the noise that comes next, the draws, and log q(z | x) with its parameters cut off."""
    tril = fa.raw_tril.tril(-1) + fa.raw_tril.diagonal().exp().diag()
    loc = fa.regression(X)
    z = loc + torch.randn(num_particles, len(X), 2) @ tril.T

    def log_joint(z: Tensor) -> Tensor:
        x = dist.Normal(z @ fa.loadings.T + fa.bias, fa.log_scale.exp())
        return x.log_prob(X).sum(-1) + dist.Normal(0.0, 1.0).log_prob(z).sum(-1)

    def log_guide(z: Tensor, cut: bool = False) -> Tensor:
        parameters = (loc.detach(), tril.detach()) if cut else (loc, tril)
        return dist.MultivariateNormal(parameters[0], scale_tril=parameters[1]).log_prob(z)

    return (log_joint(z.detach()), log_joint(z), log_guide(z)), z, log_guide


def log_mean(log_values: Tensor, dim: int = 0) -> Tensor:
    return log_values.logsumexp(dim) - math.log(log_values.shape[dim])


def grouped(log_weights: Tensor, groups: int) -> Tensor:
    return log_mean(log_weights.reshape(groups, -1, log_weights.shape[-1]), 1).mean(0).sum()


FORMULAS: dict[str, tuple[Objective, int, Callable[[Tensor], Tensor]]] = {
    "IWAE": (IWAE(4), 4, lambda w: grouped(w, 1)),
    "MIWAE": (MIWAE(2, 3), 6, lambda w: grouped(w, 3)),
    "CIWAE": (CIWAE(4, 0.3), 4, lambda w: 0.3 * w.mean(0).sum() + 0.7 * grouped(w, 1)),
    "Renyi": (Renyi(0.4, 5), 5, lambda w: log_mean(0.6 * w).sum() / 0.6),
    "Renyi, 3": (Renyi(3.0, 5), 5, lambda w: log_mean(-2 * w).sum() / -2),
    "DReG": (DReG(4), 4, lambda w: grouped(w, 1)),
    "PIWAE": (PIWAE(2, 3), 6, lambda w: grouped(w, 1)),
    "WakeSleep": (WakeSleep(4), 4, lambda w: grouped(w, 1)),
    "StickingTheLanding": (StickingTheLanding(3), 3, lambda w: w.mean(0).sum()),
}


def run(elbo: Objective, fa: FactorAnalysis, seed: int = 3) -> tuple[Tensor, list[Tensor]]:
    elbo = elbo.planned(fa, X)
    pyro.set_rng_seed(seed)
    loss = elbo.differentiable_loss(fa.model, fa.guide, X)
    return -loss.detach(), [-g for g in torch.autograd.grad(loss, list(fa.parameters()))]


@pytest.mark.parametrize("name", FORMULAS)
def test_the_value_is_the_formula(name: str) -> None:
    fa = story()
    elbo, count, formula = FORMULAS[name]
    pyro.set_rng_seed(3)
    (_, log_joint, log_guide), _, _ = by_hand(fa, count)
    torch.testing.assert_close(run(elbo, fa)[0], formula(log_joint - log_guide).detach())
    pyro.set_rng_seed(3)
    loss = elbo.planned(fa, X).loss(fa.model, fa.guide, X)
    assert -loss == pytest.approx(float(formula(log_joint - log_guide).detach()), rel=1e-5)


def surrogate(name: str, fa: FactorAnalysis) -> Tensor:
    """What has the objective's gradient, from the papers."""
    _, count, formula = FORMULAS[name]
    (apart, joined, log_guide), z, guide_at = by_hand(fa, count)
    w = (joined - log_guide).detach()
    share = w.softmax(0)
    if name == "WakeSleep":
        return (share * (apart + guide_at(z.detach()))).sum()
    path = (
        joined - apart - guide_at(z, cut=True)
    )  # of the draws alone: apart has the model's own part
    if name == "StickingTheLanding":
        return (apart + path).mean(0).sum()
    if name == "DReG":
        return (share * apart + share**2 * path).sum()
    if name == "PIWAE":
        each = w.reshape(3, 2, -1).softmax(1).reshape(6, -1) / 3
        return (share * apart).sum() + (each * (joined - apart - log_guide)).sum()
    return formula(joined - log_guide)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_gradient_is_the_papers(name: str) -> None:
    fa = story()
    pyro.set_rng_seed(3)
    expected = torch.autograd.grad(surrogate(name, fa), list(fa.parameters()))
    for one, other in zip(run(FORMULAS[name][0], fa)[1], expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


# --- unbiased gradients, also where one latent depends on another -------------------------------


class Chain(torch.nn.Module):
    """z1 -> z2 -> x; in the guide z2 is drawn given z1, both with parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.model_weight = torch.nn.Parameter(torch.tensor(0.8))
        self.guide_weights = torch.nn.Parameter(torch.tensor([0.3, 0.5, -0.2, -0.4]))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            one = pyro.sample("one", dist.Normal(0.0, 1.0))
            two = pyro.sample("two", dist.Normal(self.model_weight * one, 0.7))
            pyro.sample("x", dist.Normal(two, 0.5), obs=x)

    def guide(self, x: Tensor) -> None:
        a, b, c, d = self.guide_weights
        with pyro.plate("data", len(x)):
            one = pyro.sample("one", dist.Normal(a * x, c.exp()))
            pyro.sample("two", dist.Normal(b * x + d * one, 0.6))


def mean_gradient(elbo: Objective, chain: Chain, repeats: int = 40) -> tuple[Tensor, Tensor]:
    """Of the objective of one datum, and its standard error."""
    x = torch.full((400,), 1.3)
    elbo = elbo.planned(chain, x)
    slopes = []
    for seed in range(repeats):
        pyro.set_rng_seed(seed)
        loss = elbo.differentiable_loss(chain.model, chain.guide, x) / len(x)
        slopes.append(
            torch.cat([g.flatten() for g in torch.autograd.grad(loss, chain.parameters())])
        )
    stacked = torch.stack(slopes)
    return stacked.mean(0), stacked.std(0) / math.sqrt(repeats)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DReG(5), IWAE(5)),
        (StickingTheLanding(2), IWAE(1)),
        (PIWAE(4, 1), IWAE(4)),
    ],
    ids=["DReG", "sticking the landing", "PIWAE with one estimate"],
)
def test_another_gradient_has_the_same_mean(one: Objective, other: Objective) -> None:
    chain = Chain()
    slope, error = mean_gradient(one, chain)
    expected, other_error = mean_gradient(other, chain)
    assert ((slope - expected).abs() < 4.5 * (error.square() + other_error.square()).sqrt()).all()
    assert (slope.abs() > 5 * error).any()  # there is something to be seen


def test_at_the_posterior_the_path_derivative_has_no_noise() -> None:
    fa = with_exact_guide()
    for elbo in (StickingTheLanding(), DReG(4)):
        _, slopes = run(elbo, fa)
        guides = dict(zip([name for name, _ in fa.named_parameters()], slopes, strict=True))
        for name in ("raw_tril", "regression.weight", "regression.bias"):
            assert guides[name].abs().max() < 1e-3
    assert run(IWAE(1), fa)[1][-1].abs().max() > 0.01


def test_one_backward_pass_gives_both_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """...of DReG, whether the draws run together or one by one, from a chain of two latents."""
    chain, x = Chain(), X[:, 0]
    elbo = DReG(4).planned(chain, x)
    assert elbo.plan is not None

    def slopes() -> Tensor:
        pyro.set_rng_seed(3)
        loss = elbo.differentiable_loss(chain.model, chain.guide, x)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, chain.parameters())])

    for together in (True, False):
        elbo.plan = replace(elbo.plan, vectorized=together)
        one = slopes()
        with monkeypatch.context() as patch:
            patch.setattr(GuideDraws, "mixes_rows", True)
            torch.testing.assert_close(one, slopes(), rtol=1e-4, atol=1e-5)


def test_drawn_one_by_one_a_gradient_has_the_same_mean() -> None:
    chain = Chain()

    class Alone(IWAE):
        def _plan(self, *args, **kwargs):
            plan = super()._plan(*args, **kwargs)
            assert plan.vectorized
            return type(plan)(plan.structure, False)

    slope, error = mean_gradient(Alone(3), chain, 20)
    expected, other_error = mean_gradient(IWAE(3), chain)
    assert ((slope - expected).abs() < 4.5 * (error.square() + other_error.square()).sqrt()).all()


# --- bounds, of each datum ------------------------------------------------------------------------

BOUNDS = [IWAE(5), MIWAE(3, 2), PIWAE(3, 2), CIWAE(5), DReG(5), Renyi(0.5, 5), Renyi(2.0, 5), WakeSleep(5),
          StickingTheLanding(2)]  # fmt: skip


def named(elbo: Objective) -> str:
    return type(elbo).__name__


@pytest.mark.parametrize("elbo", BOUNDS, ids=named)
def test_a_bound_lies_below_the_evidence_of_each_datum(elbo: Objective) -> None:
    fa = story()
    assert elbo.figure in ("bound", "elbo")
    for row in X[:3]:
        x = row.expand(500, 5)
        planned = elbo.planned(fa, x)
        values = []
        for seed in range(10):
            pyro.set_rng_seed(seed)
            values.append(-planned.loss(fa.model, fa.guide, x) / len(x))
        mean = torch.tensor(values).mean()
        error = torch.tensor(values).std() / math.sqrt(len(values))
        assert mean < evidence(fa, row[None]) + 4 * error


def test_more_draws_make_iwae_tighter_and_the_first_is_the_elbo() -> None:
    fa = story()
    tril = (fa.raw_tril.tril(-1) + fa.raw_tril.diagonal().exp().diag()).detach()
    guide = dist.MultivariateNormal(fa.regression(X).detach(), scale_tril=tril)
    elbo = fa.log_evidence(X) - torch.distributions.kl_divergence(guide, fa.posterior(X))
    exact, many = elbo.sum().detach(), X.repeat(100, 1)
    values = []
    for k in (1, 4, 32):
        pyro.set_rng_seed(k)
        bound = IWAE(k).planned(fa, many)
        values.append([-bound.loss(fa.model, fa.guide, many) / 100 for _ in range(20)])
    means, errors = torch.tensor(values).mean(1), torch.tensor(values).std(1) / 20**0.5
    assert means[0] == pytest.approx(float(exact), abs=5 * float(errors[0]))
    assert means[0] < means[1] < means[2] < evidence(fa, X)


@pytest.mark.parametrize("alpha", [0.5, 0.0])
def test_renyi_of_many_draws_is_its_closed_form(alpha: float) -> None:
    """log p(x) - D_a(q || posterior), of normals in one dimension."""
    x, loc, scale = torch.tensor([0.7]), 0.5, 0.9
    post_loc, post_var = 0.35, 0.5

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.tensor(loc), scale))

    var = alpha * post_var + (1 - alpha) * scale**2
    logs = math.log(var) - (1 - alpha) * math.log(scale**2) - alpha * math.log(post_var)
    divergence = alpha * (loc - post_loc) ** 2 / (2 * var) + logs / (2 * (1 - alpha))
    pyro.set_rng_seed(0)
    value = -Renyi(alpha, 400_000).loss(model, guide, x)
    exact = float(dist.Normal(0.0, math.sqrt(2)).log_prob(x)) - divergence
    assert value == pytest.approx(exact, abs=0.004)


# --- subsampling and scales -----------------------------------------------------------------------


def subsampled(fa: FactorAnalysis, size: int):
    def model(x: Tensor) -> None:
        with pyro.plate("rows", len(x), subsample_size=size) as index:
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            loc = z @ fa.loadings.T + fa.bias
            pyro.sample("x", dist.Normal(loc, fa.log_scale.exp()).to_event(1), obs=x[index])

    def guide(x: Tensor) -> None:
        tril = fa.raw_tril.tril(-1) + fa.raw_tril.diagonal().exp().diag()
        with pyro.plate("rows", len(x), subsample_size=size) as index:
            loc = fa.regression(x[index])
            pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=tril))

    return model, guide


@pytest.mark.parametrize("vectorized", [True, False])
@pytest.mark.parametrize("elbo", BOUNDS, ids=named)
def test_with_the_posterior_as_guide_a_subsample_of_equal_data_gives_the_evidence(
    elbo: Objective, vectorized: bool
) -> None:
    fa = with_exact_guide()
    x = X[:1].expand(12, 5)
    program = subsampled(fa, 4)
    planned = elbo.planned(program, x)
    planned.plan = type(planned.plan)(
        planned.plan.structure, vectorized and planned.plan.vectorized
    )
    assert -planned.loss(*program, x) == pytest.approx(evidence(fa, x), rel=1e-4)


def test_pyros_renyi_bound_of_a_subsample_is_larger() -> None:
    """Its scale is inside, and so it is no bound."""
    x, count = X[:1].expand(12, 5), 200
    pyros, ours = (
        torch.tensor([-elbo.loss(*subsampled(story(), 4), x) for _ in range(count)])
        for elbo in (RenyiELBO(alpha=0.5, num_particles=5), Renyi(0.5, 5))
    )
    error = ((pyros.var() + ours.var()) / count).sqrt()
    assert pyros.mean() - ours.mean() > 5 * error


@pytest.mark.parametrize("elbo", [IWAE(4), Renyi(0.5, 4), DReG(3)], ids=named)
def test_subsamples_are_unbiased_and_so_bounds(elbo: Objective) -> None:
    fa = story()
    program = subsampled(fa, 2)
    part, whole = elbo.planned(program, X), elbo.planned(fa, X)
    pyro.set_rng_seed(0)
    values = torch.tensor([-part.loss(*program, X) for _ in range(400)])
    full = torch.tensor([-whole.loss(fa.model, fa.guide, X) for _ in range(100)])
    error = math.hypot(values.std() / math.sqrt(400), full.std() / 10)
    assert abs(values.mean() - full.mean()) < 4.5 * error
    assert values.mean() < evidence(fa, X) + 4.5 * error


def test_minibatches_add_up() -> None:
    fa = with_exact_guide()
    elbo = IWAE(3).planned(fa, X[:3])
    total = -sum(elbo.loss(fa.model, fa.guide, batch) for batch in (X[:3], X[3:6], X[6:]))
    assert total == pytest.approx(evidence(fa, X), rel=1e-5)


def test_a_scale_of_all_sites_stands_outside() -> None:
    fa = with_exact_guide()
    scaled = (poutine.scale(fa.model, 0.25), poutine.scale(fa.guide, 0.25))
    for elbo in (IWAE(3), Renyi(0.5, 3)):
        value = -elbo.loss(*scaled, X)
        assert value == pytest.approx(0.25 * evidence(fa, X), rel=1e-5)


@pytest.mark.parametrize("beta", [0.5, torch.tensor(2.0)])
def test_a_kl_weight_tempers_the_weights(beta: float | Tensor) -> None:
    fa = story()
    pair = Tempered(beta)(fa.model), Tempered(beta)(fa.guide)
    values = []
    for elbo in (IWAE(1).planned(fa, X), StickingTheLanding().planned(fa, X), TraceELBO()):
        pyro.set_rng_seed(5)
        values.append(float(elbo.differentiable_loss(*pair, X).detach()))
    assert values == pytest.approx([values[-1]] * 3, rel=1e-5)


def test_masked_units_count_nothing() -> None:
    fa, keep = with_exact_guide(), torch.arange(7) < 4
    masked = (poutine.mask(fa.model, mask=keep), poutine.mask(fa.guide, mask=keep))
    exact = evidence(fa, X[:4])
    assert -IWAE(3).loss(*masked, X) == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("vectorized", [True, False])
def test_latents_of_the_model_alone_are_summed_out(vectorized: bool) -> None:
    """Also where a latent of the guide depends on them."""
    locs = torch.tensor([-1.0, 2.0], requires_grad=True)
    enumerate_it = {"enumerate": "parallel"}

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            side = dist.Categorical(torch.tensor([0.3, 0.7]))
            which = pyro.sample("which", side, infer=enumerate_it)
            z = pyro.sample("z", dist.Normal(locs[which], 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 1.5))

    x = X[:, 0]
    results = []
    for elbo in (IWAE(1), TraceEnum_ELBO(max_plate_nesting=1)):
        if isinstance(elbo, IWAE):
            elbo = elbo.planned((model, guide), x)
        pyro.set_rng_seed(2)
        loss = elbo.differentiable_loss(model, guide, x)
        results.append((loss.detach(), torch.autograd.grad(loss, locs)[0]))
    torch.testing.assert_close(results[0], results[1])
    sides = dist.Normal(torch.tensor([-1.0, 2.0]), 2**0.5).log_prob(x[:, None])
    exact = (torch.tensor([0.3, 0.7]).log() + sides).logsumexp(1).sum()
    many = IWAE(2000 if vectorized else 200).planned((model, guide), x)
    many.plan = type(many.plan)(many.plan.structure, vectorized)
    assert -many.loss(model, guide, x) == pytest.approx(float(exact), abs=0.5)


# --- wake-sleep -----------------------------------------------------------------------------------


def test_wake_sleep_takes_discrete_latents_and_finds_their_posterior() -> None:
    """The guide ends where KL(p(z | x) || q) is least: at the posterior."""
    logits = torch.zeros(2, requires_grad=True)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Bernoulli(0.4))
            pyro.sample("x", dist.Normal(which, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("which", dist.Bernoulli(logits=logits[(x > 0).long()]))

    x = torch.tensor([-0.5, 1.5]).repeat(50)
    elbo, optimizer = WakeSleep(20).planned((model, guide), x), torch.optim.Adam([logits], lr=0.05)
    pyro.set_rng_seed(0)
    kept = []
    for step in range(400):
        optimizer.zero_grad()
        (elbo.differentiable_loss(model, guide, x) / len(x)).backward()
        optimizer.step()
        if step >= 200:
            kept.append(logits.detach().clone())
    exact = math.log(0.4 / 0.6) + torch.tensor([-0.5, 1.5]) - 0.5
    torch.testing.assert_close(torch.stack(kept).mean(0), exact, rtol=0, atol=0.12)


def test_particles_of_one_datum_do_not_weigh_another() -> None:
    """The gradient of two units is the sum of either's: Pyro's ReweightedWakeSleep weighs batches."""
    chain, x = Chain(), torch.tensor([0.5, 2.0])
    elbo = WakeSleep(3).planned(chain, x)

    def gradient(x: Tensor, keep: Tensor) -> Tensor:
        pyro.set_rng_seed(1)
        pair = (poutine.mask(chain.model, mask=keep), poutine.mask(chain.guide, mask=keep))
        loss = elbo.differentiable_loss(*pair, x)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, chain.parameters())])

    both = gradient(x, torch.tensor([True, True]))
    apart = [gradient(x, torch.tensor(keep)) for keep in ([True, False], [False, True])]
    torch.testing.assert_close(both, apart[0] + apart[1])
