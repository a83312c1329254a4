"""Which sites of model and guide count as what, and what a person's own code may do."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pyro.distributions.transforms as transforms
import pytest
import torch
from pyro import poutine
from pyro.contrib.easyguide import easy_guide
from pyro.infer import config_enumerate
from pyro.infer.autoguide import (
    AutoHierarchicalNormalMessenger,
    AutoMultivariateNormal,
    AutoNormal,
    AutoNormalMessenger,
)
from pyro.infer.reparam import NeuTraReparam, SplitReparam
from refused import refused, refused_with
from stories import Conjugate
from torch import Tensor, nn
from torch.distributions import constraints
from torch.optim import Adam

from pyro_vae import fit, log_evidence, posterior
from pyro_vae.inference import Annealed, Guide
from pyro_vae.testing import check_program

X = torch.randn(20, generator=torch.Generator().manual_seed(3))
EXACT = dist.Normal(0.0, 2**0.5).log_prob(X).mean().item()
ADAM = partial(Adam, lr=0.02)
quick = partial(fit, progress=False, device="cpu", compile="off", optimizer=ADAM)
# what counts is the same at any number of temperatures, however far a chain moves at each
METHODS = ["importance", Annealed(10, num_leapfrog=3)]


def normal_guide(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(0.5 * x, 0.8))


def is_right(found: Any, exact: float) -> bool:
    return abs(found.mean - exact) < 4.5 * found.mean_standard_error + 1e-5


# --- the guide's sites ----------------------------------------------------------------------------


def with_factor(x: Tensor) -> None:
    normal_guide(x)
    with pyro.plate("more", len(x)):
        pyro.factor("aux", torch.full((len(x),), 3.0), has_rsample=False)


def with_factor_outside(x: Tensor) -> None:
    normal_guide(x)
    pyro.factor("aux", torch.tensor(3.0), has_rsample=False)


def observing(x: Tensor) -> None:
    with pyro.plate("more", len(x)):
        pyro.sample("t", dist.Normal(0.0, 1.0), obs=x, infer={"is_auxiliary": True})
    normal_guide(x)


@pytest.mark.parametrize("guide", [with_factor, with_factor_outside, observing])
@pytest.mark.parametrize("method", METHODS)
def test_what_only_trains_is_no_part_of_a_guides_density(guide: Any, method: Any) -> None:
    assert is_right(log_evidence((Conjugate.model, guide), X, method=method, seed=0), EXACT)


def test_a_loss_with_such_terms_is_not_called_an_elbo() -> None:
    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(pyro.param("a", torch.tensor(0.5)) * x, 0.75))
            pyro.factor("aux", torch.full((len(x),), 3.0), has_rsample=False)

    result = quick((Conjugate.model, guide), X, validation=X, epochs=2)
    last = result.metrics[-1]
    assert "train_elbo" not in last
    assert last["train_objective"] == pytest.approx(last["validation_elbo"] - 3, abs=0.3)
    assert last["validation_elbo"] < EXACT + 0.3
    assert "'aux' counts in the training loss and not in the guide's density" in result.notes[0]


def test_neither_is_one_of_sites_that_are_weighted() -> None:
    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(pyro.param("a", torch.tensor(0.5)) * x, 0.75))

    result = quick((poutine.scale(Conjugate.model, 0.5), guide), X, epochs=1)
    assert "train_objective" in result.metrics[0]
    assert "weighted in training (poutine.scale)" in result.notes[0]


class BatchNormalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = transforms.BatchNorm(2)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            base = dist.Normal(x / 2, 0.8).to_event(1)
            pyro.sample("z", dist.TransformedDistribution(base, [self.norm]))


def test_a_guide_that_scores_its_draws_by_another_map_while_it_is_trained() -> None:
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    result = quick(BatchNormalised(), x, epochs=2)
    assert "train_objective" in result.metrics[0]
    assert "(a batch normalisation)" in " ".join(result.notes)


def by_delta(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        u = pyro.sample("u", dist.Normal(0.3 * x.log(), 0.9), infer={"is_auxiliary": True})
        pyro.sample("s", dist.Delta(u.exp(), log_density=-u))


def by_factor(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        u = pyro.sample("u", dist.Normal(0.3 * x.log(), 0.9), infer={"is_auxiliary": True})
        pyro.sample("s", dist.Delta(u.exp()))
        pyro.factor("jacobian", -u, has_rsample=True)


def wrong_factor(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        u = pyro.sample("u", dist.Normal(0.3 * x.log(), 0.9), infer={"is_auxiliary": True})
        pyro.sample("s", dist.Delta(u.exp()))
        pyro.factor("jacobian", u, has_rsample=True)


def scales(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        s = pyro.sample("s", dist.LogNormal(0.0, 1.0))
        pyro.sample("x", dist.Exponential(1 / s), obs=x)


@pytest.mark.parametrize("guide", [by_delta, by_factor])
@pytest.mark.parametrize("method", METHODS)
def test_a_jacobian_by_a_factor_counts_as_by_a_delta(guide: Any, method: Any) -> None:
    x = torch.tensor([0.5, 2.0, 4.0])
    grid = torch.linspace(-12, 12, 200001, dtype=torch.double)
    log_joint = dist.Normal(0.0, 1.0).log_prob(grid) - grid - x.double()[:, None] * (-grid).exp()
    exact = log_joint.logsumexp(-1) + math.log(24 / 200000)
    found = log_evidence((scales, guide), x, method=method, seed=0)
    assert ((found.log_evidence - exact).abs() < 4.5 * found.standard_error + 1e-4).all()


def test_a_wrong_jacobian_is_refused() -> None:
    with refused("s", remedy="log |det|"):
        log_evidence((scales, wrong_factor), torch.tensor([0.5, 2.0, 4.0]))


@pytest.mark.parametrize(
    "turn", [lambda u: (u**2, -(2 * u.abs()).log()), lambda u: (u.abs(), 0 * u)]
)
def test_a_map_that_turns_back(turn: Any) -> None:
    """Its derivative is right wherever one looks, and two draws give one latent."""

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            u = pyro.sample("u", dist.Normal(x * 0, 1.0), infer={"is_auxiliary": True})
            value, log_density = turn(u)
            pyro.sample("s", dist.Delta(value, log_density=log_density))

    with refused("s", remedy="one-to-one"):
        log_evidence((scales, guide), torch.tensor([0.5, 2.0, 4.0]))


def test_a_transform_outside_of_its_domain() -> None:
    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            square = transforms.PowerTransform(torch.tensor(2.0))
            pyro.sample("s", dist.TransformedDistribution(dist.Normal(x * 0, 1.0), [square]))

    with refused("s", remedy="domain"):
        log_evidence((scales, guide), torch.tensor([0.5, 2.0, 4.0]))


def test_a_factor_that_does_not_say_what_it_is() -> None:
    def guide(x: Tensor) -> None:
        normal_guide(x)
        pyro.factor("aux", torch.tensor(3.0))

    with refused("aux", remedy="has_rsample=True"):
        log_evidence((Conjugate.model, guide), X)


def nested(x: Tensor) -> None:
    scale = pyro.sample("scale", dist.Uniform(0.0, 10.0))
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("n", len(x)):
        pyro.sample("x", dist.Normal(mean, scale), obs=x)


def nested_guide(x: Tensor) -> None:
    pyro.sample("scale", dist.Uniform(0.0, 10.0))
    pyro.sample("mean", dist.Normal(x.mean() * 20 / 21, 0.25))


def computed(x: Tensor) -> None:
    pyro.deterministic("scale", torch.tensor(1.0))
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("n", len(x)):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


def as_parameter(x: Tensor) -> None:
    scale = pyro.param("scale", torch.tensor(1.0))
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("n", len(x)):
        pyro.sample("x", dist.Normal(mean, scale), obs=x)


CONDITIONED = poutine.condition(nested, {"scale": torch.tensor(1.0)})


@pytest.mark.parametrize(
    ("model", "does"),
    [
        (CONDITIONED, "observes"),
        (computed, "computes (pyro.deterministic)"),
        (as_parameter, "has as a parameter"),
    ],
)
@pytest.mark.parametrize("verb", [log_evidence, quick])
def test_a_name_that_is_no_latent_of_the_model(model: Any, does: str, verb: Any) -> None:
    with refused("scale", remedy="leave it out of the guide") as error:
        verb((model, nested_guide), args=(X,))
    assert f"the model {does}" in str(error.value)


# --- the model's sites ----------------------------------------------------------------------------


def squared(x: Tensor) -> None:
    m = pyro.sample("m", dist.Normal(0.0, 1.0))
    sd = pyro.sample("sd", dist.Delta(m**2 + 0.1))
    with pyro.plate("n", len(x)):
        pyro.sample("x", dist.Normal(m, sd), obs=x)


def without_delta(x: Tensor) -> None:
    pyro.sample("m", dist.Normal(1.5, 0.5))


def with_delta(x: Tensor) -> None:
    m = pyro.sample("m", dist.Normal(1.5, 0.5))
    pyro.sample("sd", dist.Delta(m**2 + 0.1))


@pytest.mark.parametrize("guide", [without_delta, with_delta])
@pytest.mark.parametrize("method", METHODS)
def test_a_delta_of_the_model_is_computed(guide: Any, method: Any) -> None:
    x = torch.linspace(-1.0, 4.0, 10)  # m is about 1.5; with other data, -1.5 as well
    grid = torch.linspace(-8, 8, 400001, dtype=torch.double)
    likelihood = dist.Normal(grid[:, None], (grid**2 + 0.1)[:, None]).log_prob(x.double()).sum(-1)
    log_joint = dist.Normal(0.0, 1.0).log_prob(grid) + likelihood
    exact = log_joint.logsumexp(0).item() + math.log(16 / 400000)
    count = 20_000 if method == "importance" else 64
    found = log_evidence((squared, guide), x, method=method, num_particles=count, seed=0)
    assert is_right(found, exact)


def test_a_delta_that_the_guide_draws_instead() -> None:
    def guide(x: Tensor) -> None:
        pyro.sample("m", dist.Normal(1.5, 0.5))
        pyro.sample("sd", dist.LogNormal(0.0, 1.0))

    with refused("sd", remedy="leave it out of the guide") as error:
        log_evidence((squared, guide), X)
    assert "Delta" in str(error.value)


def coin(x: Tensor) -> None:
    f = pyro.sample("f", dist.Beta(10.0, 10.0).mask(False))
    with pyro.plate("n", len(x)):
        pyro.sample("x", dist.Bernoulli(f), obs=x)


def masked_by_handler(x: Tensor) -> None:
    with poutine.mask(mask=False):
        f = pyro.sample("f", dist.Beta(10.0, 10.0))
    with pyro.plate("n", len(x)):
        pyro.sample("x", dist.Bernoulli(f), obs=x)


def coin_guide(x: Tensor) -> None:
    pyro.sample("f", dist.Beta(6.0, 5.0))


def masked_coin_guide(x: Tensor) -> None:
    with poutine.mask(mask=False):
        pyro.sample("f", dist.Beta(6.0, 5.0))


@pytest.mark.parametrize("model", [coin, masked_by_handler])
@pytest.mark.parametrize("guide", [None, coin_guide, masked_coin_guide])
@pytest.mark.parametrize("method", METHODS)
def test_a_masked_prior_stays_out_where_the_data_depend_on_it(
    model: Any, guide: Any, method: Any
) -> None:
    x = torch.tensor([1.0] * 6 + [0.0] * 4)
    if guide is None:
        guide = AutoNormal(model)
        quick((model, guide), x, epochs=200)
    found = log_evidence((model, guide), x, method=method, seed=0)
    exact = (torch.lgamma(torch.tensor([7.0, 5.0])).sum() - torch.lgamma(torch.tensor(12.0))).item()
    assert is_right(found, exact)
    assert "the model masks the prior of 'f'" in " ".join(found.notes)
    with refused("f"):
        from pyro_vae.inference.evidence.ais import Annealed

        log_evidence((model, guide), x, method=Annealed(5, "prior"))


def test_the_elbo_and_the_evidence_of_an_observed_mask_agree() -> None:
    """Latents that the mask rules out have a density in the guide: their prior counts in training, too."""
    seen = X > 0

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x, obs_mask=seen)

    guide = AutoNormal(model)
    result = quick((model, guide), X, epochs=600)
    exact = torch.where(seen, dist.Normal(0.0, 2**0.5).log_prob(X), 0.0).mean().item()
    elbo = sum(m["train_elbo"] for m in result.metrics[-100:]) / 100
    found = log_evidence((model, guide), X, seed=0)
    known = ~found.without_error  # a mean field is too narrow for some
    each = torch.where(seen, dist.Normal(0.0, 2**0.5).log_prob(X), 0.0)
    off = (found.log_evidence - each).abs()
    assert known.sum() > 10
    assert (off < 4.5 * found.standard_error + 1e-4)[known].all()
    assert exact - 1.0 < elbo < exact + 0.05  # a mean field, and x depends on z


def test_a_transformed_posterior_of_another_fit() -> None:
    """NeuTra masks the shared latent's own density, and gives the sites theirs by Deltas."""

    def model(y: Tensor) -> None:
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Normal(a, 1.0))
        with pyro.plate("n", len(y)):
            pyro.sample("y", dist.Normal(b, 1.0), obs=y)

    y = torch.tensor([1.0, 2.0, 0.5])
    first = AutoMultivariateNormal(model)
    quick((model, first), y, epochs=400)
    reparametrised = NeuTraReparam(first.requires_grad_(False)).reparam(model)
    guide = AutoNormal(reparametrised)
    quick((reparametrised, guide), y, epochs=300)
    found = log_evidence((reparametrised, guide), args=(y,), num_particles=5000, seed=0)
    covariance = torch.full((3, 3), 2.0) + torch.eye(3)
    assert is_right(found, dist.MultivariateNormal(torch.zeros(3), covariance).log_prob(y).item())


