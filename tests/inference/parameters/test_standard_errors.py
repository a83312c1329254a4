"""Standard errors of learnt parameters against closed forms and Fisher information by hand."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import constraints
from pyro.infer.autoguide import AutoNormal
from pyro.nn import PyroModule, PyroParam
from refused import refused
from torch import Tensor, nn

from pyro_vae import fit, log_evidence, standard_errors
from pyro_vae.inference.parameters import quadrature
from pyro_vae.models import FactorAnalysis

quick = partial(standard_errors, progress=False, device="cpu")
T = 12.9  # of Student's t with the 3 degrees of freedom of four repeats: 0.999 lie within it


@pytest.fixture
def sampled(monkeypatch) -> None:
    """No quadrature: a unit's latents are integrated by importance sampling."""
    monkeypatch.setattr(quadrature, "NODES", {})


def no_latents(*_: Tensor) -> None:
    """The guide of a model that has none."""


def normal(x: Tensor) -> None:
    """Mean and standard deviation, at the maximum of the likelihood."""
    mean = pyro.param("mean", x.mean().clone())
    sd = pyro.param("sd", x.std(correction=0).clone(), constraint=constraints.positive)
    with pyro.plate("rows", len(x)):
        pyro.sample("x", dist.Normal(mean, sd), obs=x)


def test_a_normal_sample() -> None:
    """The error of the mean is s / sqrt n, that of s is s / sqrt 2n, and they are independent."""
    x = 3 + 2 * torch.randn(200).double()
    normal(x)
    found = quick((normal, no_latents), x)
    s, n = x.std(correction=0).item(), 200
    assert found.names == ("mean", "sd")
    assert found.estimate.tolist() == pytest.approx([x.mean().item(), s])
    assert found.standard_error.tolist() == pytest.approx([s / n**0.5, s / (2 * n) ** 0.5])
    assert found.covariance[0, 1].item() == pytest.approx(0.0, abs=1e-9)
    log_likelihood = dist.Normal(x.mean(), s).log_prob(x).sum().item()
    assert found.log_likelihood == pytest.approx(log_likelihood)
    assert found.aic == pytest.approx(4 - 2 * log_likelihood)
    assert found.bic == pytest.approx(2 * math.log(n) - 2 * log_likelihood)
    assert found.log_likelihood == pytest.approx(
        log_evidence((normal, no_latents), x, method="exact").total, rel=1e-5
    )
    assert (found.num_parameters, found.num_units, found.unit) == (2, 200, "rows")
    low, high = found.interval[1].tolist()  # of a positive number: by its logarithm
    assert low * high == pytest.approx(s**2)
    assert high / s == pytest.approx(math.exp(1.959964 / (2 * n) ** 0.5), rel=1e-5)
    assert found.to_frame().loc["sd", "se"] == pytest.approx(s / (2 * n) ** 0.5)


def test_the_sandwich_of_a_normal_sample() -> None:
    """By the moments: the error of s is sqrt((m4 - s^4) / n) / 2s, whatever the distribution is."""
    x = torch.empty(400).exponential_().double()
    normal(x)
    found = quick((normal, no_latents), x)
    s, m4 = x.std(correction=0), (x - x.mean()).pow(4).mean()
    expected = ((m4 - s**4) / 400).sqrt() / (2 * s)
    assert found.robust_error[0].item() == pytest.approx(s.item() / 400**0.5)
    assert found.robust_error[1].item() == pytest.approx(expected.item())
    assert found.robust_error[1] > 1.5 * found.standard_error[1]  # the exponential has heavy tails


