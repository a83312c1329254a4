"""Linear Gaussian classes of one covariance: evidence, posterior and classifier have closed forms."""

from functools import partial

import pyro
import pytest
import torch
from refused import refused, refused_with
from torch import Tensor
from torch.distributions import MultivariateNormal

from pyro_vae import fit, log_evidence, prior_samples
from pyro_vae.inference.objectives import default_elbo
from pyro_vae.likelihoods import Bernoulli, FixedScaleNormal, Missing
from pyro_vae.models import SemiSupervisedVAE
from pyro_vae.networks import MLP, MaskedInput
from pyro_vae.program.contract import as_program
from pyro_vae.program.examination import examine

linear = partial(MLP, hidden_dims=())
PARTS = dict.fromkeys(("encoder", "decoder", "head", "classifier"), linear)
NOISE = 0.5
LABELS = torch.tensor([-1, 0, 2, -1, 1, -1, 1, -1])


@pytest.fixture
def vae(monkeypatch: pytest.MonkeyPatch) -> SemiSupervisedVAE:
    """Return a model of three classes with one latent, whose guide is the posterior."""
    monkeypatch.setattr(SemiSupervisedVAE, "uniform_share", 0.0)
    torch.manual_seed(1)
    likelihood = partial(FixedScaleNormal, scale=NOISE)
    options = {"num_classes": 3, "likelihood": likelihood, "feature_dim": 3}
    vae = SemiSupervisedVAE((3,), 1, **options, **PARTS).double().requires_grad_(False)
    for parameter in (vae.logits, *vae.likelihood.parameters()):
        parameter.normal_()
    weight, means, covariance = of_classes(vae)
    features, head, classifier = (
        network.layers[-1]
        for network in (vae.features.network, vae.recognition.encoder, vae.classifier.network)
    )
    features.weight.copy_(torch.eye(3))
    features.bias.zero_()
    gain = torch.linalg.solve(covariance, weight)  # of z by x, given the class
    head.weight.zero_()
    head.weight[0, :3] = gain
    head.weight[0, 3:] = -means @ gain
    head.bias.copy_(torch.stack([torch.zeros(()).double(), (1 - weight @ gain).log() / 2]))
    precise = torch.linalg.solve(covariance, means.T).T  # Fisher's discriminant
    classifier.weight.copy_(precise)
    classifier.bias.copy_(vae.logits - (precise * means).sum(-1) / 2)
    return vae


