"""Factor analysis: its exact evidence and posterior, by another route."""

from functools import partial

import pyro
import pytest
import torch
from oracles import agrees
from torch.distributions import MultivariateNormal

from pyro_vae import log_evidence, prior_samples
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.models import FactorAnalysis


@pytest.fixture(params=[False, True], ids=["", "isotropic"])
def model(request: pytest.FixtureRequest) -> FactorAnalysis:
    torch.manual_seed(1)
    model = FactorAnalysis((2, 3), 2, isotropic=request.param).double()
    for parameter in model.parameters():
        parameter.data.normal_()
    return model.requires_grad_(False)


def test_evidence_is_that_of_the_joint_normal(model: FactorAnalysis) -> None:
    x = torch.randn(4, 2, 3).double()
    variance = (2 * model.log_scale).exp() * torch.ones(6).double()
    covariance = model.loadings @ model.loadings.T + variance.diag()
    expected = MultivariateNormal(model.bias, covariance).log_prob(x.flatten(1))
    torch.testing.assert_close(model.log_evidence(x), expected)


def test_bayes_rule(model: FactorAnalysis) -> None:
    x = torch.randn(4, 2, 3).double()
    z = torch.randn(4, 2).double()
    trace = pyro.poutine.trace(pyro.poutine.condition(model.model, {"z": z})).get_trace(x)
    trace.compute_log_prob()
    log_joint = trace.nodes["z"]["log_prob"] + trace.nodes["x"]["log_prob"]
    torch.testing.assert_close(model.posterior(x).log_prob(z) + model.log_evidence(x), log_joint)


def test_one_noise_for_all_makes_it_principal_components() -> None:
    """At the maximum likelihood, by eigenvalues (Tipping and Bishop 1999), its slope is 0."""
    model, x = FactorAnalysis((5,), 2, isotropic=True).double(), torch.randn(500, 5).double()
    x = x @ torch.randn(5, 5).double()
    values, vectors = torch.linalg.eigh(x.T.cov(correction=0))
    noise = values[:3].mean()
    with torch.no_grad():
        model.bias.copy_(x.mean(0))
        model.loadings.copy_(vectors[:, 3:] * (values[3:] - noise).sqrt())
        model.log_scale.copy_(noise.log() / 2)
    model.log_evidence(x).mean().backward()
    for parameter in (model.bias, model.loadings, model.log_scale):
        torch.testing.assert_close(parameter.grad, torch.zeros_like(parameter), atol=1e-8, rtol=0)


@pytest.mark.slow
def test_its_evidence_by_chains_in_double_precision(model: FactorAnalysis) -> None:
    x = prior_samples(model, torch.zeros(3, 2, 3).double(), num_draws=1, seed=0).predictive["x"][0]
    assert x.dtype == torch.float64
    options = {"seed": 0, "progress": False, "device": "cpu"}
    from_prior = Annealed(40, start="prior")  # the guide is not trained at all
    found = partial(log_evidence, model, x, method=from_prior, **options)
    assert agrees(lambda count: found(num_particles=count), 200, model.log_evidence(x))
    both = log_evidence(model, x, method="bidirectional", num_particles=200, **options)
    assert both.log_evidence.dtype == torch.float64
