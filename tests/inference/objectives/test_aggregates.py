"""TC, DIP and MMD by brute force over pairs of data."""

import itertools
import math
from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from refused import refused
from torch import Tensor

from pyro_vae.guides import FullCovarianceNormal
from pyro_vae.inference.objectives import (
    DIPVAE1,
    DIPVAE2,
    TCVAE,
    WAE,
    FactorVAE,
    Gaussian,
    InfoVAE,
    InverseMultiquadric,
    Tempered,
)
from pyro_vae.inference.objectives.mmd import squared_mmd
from pyro_vae.inference.objectives.objective import Objective
from pyro_vae.inference.objectives.tc import log_stratified_weights
from pyro_vae.likelihoods import FixedScaleNormal
from pyro_vae.models import VAE
from pyro_vae.networks import MLP

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) * 2
Parts = dict[str, Tensor]


def story(**parts) -> VAE:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        net = partial(MLP, hidden_dims=[5])
        made = VAE((4,), 2, likelihood=FixedScaleNormal, encoder=net, decoder=net, **parts)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.mul_(2)
        return made


VAE_ = story()


def by_hand(vae: VAE, x: Tensor = X) -> Parts:
    """The draws that come next, and what is said of them."""
    q = vae.recognition(x).base_dist
    z = (q.loc + q.scale * torch.randn_like(q.loc)).detach()
    return {
        "z": z,
        "loc": q.loc.detach(),
        "scale": q.scale.detach(),
        "log_likelihood": vae.likelihood(z).log_prob(x).detach(),
        "log_prior": dist.Normal(0.0, 1.0).log_prob(z).sum(-1),
        "log_guide": q.log_prob(z).sum(-1).detach(),
        "prior": torch.randn_like(z),
    }


def value(elbo: Objective, vae: VAE, x: Tensor = X, num_data: int | None = None) -> float:
    elbo = elbo.planned(vae, x, num_data=num_data)
    pyro.set_rng_seed(6)
    return -elbo.loss(vae.model, vae.guide, x)


def expected() -> Parts:
    pyro.set_rng_seed(6)
    return by_hand(VAE_)


def elbo_of(parts: Parts) -> float:
    return float((parts["log_likelihood"] + parts["log_prior"] - parts["log_guide"]).sum())


# --- total correlation ----------------------------------------------------------------------------


def test_the_three_terms_over_all_data_are_sums_over_pairs() -> None:
    parts = expected()
    information = correlation = rest = 0.0
    for i in range(6):
        density = np.zeros((6, 2))
        for j, d in itertools.product(range(6), range(2)):
            loc, scale, z = (float(parts[n][k, d]) for n, k in (("loc", j), ("scale", j), ("z", i)))
            density[j, d] = math.exp(-((z - loc) ** 2) / (2 * scale**2)) / (
                scale * math.sqrt(2 * math.pi)
            )
        joint, numbers = math.log(density.prod(1).mean()), math.log(density.mean(0).prod())
        information += float(parts["log_guide"][i]) - joint
        correlation += joint - numbers
        rest += numbers - float(parts["log_prior"][i])
    distortion = -float(parts["log_likelihood"].sum())
    for alpha, beta, gamma in ((1.0, 1.0, 1.0), (0.5, 6.0, 2.0), (0.0, 0.0, 1.0)):
        kl = alpha * information + beta * correlation + gamma * rest
        found = value(TCVAE(beta, alpha, gamma), VAE_, num_data=6)
        assert found == pytest.approx(-distortion - kl, rel=1e-4)


def test_weights_of_one_are_the_elbo_for_any_number_of_data() -> None:
    elbo = elbo_of(expected())
    for size in (6, 100, 10**6):
        assert value(TCVAE(1.0, num_data=size), VAE_) == pytest.approx(elbo, rel=1e-4)
    alone = value(TCVAE(50.0), VAE_, X[:1], num_data=10)  # of a single datum nothing is said
    assert alone == pytest.approx(value(TCVAE(1.0), VAE_, X[:1], num_data=10), rel=1e-5)