def of_classes(vae: SemiSupervisedVAE) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loadings, and the means (C, X) and the covariance of p(x | y)."""
    out = vae.likelihood.decoder.layers[-1]
    weight = out.weight[:, 0]
    covariance = weight.outer(weight) + NOISE**2 * torch.eye(3).double()
    return weight, out.weight[:, 1:].T + out.bias, covariance


def exactly(vae: SemiSupervisedVAE, x: Tensor, y: Tensor) -> Tensor:
    """Return log p(x, y) with a label, log p(x) without."""
    _, means, covariance = of_classes(vae)
    log_joint = vae.logits.log_softmax(0) + MultivariateNormal(means, covariance).log_prob(
        x.unsqueeze(1)
    )
    of_label = log_joint.gather(1, y.clamp(min=0).unsqueeze(1)).squeeze(1)
    return torch.where(y >= 0, of_label, log_joint.logsumexp(1))


def test_with_the_posterior_as_guide_every_weight_is_the_evidence(vae) -> None:
    x = torch.randn(8, 3).double()
    expected = exactly(vae, x, LABELS)
    found = log_evidence(vae, (x, LABELS), num_particles=20, seed=0)
    torch.testing.assert_close(found.log_evidence, expected)
    torch.testing.assert_close(found.bounds[1], expected, atol=1e-5, rtol=0)


def test_the_elbo_of_fit_sums_over_classes_and_is_exact_here(vae) -> None:
    x = torch.randn(8, 3).double()
    elbo = default_elbo(examine(as_program(vae), x, LABELS).structure)
    assert -elbo.loss(vae.model, vae.guide, x, LABELS) == pytest.approx(
        float(exactly(vae, x, LABELS).sum())
    )


def test_another_guide_gives_the_same_evidence(vae) -> None:
    x = torch.randn(8, 3).double()
    vae.classifier.network.layers[-1].weight *= 0.7
    vae.recognition.encoder.layers[-1].bias += 0.3
    found = log_evidence(vae, (x, LABELS), num_particles=20_000, seed=0)
    off = (found.log_evidence - exactly(vae, x, LABELS)) / found.standard_error
    assert (off.abs() < 5).all()


def test_the_classifier_is_the_posterior_of_the_class(vae) -> None:
    x = torch.randn(8, 3).double()
    every = torch.stack([exactly(vae, x, torch.full((8,), label)) for label in range(3)], 1)
    torch.testing.assert_close(vae.classify(x), every.softmax(1))


def test_the_classifiers_term_is_in_the_gradient_of_training_and_in_no_figure(vae) -> None:
    vae.requires_grad_(True)
    x, weight = torch.randn(8, 3).double(), vae.classifier_weight
    parameters = list(vae.classifier.parameters())
    elbo = default_elbo(examine(as_program(vae), x, LABELS).structure)
    figures = {}
    for mode in (True, False):
        vae.train(mode)
        pyro.set_rng_seed(0)
        loss = elbo.differentiable_loss(vae.model, vae.guide, x, LABELS)
        figures[mode] = loss.detach(), torch.autograd.grad(loss, parameters)
    assert figures[True][0] == figures[False][0]
    seen = LABELS >= 0
    log_q = vae.classify(x[seen]).log().gather(1, LABELS[seen].unsqueeze(1)).sum()
    term = torch.autograd.grad(-weight * log_q, parameters)
    for with_it, without, extra in zip(figures[True][1], figures[False][1], term, strict=True):
        torch.testing.assert_close(with_it, without + extra)


def test_a_certain_classifier_leaves_no_class_out() -> None:
    torch.manual_seed(0)
    vae = SemiSupervisedVAE((4,), 2, num_classes=3)
    vae.classifier.layers[-1].bias.data = torch.tensor([100.0, 0.0, 0.0])
    x, y = torch.bernoulli(torch.full((6, 4), 0.5)), torch.full((6,), -1)
    q = pyro.poutine.trace(vae.guide).get_trace(x, y).nodes["y"]["fn"].probs
    torch.testing.assert_close(q, torch.tensor([1 - 2e-3 / 3, 1e-3 / 3, 1e-3 / 3]).expand(6, 3))
    assert log_evidence(vae, (x, y), num_particles=10).log_evidence.isfinite().all()


def test_a_drawn_label_is_the_class_of_its_datum(vae) -> None:
    """This holds for rows with and without labels, which only set the number of draws."""
    vae.likelihood.decoder.layers[-1].weight[:, 1:] = 50 * torch.eye(3)
    vae.likelihood.decoder.layers[-1].bias.zero_()
    y = torch.arange(40) % 4 - 1
    drawn = prior_samples(vae, (torch.zeros(40, 3).double(), y), num_draws=1, seed=0).predictive
    assert torch.equal(drawn["label"], drawn["x"].argmax(-1))


@pytest.mark.slow
def test_few_labels_name_many_data() -> None:
    torch.manual_seed(0)
    centres = torch.tensor([[-4.0, 0.0], [4.0, 0.0], [0.0, 5.0]])
    truth = torch.arange(600) % 3
    x = centres[truth] + torch.randn(600, 2)
    y = torch.where(torch.arange(600) < 30, truth, -1)
    likelihood = partial(FixedScaleNormal, scale=0.8)
    vae = SemiSupervisedVAE((2,), 1, num_classes=3, likelihood=likelihood, **PARTS)
    adam = partial(torch.optim.Adam, lr=0.005)
    fit(vae, (x, y), epochs=150, batch_size=100, optimizer=adam, progress=False)
    assert (vae.classify(x).argmax(-1) == truth).double().mean() > 0.95


@pytest.mark.parametrize(
    ("options", "subject", "words"),
    [
        ({"num_classes": 0}, "num_classes", "at least 1"),
        ({"num_classes": 3, "classifier_weight": -1.0}, "classifier_weight", "at least 0"),
        (
            {
                "num_classes": 3,
                "likelihood": partial(Missing, likelihood=Bernoulli),
                "encoder": MaskedInput,
            },
            "classifier",
            "partial(MaskedInput, network=MLP)",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(options, subject: str, words: str) -> None:
    with refused(subject) as caught:
        SemiSupervisedVAE((4,), 2, **options)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (torch.tensor([0, -2, 1]), ["labels hold -2", "from -1 to 2"]),
        (torch.tensor([0, 3, 1]), ["labels hold 3", "from -1 to 2"]),
        (torch.tensor([0.0, 1.0, -1.0]), ["labels", "int64", "torch.float32"]),
        (torch.tensor([[0], [1], [2]]), ["y has", "(3,)", "(3, 1)"]),
    ],
)
def test_other_labels_are_refused(y, words: list[str]) -> None:
    vae = SemiSupervisedVAE((4,), 2, num_classes=3)
    with refused_with(*words):
        fit(vae, (torch.zeros(3, 4), y), epochs=1, progress=False)