def flat_with_factor(v: Tensor) -> None:
    z = pyro.sample("z", dist.ImproperUniform(constraints.real, (), ()))
    pyro.factor("prior", dist.Normal(0.0, 1.0).log_prob(z))
    pyro.sample("v", dist.Normal(z, 1.0), obs=v)


def flat(v: Tensor) -> None:
    z = pyro.sample("z", dist.ImproperUniform(constraints.real, (), ()))
    pyro.sample("v", dist.Normal(z, 1.0), obs=v)


def flat_guide(v: Tensor) -> None:
    pyro.sample("z", dist.Normal(0.3, 0.8))


def test_a_flat_site_whose_density_stands_elsewhere() -> None:
    v = torch.tensor(0.7)
    exact = dist.Normal(0.0, 2**0.5).log_prob(v).item()
    for method in METHODS:
        found = log_evidence((flat_with_factor, flat_guide), args=(v,), method=method, seed=0)
        assert is_right(found, exact)
        assert "'z' is flat" in " ".join(found.notes)
    with refused("z", remedy="proper prior"):
        log_evidence((flat, flat_guide), args=(v,))

    def series(y: Tensor) -> None:
        x = pyro.sample("x", dist.Normal(torch.zeros(4), 1.0).to_event(1))
        pyro.sample("y", dist.Normal(x.cumsum(-1), 0.5).to_event(1), obs=y)

    y = X[:4].cumsum(0)
    split = poutine.reparam(series, {"x": SplitReparam([3, 1], -1)})
    guide = AutoMultivariateNormal(split, init_scale=0.3)
    quick((split, guide), args=(y,), epochs=600)
    found = log_evidence((split, guide), args=(y,), num_particles=5000, seed=0)
    sums = torch.ones(4, 4).tril()
    normal = dist.MultivariateNormal(torch.zeros(4), sums @ sums.T + 0.25 * torch.eye(4))
    assert is_right(found, normal.log_prob(y).item())