@pytest.mark.parametrize("batch", [2, 3, 5])
def test_over_all_batches_the_aggregate_is_unbiased(batch: int) -> None:
    """q(z_0) = mean_j a_j, from each batch that holds unit 0 and some of the other four."""
    a = torch.tensor([3.0, 1.0, 0.2, 5.0, 0.7])
    weights = log_stratified_weights(batch, 5, torch.zeros(())).exp()
    found = [
        float(weights[0] @ a[[0, *others]])
        for others in itertools.combinations(range(1, 5), batch - 1)
    ]
    assert np.mean(found) == pytest.approx(float(a.mean()), rel=1e-6)
    torch.testing.assert_close(weights.sum(1), torch.ones(batch))


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_a_weight_of_the_kl_term_weighs_its_three_parts(weight: float) -> None:
    tempered = Tempered(weight)
    elbo = TCVAE(6.0, 0.5, 2.0).planned(VAE_, X, num_data=6)
    pyro.set_rng_seed(6)
    found = -elbo.loss(tempered(VAE_.model), tempered(VAE_.guide), X)
    log_likelihood = float(expected()["log_likelihood"].sum())
    kl = log_likelihood - value(TCVAE(6.0, 0.5, 2.0), VAE_, num_data=6)
    assert found == pytest.approx(log_likelihood - weight * kl, rel=1e-4)


@pytest.mark.parametrize("elbo", [TCVAE(), DIPVAE1(), DIPVAE2(), InfoVAE(), WAE(), FactorVAE()])
def test_padding_must_not_count(elbo: Objective) -> None:
    is_datum = torch.tensor([True] * 5 + [False])
    model, guide = (poutine.mask(part, is_datum) for part in (VAE_.model, VAE_.guide))
    with refused("z", remedy="without padding"):
        elbo.planned((model, guide), X, num_data=6)


def test_how_many_data_there_are_is_asked_for() -> None:
    with refused("num_data", remedy="num_data"):
        TCVAE().loss(VAE_.model, VAE_.guide, X)
    with refused("num_data", remedy="num_data"):
        TCVAE(num_data=5).loss(VAE_.model, VAE_.guide, X)


def subsampled(x: Tensor, size: int):
    def model(x: Tensor) -> None:
        with pyro.plate("rows", len(x), subsample_size=size) as index:
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", VAE_.likelihood(z), obs=x[index])

    def guide(x: Tensor) -> None:
        with pyro.plate("rows", len(x), subsample_size=size) as index:
            pyro.sample("z", VAE_.recognition(x[index]))

    return model, guide


def test_a_subsampled_plate_says_how_many() -> None:
    """With equal data all terms but TC's and MI's are means; q(z) is then q(z | x)."""
    x = X[:1].expand(12, 4)
    pair = subsampled(x, 4)
    pyro.set_rng_seed(1)
    found = -TCVAE(6.0, alpha=3.0).loss(*pair, x)
    pyro.set_rng_seed(1)
    draws = TCVAE(6.0).planned(pair, x).draw(*pair, (x,), {})
    assert (draws.scale, draws.count) == (3.0, 12.0)
    assert math.isfinite(found)


# --- covariances ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DIPVAE1, DIPVAE2])
def test_the_penalty_is_that_of_the_covariance(kind) -> None:
    parts = expected()
    c = np.cov(parts["loc"].numpy().T, bias=True)
    if kind is DIPVAE2:
        c = c + np.diag(parts["scale"].square().mean(0).numpy())
    penalty = 3 * (c[0, 1] ** 2 + c[1, 0] ** 2) + 0.5 * ((np.diag(c) - 1) ** 2).sum()
    assert value(kind(3, 0.5), VAE_) == pytest.approx(elbo_of(parts) - 6 * penalty, rel=1e-4)


def test_a_full_covariance_counts_within_each_datum() -> None:
    vae = story(guide=FullCovarianceNormal)
    fn = vae.recognition(X)
    c = (fn.covariance_matrix.mean(0) + torch.cov(fn.mean.T, correction=0)).detach()
    penalty = 3 * 2 * float(c[0, 1]) ** 2 + 0.5 * float((c.diagonal() - 1).square().sum())
    free = value(DIPVAE2(0, 0), vae)
    assert value(DIPVAE2(3, 0.5), vae) == pytest.approx(free - 6 * penalty, rel=1e-4)


# --- MMD ------------------------------------------------------------------------------------------


def brute_mmd(one: Tensor, other: Tensor, k) -> float:
    n = len(one)
    pairs = [(i, j) for i in range(n) for j in range(n)]
    within = sum(k(a[i], a[j]) for a in (one, other) for i, j in pairs if i != j) / (n * (n - 1))
    return float(within - 2 * sum(k(one[i], other[j]) for i, j in pairs) / n**2)


def multiquadric(a: Tensor, b: Tensor) -> float:
    square = float((a - b) @ (a - b))
    return sum(4 * s / (4 * s + square) for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0))


def gaussian(a: Tensor, b: Tensor) -> float:
    return math.exp(-float((a - b) @ (a - b)) / (2 * 2 * 0.7**2))


