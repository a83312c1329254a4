"""With a linear decoder x is a mixture of Gaussians, which has closed forms."""

from functools import partial
from operator import itemgetter

import pyro
import pytest
import torch
from oracles import agrees
from pyro.infer import TraceEnum_ELBO
from refused import refused
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from pyro_vae import fit, log_evidence
from pyro_vae.guides import VonMisesFisher
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.objectives import default_elbo
from pyro_vae.likelihoods import Bernoulli, FixedScaleNormal, Missing
from pyro_vae.models import MixtureVAE
from pyro_vae.networks import MLP
from pyro_vae.program.contract import as_program
from pyro_vae.program.examination import examine

linear = partial(MLP, hidden_dims=())
NOISE = 0.5


@pytest.fixture
def vae() -> MixtureVAE:
    torch.manual_seed(2)
    likelihood = partial(FixedScaleNormal, scale=NOISE)
    vae = MixtureVAE((3,), 2, 4, likelihood=likelihood, encoder=linear, decoder=linear)
    for parameter in (vae.logits, vae.log_scale, *vae.likelihood.parameters()):
        nn.init.normal_(parameter, std=0.5)
    return vae.double().requires_grad_(False)


def marginal(vae: MixtureVAE) -> MixtureSameFamily:
    """Return p(x) as a mixture of p(x | k)."""
    out = vae.likelihood.decoder.layers[-1]
    spread = out.weight * vae.log_scale.exp().unsqueeze(1)  # (K, X, Z)
    covariance = spread @ spread.mT + NOISE**2 * torch.eye(3).double()
    components = MultivariateNormal(vae.loc @ out.weight.T + out.bias, covariance)
    return MixtureSameFamily(Categorical(logits=vae.logits), components)


def data(vae: MixtureVAE, count: int) -> Tensor:
    return marginal(vae).sample((count,))


def test_the_evidence_is_that_of_a_mixture_of_gaussians(vae) -> None:
    x = data(vae, 12)
    expected = marginal(vae).log_prob(x)
    half_from_prior = Importance(0.5)  # which bounds the weights, whatever the guide
    sampled = partial(log_evidence, vae, x, method=half_from_prior, seed=0)
    assert agrees(lambda k: sampled(num_particles=k), 20_000, expected)


def test_the_elbo_of_fit_sums_over_components(vae) -> None:
    """At given z it is log sum_k p(k, z, x) - log q(z | x), by hand."""
    x = data(vae, 5)
    elbo = default_elbo(examine(as_program(vae), x).structure)
    pyro.set_rng_seed(3)
    found = -elbo.loss(vae.model, vae.guide, x)
    pyro.set_rng_seed(3)
    q = vae.recognition(x)
    z = q.rsample()
    prior = MixtureSameFamily(Categorical(logits=vae.logits), vae.component(torch.arange(4)))
    by_hand = prior.log_prob(z) + vae.likelihood(z).log_prob(x) - q.log_prob(z)
    assert found == pytest.approx(float(by_hand.sum()))


def test_fit_takes_the_enumerating_elbo_by_itself() -> None:
    x, metrics = torch.randn(40, 3), []
    for elbo in (None, TraceEnum_ELBO(max_plate_nesting=1)):
        torch.manual_seed(0)
        vae = MixtureVAE((3,), 2, 4, likelihood=FixedScaleNormal)
        metrics.append(fit(vae, x, elbo=elbo, epochs=2, progress=False).metrics)
    assert metrics[0] == metrics[1]


def test_responsibilities_are_bayes_rule(vae) -> None:
    z = torch.randn(6, 5, 2).double()
    given = vae.responsibilities(z)
    assert given.shape == (6, 5, 4)
    prior = vae.logits.softmax(0)
    for k in range(4):
        component = MultivariateNormal(vae.loc[k], vae.log_scale[k].mul(2).exp().diag())
        joint = prior[k] * component.log_prob(z).exp()
        everything = MixtureSameFamily(Categorical(prior), vae.component(torch.arange(4)))
        torch.testing.assert_close(given[..., k], joint / everything.log_prob(z).exp())


def test_clusters_are_the_posterior_where_the_guide_is(vae) -> None:
    """Where all components are equal, q(k | x) is p(k | x)."""
    vae.loc[1:] = vae.loc[:1]
    vae.log_scale[1:] = vae.log_scale[:1]
    x = data(vae, 5)
    torch.testing.assert_close(vae.clusters(x), vae.logits.softmax(0).expand(5, 4))


@pytest.mark.slow
def test_it_finds_clusters_that_are_there() -> None:
    torch.manual_seed(0)
    centres = torch.tensor([[-4.0, 0.0], [4.0, 0.0], [0.0, 5.0]])
    labels = torch.arange(600) % 3
    x = centres[labels] + 0.5 * torch.randn(600, 2)
    parts = {
        "encoder": linear,
        "decoder": linear,
        "likelihood": partial(FixedScaleNormal, scale=0.4),
    }
    options = {"optimizer": partial(torch.optim.Adam, lr=0.02), "kl_warmup": 30}

    def fitted() -> tuple[float, MixtureVAE]:
        vae = MixtureVAE((2,), 2, 8, **parts)
        result = fit(vae, x, epochs=60, batch_size=100, progress=False, **options)
        return result.metrics[-1]["train_elbo"], vae

    # one start in six ends half a nat lower, with all data in one component
    _, vae = max((fitted() for _ in range(3)), key=itemgetter(0))
    found = vae.clusters(x).argmax(-1)
    matches = torch.zeros(8, 3).index_put((found, labels), torch.ones(600), accumulate=True)
    assert matches.amax(1).sum() > 570  # no component takes in two clusters, which would be 400


@pytest.mark.parametrize(
    ("make", "subject", "words"),
    [
        (partial(MixtureVAE, (4,), 0), "latent_dim", "at least 1"),
        (partial(MixtureVAE, (4,), 2, 0), "num_components", "at least 1"),
        (partial(MixtureVAE, (4,), 2, guide=VonMisesFisher), "VonMisesFisher", "R^Z"),
        (
            partial(MixtureVAE, (4,), 2, likelihood=partial(Missing, likelihood=Bernoulli)),
            "encoder",
            "partial(MaskedInput, network=MLP)",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(make, subject: str, words: str) -> None:
    with refused(subject) as caught:
        make()
    assert words in str(caught.value)


def test_no_particles_make_no_clusters(vae) -> None:
    with refused("num_particles", expected="at least 1"):
        vae.clusters(torch.zeros(2, 3).double(), num_particles=0)