class Regression(nn.Module):
    """Counts or answers by a linear predictor."""

    def __init__(self, family: Callable[[Tensor], dist.TorchDistribution]) -> None:
        super().__init__()
        self.family, self.weight = family, nn.Parameter(torch.zeros(3))

    def model(self, x: Tensor, y: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            pyro.sample("y", self.family(x @ self.weight), obs=y)

    def guide(self, x: Tensor, y: Tensor) -> None:
        pass


@pytest.mark.parametrize(
    ("family", "mean", "variance"),
    [
        (lambda eta: dist.Poisson(eta.exp()), np.exp, lambda m: m),
        (
            lambda eta: dist.Bernoulli(logits=eta),
            lambda eta: 1 / (1 + np.exp(-eta)),
            lambda m: m * (1 - m),
        ),
    ],
    ids=["Poisson", "logistic"],
)
def test_a_generalised_linear_model(family, mean, variance) -> None:
    """Of a canonical link, the observed information is Fisher's, X' W X."""
    x = torch.cat([torch.ones(150, 1), torch.randn(150, 2)], 1)
    regression = Regression(family)
    y = family(x @ torch.tensor([0.3, 0.5, -0.4])).sample()
    result = fit(regression, (x, y), progress=False, device="cpu")
    found = quick(regression, (x, y))
    columns, w = x.double().numpy(), found.estimate.numpy()
    mu = mean(columns @ w)
    assert columns.T @ (y.numpy() - mu) == pytest.approx(np.zeros(3), abs=1e-5)  # a maximum
    information = columns.T @ (columns * variance(mu)[:, None])
    inverse = np.linalg.inv(information)
    assert found.covariance.numpy() == pytest.approx(inverse, rel=1e-6)
    scores = columns * (y.numpy() - mu)[:, None]
    sandwich = inverse @ scores.T @ scores @ inverse
    assert found.robust_error.numpy() == pytest.approx(np.diag(sandwich) ** 0.5, rel=1e-6)
    off = regression.weight.detach().double().numpy() - w  # what the fit leaves, in nats
    assert off @ information @ off / 2 < 0.05
    assert not found.notes
    assert "levelled off" in result.verdict


def test_arguments_of_a_call_are_the_same_as_rows() -> None:
    regression = Regression(lambda eta: dist.Poisson(eta.exp()))
    x, y = torch.randn(40, 3), torch.ones(40)
    rows, call = quick(regression, (x, y)), quick(regression, args=(x, y))
    assert call.standard_error.tolist() == pytest.approx(rows.standard_error.tolist())
    assert call.robust_error.tolist() == pytest.approx(rows.robust_error.tolist())


# --- latents that are integrated out ----------------------------------------------------------


class RandomEffects(PyroModule):
    """Groups of four: x_ij ~ Normal(mean + b_i, noise), b_i ~ Normal(0, spread)."""

    def __init__(self, mean: float, spread: float, noise: float) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(mean))
        self.spread = PyroParam(torch.tensor(spread), constraints.positive)
        self.noise = PyroParam(torch.tensor(noise), constraints.positive)

    def model(self, x: Tensor) -> None:
        with pyro.plate("groups", len(x)):
            effect = pyro.sample("effect", self.effect())
            each = dist.Normal((self.mean + effect).unsqueeze(-1), self.noise)
            pyro.sample("x", each.expand((*effect.shape, 4)).to_event(1), obs=x)

    def effect(self) -> dist.TorchDistribution:
        return dist.Normal(0.0, self.spread)

    def guide(self, x: Tensor) -> None:
        with torch.no_grad():  # the exact posterior, a little too wide
            precision = 4 / self.noise**2 + 1 / self.spread**2
            loc = (x - self.mean).sum(-1) / self.noise**2 / precision
        with pyro.plate("groups", len(x)):
            pyro.sample("effect", dist.Normal(loc, 1.1 * precision**-0.5))


