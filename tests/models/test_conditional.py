"""With linear Gaussian parts p(x | y) is a Gaussian whose mean y moves."""

from functools import partial

import pytest
import torch
from refused import refused, refused_with
from torch import Tensor
from torch.distributions import MultivariateNormal

from pyro_vae import fit, log_evidence
from pyro_vae.likelihoods import Bernoulli, FixedScaleNormal, Missing
from pyro_vae.models import ConditionalVAE
from pyro_vae.networks import MLP, EmbeddedTokens
from pyro_vae.priors import SphericalUniform

linear = partial(MLP, hidden_dims=())
NOISE = 0.5
LABELS, VECTORS = torch.arange(9) % 3, torch.randn(9, 2).double()


def make(**given) -> ConditionalVAE:
    torch.manual_seed(1)
    likelihood = partial(FixedScaleNormal, scale=NOISE)
    parts = {"encoder": linear, "decoder": linear, "head": linear}
    vae = ConditionalVAE((4,), 2, likelihood=likelihood, feature_dim=4, **parts, **given)
    for parameter in vae.likelihood.parameters():
        torch.nn.init.normal_(parameter)
    return vae.double().requires_grad_(False)


def marginal(vae: ConditionalVAE, y: Tensor) -> MultivariateNormal:
    """Return p(x | y), ``batch | X``."""
    out = vae.likelihood.decoder.layers[-1]
    loc = vae.condition(y) @ out.weight[:, 2:].T + out.bias
    loadings = out.weight[:, :2]
    noise = NOISE**2 * torch.eye(4).double()
    return MultivariateNormal(loc, loadings @ loadings.T + noise)


@pytest.mark.parametrize(
    ("given", "y"),
    [({"num_classes": 3}, LABELS), ({"condition": MLP((2,), (5,))}, VECTORS)],
    ids=["labels", "vectors"],
)
def test_the_evidence_is_that_of_x_given_y(given, y) -> None:
    vae, x = make(**given), torch.randn(9, 4).double()
    expected = marginal(vae, y).log_prob(x)
    exact = log_evidence(vae, (x, y), method="exact").log_evidence
    torch.testing.assert_close(exact, expected)
    sampled = log_evidence(vae, (x, y), num_particles=20_000, seed=0)
    trusted = sampled.pareto_k < 0.5
    off = (sampled.log_evidence - expected) / sampled.standard_error
    assert trusted.sum() >= 3
    assert (off[trusted].abs() < 5).all()


def test_decode_is_the_model_at_that_latent() -> None:
    vae, z = make(num_classes=3), torch.randn(9, 2).double()
    means = vae.decode(z, LABELS).mean
    out = vae.likelihood.decoder.layers[-1]
    by_hand = torch.cat([z, torch.eye(3).double()[LABELS]], 1) @ out.weight.T + out.bias
    torch.testing.assert_close(means, by_hand)


@pytest.mark.slow
def test_what_the_label_says_the_latent_need_not() -> None:
    """The fit of two classes far apart finds one Gaussian given the class."""
    torch.manual_seed(0)
    y = torch.randint(2, (600,))
    x = torch.tensor([[-3.0, 0.0], [3.0, 1.0]])[y] + 0.5 * torch.randn(600, 2)
    parts = {"encoder": linear, "decoder": linear, "head": linear}
    likelihood = partial(FixedScaleNormal, scale=0.5)
    vae = ConditionalVAE((2,), 1, num_classes=2, likelihood=likelihood, **parts)
    adam = partial(torch.optim.Adam, lr=0.02)
    fit(vae, (x[:500], y[:500]), epochs=200, batch_size=50, optimizer=adam, progress=False)
    evidence = log_evidence(vae, (x[500:], y[500:]), num_particles=500, seed=0)
    truth = MultivariateNormal(torch.tensor([[-3.0, 0.0], [3.0, 1.0]])[y[500:]], torch.eye(2) / 4)
    assert evidence.mean == pytest.approx(float(truth.log_prob(x[500:]).mean()), abs=0.1)


@pytest.mark.parametrize(
    ("options", "subject", "words"),
    [
        ({}, "condition", "not given"),
        ({"num_classes": 3, "condition": MLP((2,), (5,))}, "condition", "both given"),
        ({"num_classes": 0}, "num_classes", "at least 1"),
        ({"num_classes": 3, "prior": SphericalUniform}, "MeanFieldNormal", "SphericalUniform"),
        ({"condition": MLP((2,), (3, 4))}, "condition", "(3, 4)"),
        (
            {"num_classes": 3, "likelihood": partial(Missing, likelihood=Bernoulli)},
            "encoder",
            "partial(MaskedInput, network=MLP)",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(options, subject: str, words: str) -> None:
    with refused(subject) as caught:
        ConditionalVAE((4,), 2, **options)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (torch.tensor([0, 1, 3]), ["labels hold 3", "from 0 to 2", "num_classes"]),
        (torch.tensor([0, -1, 2]), ["labels hold -1", "from 0 to 2"]),
        (torch.tensor([0.0, 1.0, 2.0]), ["labels", "int64", "torch.float32"]),
        (torch.tensor([[0], [1], [2]]), ["y has", "(3,)", "(3, 1)"]),
    ],
)
def test_other_labels_are_refused(y, words: list[str]) -> None:
    vae = ConditionalVAE((4,), 2, num_classes=3)
    with refused_with(*words):
        fit(vae, (torch.zeros(3, 4), y), epochs=1, progress=False)


def test_labels_can_be_embedded_instead() -> None:
    vae = ConditionalVAE((4,), 2, condition=EmbeddedTokens((), (6,), num_tokens=3))
    evidence = log_evidence(vae, (torch.zeros(3, 4), torch.arange(3)), num_particles=10)
    assert evidence.log_evidence.isfinite().all()