@pytest.mark.parametrize(
    ("kernel", "k"), [(InverseMultiquadric(), multiquadric), (Gaussian(0.7), gaussian)]
)
def test_infovae_is_its_formula_with_mmd_over_pairs(kernel, k) -> None:
    parts = expected()
    mmd = brute_mmd(parts["z"], parts["prior"], k)
    rate = float((parts["log_guide"] - parts["log_prior"]).sum())
    likelihood = float(parts["log_likelihood"].sum())
    info = likelihood - 0.6 * rate - 6 * (0.4 + 30 - 1) * mmd
    assert value(InfoVAE(30.0, 0.4, kernel), VAE_) == pytest.approx(info, rel=1e-4)
    assert value(WAE(30.0, kernel), VAE_) == pytest.approx(likelihood - 6 * 30 * mmd, rel=1e-4)
    assert value(InfoVAE(1.0, 0.0, kernel), VAE_) == pytest.approx(elbo_of(parts), rel=1e-5)


def test_mmd_is_unbiased_and_that_of_the_distributions() -> None:
    """Normals a distance m apart, under a Gaussian kernel of width b in one dimension: closed form."""
    m, b = 1.5, 0.8
    root = math.sqrt(b**2 / (b**2 + 2))
    exact = 2 * root * (1 - math.exp(-(m**2) / (2 * (b**2 + 2))))
    torch.manual_seed(0)
    found = torch.stack(
        [squared_mmd(torch.randn(8, 1), torch.randn(8, 1) + m, Gaussian(b)) for _ in range(4000)]
    )
    assert abs(found.mean() - exact) < 4 * found.std() / math.sqrt(4000)
    assert squared_mmd(torch.randn(1, 2), torch.randn(1, 2), Gaussian()) == 0


# --- what they refuse -----------------------------------------------------------------------------


def two_latents(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        a = pyro.sample("a", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        b = pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal((a + b).sum(-1), 1.0), obs=x[:, 0])


def two_guides(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        for name in "ab":
            pyro.sample(name, dist.Normal(x[:, :2], 1.0).to_event(1))


def number(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=x[:, 0])


def number_guide(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x[:, 0], 1.0))


def without_plate(x: Tensor) -> None:
    z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(z.sum(), 1.0), obs=x[:, 0])


def guide_without(x: Tensor) -> None:
    pyro.sample("z", dist.Normal(x[0, :2], 1.0).to_event(1))


@pytest.mark.parametrize("kind", [TCVAE, FactorVAE, DIPVAE1, DIPVAE2, InfoVAE, WAE])
@pytest.mark.parametrize(
    ("pair", "subject", "remedy"),
    [
        ((two_latents, two_guides), "a", "join them"),
        ((number, number_guide), "z", "to_event(1)"),
        ((without_plate, guide_without), "z", "put a plate"),
    ],
)
def test_one_vector_a_unit(kind, pair, subject, remedy) -> None:
    with refused(subject, remedy=remedy):
        kind().loss(*pair, X)


def test_guides_that_do_not_say_enough() -> None:
    full = story(guide=FullCovarianceNormal)
    with refused("z", remedy="MeanFieldNormal"):
        value(TCVAE(), full, num_data=6)

    def flow(x: Tensor) -> None:
        base = dist.Normal(x[:, :2], 1.0)
        with pyro.plate("data", len(x)):
            spline = dist.transforms.TanhTransform()
            transformed = dist.TransformedDistribution(base, [spline])
            pyro.sample("z", transformed.to_event(1))

    for kind in (DIPVAE1, DIPVAE2):
        with refused("z", remedy="Gaussian"):
            kind().loss(VAE_.model, flow, X)


def test_a_prior_without_draws_and_guides_that_do_not_overlap() -> None:
    def improper(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            flat = dist.ImproperUniform(dist.constraints.real_vector, (), (2,))
            pyro.sample("x", VAE_.likelihood(pyro.sample("z", flat)), obs=x)

    for kind in (InfoVAE, WAE):
        with refused("z", remedy="Normal"):
            kind().loss(improper, VAE_.guide, X)

    def narrow(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Uniform(x[:, :2], x[:, :2] + 0.1).to_event(1))

    with refused("z", remedy="same support"):
        TCVAE().loss(VAE_.model, narrow, X)


@pytest.mark.parametrize(
    ("make", "subject", "expected"),
    [
        (lambda: TCVAE(beta=-1), "beta", "at least 0"),
        (lambda: TCVAE(num_data=0), "num_data", "at least 1"),
        (lambda: DIPVAE1(diagonal=math.nan), "diagonal", "finite"),
        (lambda: InfoVAE(weight=0.2), "weight", "at least 1"),
        (lambda: InverseMultiquadric([0.0]), "scales", "positive"),
        (lambda: Gaussian(-1), "bandwidth", "positive"),
    ],
)
def test_numbers_that_make_no_sense(make, subject, expected) -> None:
    with refused(subject, expected=expected):
        make()
