"""With linear Gaussian parts p(x | y) is a Gaussian whose mean y moves."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from pyro_vae import InputError, fit, log_evidence
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
    """p(x | y), ``batch | X``."""
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


def test_what_the_label_says_the_latent_need_not() -> None:
    """Two classes far apart: given the class, one Gaussian is left, which the fit finds."""
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
    ("options", "message"),
    [
        ({}, "say what is given beside x: num_classes, for labels, or condition"),
        ({"num_classes": 3, "condition": MLP((2,), (5,))}, "leave one of the two out"),
        ({"num_classes": 0}, "must be at least 1"),
        ({"num_classes": 3, "prior": SphericalUniform}, "in the same place"),
        ({"condition": MLP((2,), (3, 4))}, "one vector of y, not outputs of shape (3, 4)"),
        (
            {"num_classes": 3, "likelihood": partial(Missing, likelihood=Bernoulli)},
            "partial(MaskedInput, network=MLP)",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(options, message) -> None:
    with pytest.raises(InputError) as refusal:
        ConditionalVAE((4,), 2, **options)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            torch.tensor([0, 1, 3]),
            "labels must lie between 0 and 2, for 3 classes, but there is a label 3",
        ),
        (torch.tensor([0, -1, 2]), "but there is a label -1"),
        (torch.tensor([0.0, 1.0, 2.0]), "labels must be whole numbers (int64), not torch.float32"),
        (torch.tensor([[0], [1], [2]]), "y must be of shape (3,) for 3 data, not (3, 1)"),
    ],
)
def test_labels_that_are_none_are_refused(y, message) -> None:
    vae = ConditionalVAE((4,), 2, num_classes=3)
    with pytest.raises(InputError) as refusal:
        fit(vae, (torch.zeros(3, 4), y), epochs=1, progress=False)
    assert message in str(refusal.value)


def test_labels_can_be_embedded_instead() -> None:
    vae = ConditionalVAE((4,), 2, condition=EmbeddedTokens((), (6,), num_tokens=3))
    evidence = log_evidence(vae, (torch.zeros(3, 4), torch.arange(3)), num_particles=10)
    assert evidence.log_evidence.isfinite().all()
