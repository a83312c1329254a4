"""Factor analysis: its exact evidence and posterior, by another route."""

import pyro
import torch
from torch.distributions import MultivariateNormal

from pyro_vae.models import FactorAnalysis


def random_model() -> FactorAnalysis:
    torch.manual_seed(1)
    model = FactorAnalysis((2, 3), 2).double()
    for parameter in model.parameters():
        parameter.data.normal_()
    return model.requires_grad_(False)


def test_evidence_is_that_of_the_joint_normal() -> None:
    model = random_model()
    x = torch.randn(4, 2, 3).double()
    covariance = model.loadings @ model.loadings.T + (2 * model.log_scale).exp().diag()
    expected = MultivariateNormal(model.bias, covariance).log_prob(x.flatten(1))
    torch.testing.assert_close(model.log_evidence(x), expected)


def test_bayes_rule() -> None:
    model = random_model()
    x = torch.randn(4, 2, 3).double()
    z = torch.randn(4, 2).double()
    trace = pyro.poutine.trace(pyro.poutine.condition(model.model, {"z": z})).get_trace(x)
    trace.compute_log_prob()
    log_joint = trace.nodes["z"]["log_prob"] + trace.nodes["x"]["log_prob"]
    torch.testing.assert_close(model.posterior(x).log_prob(z) + model.log_evidence(x), log_joint)