def closed_form(x: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum-likelihood estimates of a balanced design, and their covariance.

    The group means have variance spread^2 + noise^2 / 4 =: v / 4, and what is left has noise^2: with
    v = 4 spread^2 + noise^2 the likelihood has a factor for each.
    """
    n, k = x.shape
    means = x.mean(-1)
    v = k * means.var(correction=0)
    w = (x - means[:, None]).square().sum() / (n * (k - 1))
    spread = ((v - w) / k).sqrt()
    noise = w.sqrt()
    var_v, var_w = 2 * v**2 / n, 2 * w**2 / (n * (k - 1))
    by = torch.tensor(  # of (spread, noise) by (v, w)
        [[1 / (2 * k * spread), -1 / (2 * k * spread)], [0.0, 1 / (2 * noise)]], dtype=x.dtype
    )
    covariance = torch.zeros(3, 3, dtype=x.dtype)
    covariance[0, 0] = v / (n * k)
    covariance[1:, 1:] = by @ torch.diag(torch.stack([var_v, var_w])) @ by.T
    return torch.stack([x.mean(), spread, noise]), covariance


def groups(count: int = 120) -> Tensor:
    return (1 + torch.randn(count, 1) + 0.8 * torch.randn(count, 4)).double()


def test_random_effects_exactly() -> None:
    x = groups()
    estimates, covariance = closed_form(x)
    program = RandomEffects(*estimates.tolist()).double()
    found = quick(program, x)
    order = [found.names.index(name) for name in ("mean", "spread", "noise")]
    assert "linear and Gaussian" in found.method
    assert found.covariance[order][:, order].numpy() == pytest.approx(
        covariance.numpy(), rel=1e-4, abs=1e-7
    )
    marginal = torch.eye(4) * estimates[2] ** 2 + estimates[1] ** 2
    exact = dist.MultivariateNormal(estimates[:1].expand(4), marginal).log_prob(x).sum()
    assert found.log_likelihood == pytest.approx(exact.item())


class Cauchy(RandomEffects):
    """The same, with effects that no closed form integrates; in truth they are normal."""

    def effect(self) -> dist.TorchDistribution:
        return dist.StudentT(torch.tensor(1e7), 0.0, self.spread)


@pytest.mark.usefixtures("sampled")
def test_random_effects_by_importance_sampling() -> None:
    """Of 1e7 degrees of freedom a Student t is a normal distribution: the errors are those above."""
    x = groups(60)
    estimates, covariance = closed_form(x)
    program = Cauchy(*estimates.tolist()).double()
    found = quick(program, x, num_particles=500, seed=3)
    order = [found.names.index(name) for name in ("mean", "spread", "noise")]
    assert "importance sampling" in found.method
    off = found.standard_error[order] - covariance.diagonal().sqrt()
    error = found.monte_carlo_error[order]
    assert (error > 0).all()
    assert (off.abs() < T * error + 1e-3 * covariance.diagonal().sqrt()).all()  # the t's rounding
    assert (error < 0.05 * found.standard_error[order]).all()
    assert found.log_likelihood_error > 0


def test_random_intercepts_of_answers_against_quadrature(sampled, monkeypatch) -> None:
    """A logistic model, whose integral over each group's intercept Gauss and Hermite know."""

    class Answers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean, self.log_sd = (nn.Parameter(torch.tensor(v)) for v in (0.4, 0.0))

        def model(self, x: Tensor) -> None:
            with pyro.plate("groups", len(x)):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
                logits = (self.mean + self.log_sd.exp() * z).unsqueeze(-1)
                answers = dist.Bernoulli(logits=logits.expand((*z.shape, 5)))
                pyro.sample("x", answers.to_event(1), obs=x)

        def guide(self, x: Tensor) -> None:
            with pyro.plate("groups", len(x)):
                pyro.sample("z", dist.Normal((x.mean(-1) - 0.58) * 2, 0.9))

    x = torch.bernoulli((0.4 + torch.randn(100, 1)).sigmoid().expand(100, 5))
    nodes, weights = map(torch.tensor, np.polynomial.hermite_e.hermegauss(60))
    right = x.double().sum(-1, keepdim=True)

    def total(at: Tensor) -> Tensor:
        logits = at[0] + at[1].exp() * nodes
        scores = right * logits.sigmoid().log() + (5 - right) * (-logits).sigmoid().log()
        return (scores + weights.log() - math.log(2 * math.pi) / 2).logsumexp(-1).sum()

    at = torch.tensor([0.4, 0.0]).double()
    for _ in range(10):  # to the maximum
        hessian = torch.autograd.functional.hessian(total, at)
        at = at - torch.linalg.solve(hessian, torch.autograd.functional.jacobian(total, at))
    program = Answers()
    with torch.no_grad():
        program.mean.copy_(at[0])
        program.log_sd.copy_(at[1])
    found = quick(program, x, seed=0)
    expected = (-torch.autograd.functional.hessian(total, at)).inverse().diagonal().sqrt()
    assert ((found.standard_error - expected).abs() < T * found.monte_carlo_error).all()
    assert (found.monte_carlo_error < 0.02 * expected).all()
    off = found.log_likelihood - total(at).item()
    assert abs(off) < T * found.log_likelihood_error + 1e-3
    with torch.no_grad():
        program.mean.add_(0.4)
    with refused("program", remedy="fit longer"):
        quick(program, x, seed=0)
    monkeypatch.undo()
    found = quick(program, x, seed=0)  # the maximum, from afar
    assert found.estimate.tolist() == pytest.approx(at.tolist(), abs=1e-4)
    assert found.standard_error.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert found.log_likelihood == pytest.approx(total(at).item(), abs=1e-5)


@pytest.mark.usefixtures("sampled")
def test_weights_that_decide_by_themselves_are_refused() -> None:
    class TooNarrow(Cauchy):
        def guide(self, x: Tensor) -> None:
            with pyro.plate("groups", len(x)):
                pyro.sample("effect", dist.Normal(torch.zeros(len(x)).to(x), 0.05))

    with refused("num_particles", remedy="richer family"):
        quick(TooNarrow(1.0, 1.0, 0.8).double(), groups(60), seed=0)


def test_a_mixture_is_summed_out() -> None:
    """Against the Hessian of the mixture's density, written out."""

    def mixture(x: Tensor) -> None:
        locs = pyro.param("locs", torch.tensor([-1.5, 1.5]).double())
        with pyro.plate("rows", len(x)):
            weights = torch.ones(2).double() / 2
            kind = pyro.sample("kind", dist.Categorical(weights), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(locs[kind], 1.0), obs=x)

    x = torch.cat([torch.randn(100) - 1.5, torch.randn(100) + 1.5]).double()
    found = quick((mixture, no_latents), x)

    def total(locs: Tensor) -> Tensor:
        return (dist.Normal(locs, 1.0).log_prob(x[:, None]) - math.log(2)).logsumexp(-1).sum()

    hessian = torch.autograd.functional.hessian(total, found.estimate)
    assert found.covariance.numpy() == pytest.approx((-hessian).inverse().numpy(), rel=1e-6)
    assert found.method == "summed over kind"


def test_shared_latents_have_no_sandwich_and_no_bic() -> None:
    def shared(x: Tensor) -> None:
        sd = pyro.param("sd", torch.tensor(1.0).double(), constraint=constraints.positive)
        mean = pyro.sample("mean", dist.Normal(torch.zeros(()).double(), 1.0))
        with pyro.plate("rows", len(x)):
            pyro.sample("x", dist.Normal(mean, sd), obs=x)

    x = torch.randn(30).double()
    guide = AutoNormal(shared)
    fit((shared, guide), x, steps=200, progress=False, device="cpu")
    found = quick((shared, guide), x)
    assert found.names == ("sd",)
    assert found.robust_error.isnan().all()
    assert math.isnan(found.bic)
    assert not math.isnan(found.aic)
    assert any("all data together" in note for note in found.notes)

    def total(log_sd: Tensor) -> Tensor:
        covariance = torch.eye(30).double() * (2 * log_sd).exp() + 1
        return dist.MultivariateNormal(torch.zeros(30).double(), covariance).log_prob(x)

    sd = found.estimate[0]
    hessian = torch.autograd.functional.hessian(total, sd.log())
    assert found.standard_error.item() == pytest.approx((sd * (-hessian) ** -0.5).item(), rel=1e-4)


def test_a_series_is_one_unit() -> None:
    """A local level with learnt variances, against the covariance of all of its steps."""

    class Level(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.log_drift, self.log_noise = (nn.Parameter(torch.tensor(v)) for v in (-0.7, 0.0))

        def model(self, y: Tensor) -> None:
            with pyro.plate("time", len(y)):
                step = pyro.sample("step", dist.Normal(0.0, 1.0))
                level = self.log_drift.exp() * step.cumsum(-1)
                pyro.sample("y", dist.Normal(level, self.log_noise.exp()), obs=y)

        def guide(self, y: Tensor) -> None:
            with pyro.plate("time", len(y)):
                pyro.sample("step", dist.Normal(torch.zeros(len(y)).to(y), 1.0))

    y = (torch.randn(40)).cumsum(0) + 0.7 * torch.randn(40)
    found = quick(Level(), args=(y,))
    sums = torch.ones(40, 40).double().tril()

    def total(at: Tensor) -> Tensor:
        covariance = (2 * at[0]).exp() * sums @ sums.T
        covariance = covariance + (2 * at[1]).exp() * torch.eye(40).double()
        loc = torch.zeros(40).double()
        return dist.MultivariateNormal(loc, covariance).log_prob(y.double())

    at = found.estimate
    assert torch.autograd.functional.jacobian(total, at).abs().max() < 1e-3
    expected = (-torch.autograd.functional.hessian(total, at)).inverse()
    assert found.covariance.numpy() == pytest.approx(expected.numpy(), rel=1e-4)
    assert (found.num_units, found.unit) == (1, None)


# --- constraints and refusals -----------------------------------------------------------------


def test_shares_on_a_simplex() -> None:
    """The multinomial's covariance, (diag p - p p') / n: a softmax has a direction that moves nothing."""
    counts = torch.tensor([50.0, 30.0, 20.0]).double()

    def shares(x: Tensor) -> None:
        p = pyro.param("p", (counts / 100).clone(), constraint=constraints.simplex)
        with pyro.plate("rows", len(x)):
            pyro.sample("x", dist.Categorical(p), obs=x)

    x = torch.arange(3).repeat_interleave(counts.long())
    found = quick((shares, no_latents), x)
    p = counts / 100
    expected = (torch.diag(p) - p[:, None] * p) / 100
    assert found.covariance.numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    assert found.num_parameters == 2


def test_what_the_data_do_not_determine_is_named() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
            self.third = nn.Parameter(torch.zeros(()))

        def model(self, x: Tensor) -> None:
            with pyro.plate("rows", len(x)):
                loc = torch.stack([self.one + self.other, self.third])
                pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

        guide = staticmethod(no_latents)

    with pytest.raises(ValueError, match="do not determine") as caught:
        quick(Twice(), torch.randn(20, 2))
    assert "'one'" in str(caught.value)
    assert "'other'" in str(caught.value)
    assert "'third'" not in str(caught.value)


def test_loadings_can_be_rotated() -> None:
    x = torch.randn(200, 2) @ torch.randn(2, 8) + 0.7 * torch.randn(200, 8)
    model = FactorAnalysis((8,), 2)
    fit(model, x, steps=300, progress=False, device="cpu")
    with pytest.raises(ValueError, match=r"do not determine 'loadings\["):
        quick(model, x)
    single = FactorAnalysis((8,), 1)
    fit(single, x, steps=300, progress=False, device="cpu")
    found = quick(single, x)
    assert found.method == "by the program's own log_evidence"
    assert len(found.names) == 3 * 8  # loadings, bias, scales
    assert (found.standard_error > 0).all()


def test_parameters_that_are_not_there_too_many_or_far_from_the_maximum() -> None:
    def only_latents(x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    x = torch.randn(10)
    guide = AutoNormal(only_latents)
    with refused("program", remedy="posterior"):
        quick((only_latents, guide), x)
    network = Regression(lambda eta: dist.Poisson(eta.exp()))
    network.weight = nn.Parameter(torch.zeros(2001))
    with refused("weight", remedy="freeze"):
        quick(network, (torch.randn(10, 2001), torch.ones(10)))
    regression = Regression(lambda eta: dist.Normal(eta, 1.0))
    columns = torch.randn(50, 3)
    found = quick(regression, (columns, columns.sum(-1)))
    assert any("not at the maximum" in note for note in found.notes)
    assert found.estimate.tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert not regression.weight.any()  # the program keeps its own


def test_nothing_changes() -> None:
    program = RandomEffects(0.0, 1.0, 1.0)
    before = {name: value.clone() for name, value in program.state_dict().items()}
    x = groups(30).float()
    state = torch.get_rng_state()
    quick(program, x, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    after = program.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(p.dtype == torch.float32 and p.grad is None for p in program.parameters())