def test_a_likelihood_that_no_latent_moves_is_told_of() -> None:
    def model(x: Tensor) -> None:
        loc = pyro.param("loc", torch.tensor(0.3))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    said = "no latent of the guide moves the likelihood"
    assert said in " ".join(log_evidence((model, normal_guide), X, seed=0).notes)
    assert said not in " ".join(log_evidence((Conjugate.model, normal_guide), X, seed=0).notes)


GRID = torch.linspace(0, 40, 400001, dtype=torch.double)[1:]


@pytest.mark.parametrize(
    "prior",
    [
        dist.Gamma(2.0, 1.0),
        dist.Exponential(1.0),
        dist.HalfNormal(2.0),
        dist.Uniform(0.0, 4.0),
        dist.LogNormal(0.0, 0.5),
    ],
)
def test_draws_where_the_prior_has_nothing_weigh_nothing(prior: Any) -> None:
    """Whatever the prior's formula, and the likelihood, say there."""

    def model(x: Tensor) -> None:
        s = pyro.sample("s", prior)
        with pyro.plate("n", len(x)):
            pyro.sample("x", dist.Normal(0.0, s), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("s", dist.StudentT(3.0, 1.0, 0.5))

    x = X[:5]
    inside = prior.support.check(GRID)
    log_prior = torch.where(
        inside,
        prior.log_prob(GRID.clamp(max=4) if isinstance(prior, dist.Uniform) else GRID),
        -math.inf,
    )
    log_joint = log_prior + dist.Normal(0.0, GRID[:, None]).log_prob(x).sum(-1)
    exact = log_joint.logsumexp(0).item() + math.log(40 / 400000)
    found = log_evidence((model, guide), args=(x,), num_particles=20_000, seed=0)
    assert is_right(found, exact)
    assert "the prior has no density" in " ".join(found.notes)
    for seed in range(6):  # 6 % of the guide's draws are below 0, where the likelihood raises
        log_evidence((model, guide), args=(x,), num_particles=8, seed=seed)
        with refused("s", remedy="prior's support"):
            log_evidence((model, guide), args=(x,), method="ais", num_particles=8, seed=seed)


def test_a_masked_latent_that_is_summed_out_and_counts_elsewhere() -> None:
    def model(z: Tensor) -> None:
        p = pyro.sample("p", dist.Beta(2.0, 2.0))
        k = pyro.sample("k", dist.Binomial(3, 0.5).mask(False), infer={"enumerate": "parallel"})
        pyro.sample("y", dist.Binomial(3, 0.1 + 0.8 * p), obs=k)
        pyro.sample("z", dist.Normal(k, 1.0), obs=z)

    def guide(z: Tensor) -> None:
        pyro.sample("p", dist.Beta(2.0, 2.5))

    z, k = torch.tensor(1.0), torch.arange(4.0)
    p = (torch.arange(20000) + 0.5) / 20000
    each = dist.Binomial(3, (0.1 + 0.8 * p).unsqueeze(-1)).log_prob(k)
    each = each + dist.Normal(k, 1.0).log_prob(z)
    log_joint = dist.Beta(2.0, 2.0).log_prob(p) + each.logsumexp(-1)
    found = log_evidence((model, guide), args=(z,), num_particles=5000, seed=0)
    assert is_right(found, log_joint.logsumexp(0).item() - math.log(20000))


# --- latents that come and go, and values of other kinds ------------------------------------------


def test_latents_whose_set_depends_on_a_draw() -> None:
    def model(hours: Tensor) -> None:
        if pyro.sample("lazy", dist.Bernoulli(0.9)):
            ignores = pyro.sample("ignores", dist.Bernoulli(0.8))
            pyro.sample("hours", dist.Normal(8 + 2 * ignores, 1.0), obs=hours)
        else:
            pyro.sample("hours", dist.Normal(6.0, 1.0), obs=hours)

    def guide(hours: Tensor) -> None:
        if pyro.sample("lazy", dist.Bernoulli(0.8)):
            pyro.sample("ignores", dist.Bernoulli(0.5))

    hours = torch.tensor(8.5)
    likely = dist.Normal(torch.tensor([10.0, 8.0, 6.0]), 1.0).log_prob(hours)
    exact = (likely + torch.tensor([0.72, 0.18, 0.1]).log()).logsumexp(0).item()
    for seed in range(3):
        found = log_evidence((model, guide), args=(hours,), num_particles=400, seed=seed)
        assert is_right(found, exact)

    def short(hours: Tensor) -> None:  # now and then it has not what the model has
        pyro.sample("lazy", dist.Bernoulli(0.8))

    with refused("ignores", remedy="pyro.sample('ignores', ...)"):
        log_evidence((model, short), args=(hours,), num_particles=200, seed=0)


@pytest.mark.parametrize("value", [torch.tensor(9.5), 9.5])
def test_a_plain_number_is_observed(value: Any) -> None:
    def scale(guess: float) -> Tensor:
        weight = pyro.sample("weight", dist.Normal(guess, 1.0))
        return pyro.sample("measurement", dist.Normal(weight, 0.75))

    def guide(guess: float) -> None:
        pyro.sample("weight", dist.Normal(pyro.param("a", torch.tensor(9.1)), 0.6))

    model = pyro.condition(scale, {"measurement": value})
    exact = dist.Normal(8.5, 1.25).log_prob(torch.tensor(9.5)).item()
    assert is_right(log_evidence((model, guide), args=(8.5,), seed=0), exact)
    result = quick((model, guide), args=(8.5,), epochs=100)
    assert abs(result.metrics[-1]["train_elbo"] - exact) < 0.5


def test_a_confident_classifier() -> None:
    """A class without a chance is left out rightly, beside other latents too, and one with one is not."""
    centres = 10 * torch.arange(3.0)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.Categorical(torch.ones(3)))
            z = pyro.sample("z", dist.Normal(10.0 * y, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def classified(x: Tensor, classes: Tensor) -> None:
        with pyro.plate("data", len(x)):
            logits = 50 * nn.functional.one_hot(classes, 3).float()
            y = pyro.sample("y", dist.Categorical(logits=logits))
            pyro.sample("z", dist.Normal((10.0 * y + x) / 2, 0.8))

    x = torch.tensor([0.2, 10.4, 19.5, 9.6])
    exact = dist.Normal(centres, 2**0.5).log_prob(x[:, None]) - math.log(3)
    nearest = (x[:, None] - centres).abs().argmin(-1)
    found = log_evidence((model, lambda x: classified(x, nearest)), x, seed=0)
    off = found.log_evidence - exact.logsumexp(-1)
    assert (off.abs() < 4.5 * found.standard_error + 1e-4).all()
    with refused("y", remedy="prior_share"):
        log_evidence((model, lambda x: classified(x, nearest * 0)), x, seed=0)


def test_a_model_that_holds_only_where_its_latents_take_all_values() -> None:
    def model(x: Tensor) -> None:
        shift = pyro.param("shift", torch.tensor(-1.0))
        with pyro.plate("data", len(x)):
            k = pyro.sample(
                "k", dist.Categorical(torch.tensor([0.3, 0.7])), infer={"enumerate": "parallel"}
            )
            assert k.shape[0] == 2
            assert k.dim() > 1
            pyro.sample("x", dist.Normal(2.0 * k + shift, 1.0), obs=x)

    each = dist.Normal(torch.tensor([-1.0, 1.0]), 1.0).log_prob(X[:, None])
    exact = (each + torch.tensor([0.3, 0.7]).log()).logsumexp(-1).mean().item()
    program = model, lambda x: None
    assert log_evidence(program, X, num_particles=1).mean == pytest.approx(exact, abs=1e-4)
    result = quick(program, X, epochs=1)
    assert result.metrics[0]["train_elbo"] == pytest.approx(exact, abs=1e-4)


# --- people's own code ----------------------------------------------------------------------------

FLOWS: list[Callable[[], Any]] = [
    lambda: transforms.planar(2),
    lambda: transforms.radial(2),
    lambda: transforms.sylvester(2),
    lambda: transforms.neural_autoregressive(2),
    lambda: transforms.conditional_planar(2, 2).condition(torch.zeros(2)),
]


def two(x: Tensor) -> None:
    z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


def flow_guide(flow: Any, x: Tensor) -> None:
    base = dist.Normal(torch.zeros(2), 1.2).to_event(1)
    pyro.sample("z", dist.TransformedDistribution(base, [flow]))


@pytest.mark.parametrize("make", FLOWS)
def test_flows_that_score_only_what_they_have_just_drawn(make: Any) -> None:
    torch.manual_seed(1)
    x, flow = torch.tensor([0.3, 0.5]), make()
    found = log_evidence((two, partial(flow_guide, flow)), args=(x,), num_particles=500, seed=0)
    exact = dist.Normal(0.0, 2**0.5).log_prob(x).sum().item()
    assert is_right(found, exact)


def test_a_flow_of_bounded_units_never_reaches_the_posterior() -> None:
    torch.manual_seed(0)
    flow = transforms.block_autoregressive(2)
    with refused("z", remedy="without bounds"):
        log_evidence((two, partial(flow_guide, flow)), args=(torch.tensor([0.3, 0.5]),))


ERRORS = [KeyError, IndexError, AssertionError, TypeError, AttributeError, NotImplementedError]


class Own(dist.TorchDistribution):
    """Scores single draws alone, or nothing."""

    arg_constraints: dict[str, Any] = {}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Tensor, error: type[Exception], always: bool = False) -> None:
        self.loc, self.error, self.always = loc, error, always
        super().__init__(loc.shape, validate_args=False)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = torch.Size(sample_shape) + self.loc.shape
        return self.loc + 0.8 * torch.randn(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        if self.always or value.dim() > self.loc.dim():
            raise self.error("of one's own")
        return dist.Normal(self.loc, 0.8).log_prob(value)


@pytest.mark.parametrize("error", ERRORS)
def test_whatever_an_own_distribution_raises(error: type[Exception]) -> None:
    def once(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", Own(x / 2, error))

    assert is_right(log_evidence((Conjugate.model, once), X, num_particles=200, seed=0), EXACT)

    def never(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", Own(pyro.param("a", torch.tensor(0.5)) * x, error, always=True))

    for verb in (log_evidence, quick, check_program):
        with refused_with("'z'", error.__name__):
            verb((Conjugate.model, never), X)


@pytest.mark.parametrize("given", [1.0, None, torch.zeros(7), torch.zeros(()).long()])
def test_an_own_log_prob_of_another_kind(given: Any) -> None:
    class Strange(dist.Normal):
        def log_prob(self, value: Tensor) -> Any:
            return given

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", Strange(z, torch.ones(len(x))), obs=x)

    for verb in (log_evidence, quick):
        with refused("x", expected="a real tensor of shape"):
            verb((model, normal_guide), X)


class WithTuples(Own):
    """Its shapes are plain tuples."""

    def __init__(self, loc: Tensor) -> None:
        super().__init__(loc, KeyError)
        self._batch_shape, self._event_shape = tuple(loc.shape[:-1]), tuple(loc.shape[-1:])

    def expand(self, batch_shape: Any, _instance: Any = None) -> "WithTuples":
        return WithTuples(self.loc.expand(*batch_shape, self.loc.shape[-1]))

    def log_prob(self, value: Tensor) -> Tensor:
        return dist.Normal(self.loc, 0.8).log_prob(value).sum(-1)


def test_a_tuple_as_event_shape() -> None:
    x = X.reshape(10, 2)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", WithTuples(x / 2))

    assert is_right(log_evidence((model, guide), x, seed=0), 2 * EXACT)


def test_a_likelihood_that_cannot_score_the_data() -> None:
    torch.manual_seed(4)  # some rows come from a negative value of the Gamma
    y = torch.distributions.Gamma(2.0, 1.0).sample((100, 1))
    spline = transforms.Spline(1, count_bins=8, bound=4.0, order="quadratic")

    def model(y: Tensor) -> None:
        pyro.module("spline", spline)
        with pyro.plate("n", len(y)):
            base = dist.Gamma(2.0, 1.0).expand([len(y), 1]).to_event(1)
            pyro.sample("y", dist.TransformedDistribution(base, [spline]), obs=y)

    program = model, lambda y: None
    with refused("y"):
        quick(program, y, epochs=1)
    found = log_evidence(program, y)
    lost = int(found.log_evidence.isnan().sum())
    assert 0 < lost < 100
    assert f"{lost} of 100 units have NaN weights" in found.summary()


def newton(x: Tensor) -> None:
    """A guide that takes a step up its own log-joint."""
    start = pyro.param("start", torch.tensor(0.1)) * torch.ones_like(x)
    start = start if start.requires_grad else start.requires_grad_()
    log_joint = dist.Normal(0.0, 1.0).log_prob(start) + dist.Normal(start, 1.0).log_prob(x)
    (slope,) = torch.autograd.grad(log_joint.sum(), start, create_graph=True)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(start + slope / 2, 0.75))


def test_programs_that_differentiate_inside() -> None:
    result = quick((Conjugate.model, newton), X, validation=X, epochs=3)
    assert abs(result.metrics[-1]["validation_elbo"] - EXACT) < 0.3
    for method in METHODS:
        assert is_right(log_evidence((Conjugate.model, newton), X, method=method, seed=0), EXACT)


@pytest.mark.parametrize("kind", [AutoNormalMessenger, AutoHierarchicalNormalMessenger])
def test_messenger_guides(kind: Any) -> None:
    guide = kind(Conjugate.model)
    result = quick((Conjugate.model, guide), X, epochs=400)
    elbo = sum(m["train_elbo"] for m in result.metrics[-50:]) / 50
    assert abs(elbo - EXACT) < 0.05
    assert is_right(log_evidence((Conjugate.model, guide), X, seed=0), EXACT)


def test_a_guide_that_keeps_what_its_first_call_was_of() -> None:
    @easy_guide(Conjugate.model)
    def guide(self: Any, x: Tensor) -> None:
        with self.plate("data", len(x)):
            loc = pyro.param("loc", lambda: torch.zeros(20), event_dim=0)
            self.group(match="z").sample("zs", dist.Normal(loc[..., None], 1.0).to_event(1))

    guide(X)
    kept = dict(guide.plates)
    for call in ({"args": (X,)}, {"data": X}):
        assert is_right(log_evidence((Conjugate.model, guide), **call, seed=0), EXACT)
    assert guide.plates == kept
    guide(X)


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(2, affine=False)])
def test_a_program_is_weighed_in_evaluation_mode_throughout(layer: nn.Module) -> None:
    """Also where it is brought back to what it was, for calls of another size."""

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def model(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(self.layer(10 * z), 10.0).to_event(1), obs=x)

        def guide(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x / 20, 0.75).to_event(1))

    x = 10 * torch.randn(101, 2, generator=torch.Generator().manual_seed(0))
    program = Noisy().train()
    found = log_evidence(program, x, seed=0)
    exact = dist.Normal(0.0, 200**0.5).log_prob(x).sum(-1).mean().item()
    assert abs(found.mean - exact) < 4.5 * found.mean_standard_error + 1e-4
    assert layer.training
    assert not found.notes


