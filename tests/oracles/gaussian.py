"""Linear-Gaussian programs: the evidence is one multivariate normal."""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from oracles.oracle import Parts, oracle
from pyro_vae.models import FactorAnalysis, StateSpace


def factor_analysis_on(data_shape: tuple[int, ...], isotropic: bool) -> Parts:
    """With its own guide at the exact posterior, and then a tenth wider."""
    model = FactorAnalysis(data_shape, 2, isotropic)
    model.loadings.normal_()
    model.log_scale.normal_(std=0.3)
    model.bias.normal_()
    size = model.loadings.shape[0]
    at_zero, at_units = (model.posterior(x) for x in (torch.zeros(1, size), torch.eye(size)))
    model.regression.bias.copy_(at_zero.mean[0])
    model.regression.weight.copy_((at_units.mean - at_zero.mean).T)
    tril = 1.1 * at_zero.scale_tril[0]
    model.raw_tril.copy_(tril.tril(-1) + tril.diagonal().log().diag())
    x = torch.randn(12, *data_shape) * 1.5
    return model, (x,), model.log_evidence(x)


@oracle()
def factor_analysis() -> Parts:
    return factor_analysis_on((5,), isotropic=False)


@oracle()
def principal_components() -> Parts:
    """One scale of the noise for all; data with an event of two dimensions."""
    return factor_analysis_on((2, 3), isotropic=True)


@oracle()
def kalman() -> Parts:
    """Ragged sequences of a state space model; its guide takes them for a fifth less exact."""
    model = StateSpace((4, 2), 1)
    weighted = 0.8 * model.loadings * (-2 * model.log_scale).exp().unsqueeze(-1)
    model.raw_tril.copy_((model.loadings.T @ weighted).log() / 2)
    model.regression.weight.copy_(weighted.T)
    model.regression.bias.copy_(-model.bias @ weighted)
    x = torch.randn(6, 4, 2).cumsum(1)
    lengths = torch.tensor([4, 1, 2, 3, 4, 1])
    return model, (x, lengths), model.log_evidence(x, lengths)


@oracle()
def chain_of_two() -> Parts:
    """z1 -> z2 -> x; the guide's second site depends on its first, in a vector."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            z2 = pyro.sample("z2", dist.Normal(z1.sum(-1), 0.5))
            pyro.sample("x", dist.Normal(z2, 0.5), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc = (x / 4).unsqueeze(-1).expand(-1, 2)
            z1 = pyro.sample("z1", dist.Normal(loc, 1.2).to_event(1))
            pyro.sample("z2", dist.Normal(z1.mean(-1) + 0.4 * x, 0.8))

    x = 2 * torch.randn(12)
    return (model, guide), (x,), dist.Normal(0.0, 2.5**0.5).log_prob(x)


@oracle()
def guide_in_another_order() -> Parts:
    """The same story, told backwards by the guide."""

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(0.9 * x, 0.6))
            loc = (0.45 * z2).unsqueeze(-1) * torch.ones(2)
            pyro.sample("z1", dist.Normal(loc, 0.9).to_event(1))

    (model, _), x = chain_of_two.program, chain_of_two.args
    return (model, guide), x, chain_of_two.exact


@oracle(temperatures=150)
def forty_dimensions() -> Parts:
    """Sixteen numbers from a vector of forty; the guide a twentieth wider than the posterior."""
    loadings, identity = torch.randn(16, 40) / 4, torch.eye(40)
    posterior = torch.linalg.inv(identity + loadings.T @ loadings / 0.25)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(40), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ loadings.T, 0.5).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc = x @ loadings @ posterior / 0.25
            pyro.sample("z", dist.MultivariateNormal(loc, 1.05**2 * posterior))

    x = torch.randn(6, 16) * 2
    covariance = loadings @ loadings.T + 0.25 * torch.eye(16)
    return (model, guide), (x,), dist.MultivariateNormal(torch.zeros(16), covariance).log_prob(x)


@oracle()
def matrices() -> Parts:
    """A latent matrix (3, 2) that rows of a data matrix (3, 4) come of; all in float64."""
    loadings = torch.randn(2, 4).double()
    posterior = torch.linalg.inv(torch.eye(2) + loadings @ loadings.T)
    tril = 1.1 * torch.linalg.cholesky(posterior)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(3, 2).double(), 1.0).to_event(2))
            pyro.sample("x", dist.Normal(z @ loadings, 1.0).to_event(2), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc = x @ loadings.T @ posterior
            pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=tril).to_event(1))

    x = torch.randn(8, 3, 4).double() * 1.5
    covariance = loadings.T @ loadings + torch.eye(4)
    rows = dist.MultivariateNormal(torch.zeros(4).double(), covariance).log_prob(x)
    return (model, guide), (x,), rows.sum(-1)