def test_a_closed_over_normalisation_is_evaluated() -> None:
    norm = transforms.BatchNorm(2)
    norm.moving_mean.fill_(1.0)

    def model(x: Tensor) -> None:
        pyro.module("norm", norm)
        with pyro.plate("data", len(x)):
            base = dist.Normal(torch.zeros(2), 1.0).to_event(1)
            pyro.sample("x", dist.TransformedDistribution(base, [norm]), obs=x)

    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(2)) + 1
    found = log_evidence((model, lambda x: None), x)
    exact = dist.Normal(1.0, 1.0).log_prob(x).sum(-1).mean().item()
    assert found.unit == "data"
    assert found.mean == pytest.approx(exact, abs=1e-3)
    assert norm.training


def test_the_mean_of_a_latent_that_depends_on_another() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Normal(0.0, 1.0))
            b = pyro.sample("b", dist.Normal(a, 1.0))
            pyro.sample("x", dist.Normal(b, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Normal(x / 3, 0.5))
            pyro.sample("b", dist.Normal(a.exp(), 0.3))

    x = X[:4]
    exact = (x / 3 + 0.125).exp()
    error = exact * math.sqrt(math.expm1(0.25) / 1000)
    found = posterior((model, guide), x, method=Guide(), num_draws=1000, seed=0)
    means = found.means
    assert ((means["a"] - x / 3).abs() < 4.5 * 0.5 / 1000**0.5).all()
    assert ((means["b"] - exact).abs() < 4.5 * error).all()


def test_the_means_of_an_autoguide_are_those_of_its_posterior() -> None:
    def model(y: Tensor) -> None:
        scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        with pyro.plate("n", len(y)):
            pyro.sample("y", dist.Normal(0.0, scale), obs=y)

    guide = AutoNormal(model, init_scale=0.5)
    guide(X)
    drawn = {"method": Guide(), "num_draws": 1000}
    means = [posterior((model, guide), X, seed=seed, **drawn).means for seed in range(3)]
    assert [*means[0]] == ["scale"]
    loc, sd = guide.locs.scale.item(), guide.scales.scale.item()
    exact = math.exp(loc + sd**2 / 2)
    error = exact * math.sqrt(math.expm1(sd**2) / 1000)
    assert all(abs(mean["scale"].item() - exact) < 5 * error for mean in means)


@pytest.mark.parametrize("seed", [0, 1])
def test_masked_counts_count_for_what_they_allow_though_most_are_impossible(seed: int) -> None:
    """Pyro's epidemics: counts without a prior, whose differences are observed.

    The counts that a prior draws are nearly always impossible, and remain so if one of them moves. A guide
    of other draws meets other counts, so the figures of several seeds must agree.
    """
    seen = [torch.tensor(y) for y in (1.0, 0.0, 2.0, 1.0)]
    size = 7

    @config_enumerate
    def model() -> None:
        share = pyro.sample("share", dist.Beta(2.0, 2.0))
        left = torch.tensor(float(size))
        for t, y in enumerate(seen):
            before, left = left, pyro.sample(f"left_{t}", dist.Binomial(size, 0.5).mask(False))
            pyro.sample(f"gone_{t}", dist.ExtendedBinomial(before, share), obs=before - left)
            pyro.sample(f"seen_{t}", dist.ExtendedBinomial(before - left, 0.5), obs=y)

    def guide() -> None:
        pyro.sample("share", dist.Beta(2.0, 2.5))

    share = torch.linspace(0, 1, 202, dtype=torch.float64)[1:-1]
    paths = torch.cartesian_prod(*[torch.arange(size + 1.0, dtype=torch.float64)] * len(seen))
    gone = -paths.diff(prepend=torch.full((len(paths), 1), float(size)), dim=1)
    before = paths + gone
    given = dist.ExtendedBinomial(before, share[:, None, None]).log_prob(gone)
    noticed = dist.ExtendedBinomial(gone, 0.5).log_prob(torch.stack(seen).double())
    log_p = (given + noticed).sum(-1).logsumexp(-1) + dist.Beta(2.0, 2.0).log_prob(share)
    exact = torch.trapezoid(log_p.exp(), share).log().item()
    pyro.set_rng_seed(seed)
    assert is_right(log_evidence((model, guide), args=(), seed=seed), exact)
