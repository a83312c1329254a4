"""Which guides reach where the prior does, by how their distributions are built; angles."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pyro.distributions.transforms as T
import pytest
import torch
from refused import refused
from torch import Tensor
from torch.distributions import constraints

from pyro_vae import log_evidence
from pyro_vae.inference.checks.support import check_known, check_support
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.proposals import wider

ONES, EYE = torch.ones(3), torch.eye(3)


class Truncated(dist.Uniform):
    """Knows where it lies, and says something else."""

    support = constraints.real

    def log_prob(self, value: Tensor) -> Tensor:
        inside = (value >= self.low) & (value <= self.high)
        return torch.where(inside, -(self.high - self.low).log(), -math.inf)


def mixed(part: Any) -> Any:
    return dist.MixtureSameFamily(dist.Categorical(ONES.expand(3, 3)), part)


def transformed(base: Any, *by: Any) -> Any:
    return dist.TransformedDistribution(base, list(by))


def autoregressive() -> Any:
    flow = T.affine_autoregressive(3, hidden_dims=[4])
    return transformed(dist.Normal(torch.zeros(3), 1.0), flow)


def one(fn: Any) -> Any:
    with torch.no_grad():
        return {"fn": fn, "value": fn.sample(), "name": "z"}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("guide", "prior", "what"),
    [
        (dist.HalfNormal(ONES), dist.Normal(0 * ONES, 1.0), "short"),
        (dist.HalfCauchy(ONES), dist.Normal(0 * ONES, 1.0), "short"),
        (dist.FoldedDistribution(dist.Normal(ONES, 1.0)), dist.Normal(0 * ONES, 1.0), "short"),
        (transformed(dist.Normal(ONES, 1.0), T.AbsTransform()), dist.Cauchy(0 * ONES, 1.0), "short"),
        (dist.Gamma(2 * ONES, 0.06), dist.Normal(0 * ONES, 50.0), "short"),
        (dist.Gamma(2 * ONES, 0.06).to_event(1), dist.MultivariateNormal(0 * ONES, 99 * EYE), "short"),
        (dist.Uniform(-25 * ONES, 25.0), dist.Normal(0 * ONES, 50.0), "short"),
        (dist.Uniform(0 * ONES, 10.0), dist.Normal(1000 * ONES, 1.0), "short"),
        (dist.Uniform(0 * ONES, 1e-7), dist.Uniform(0 * ONES, 1e-6), "short"),
        (dist.Pareto(0.005 * ONES, 1.0), dist.Exponential(ONES), "short"),
        (mixed(dist.Gamma(torch.ones(3, 3), 0.1)), dist.Normal(0 * ONES, 1.0), "short"),
        (dist.Binomial(35, 0.7 * ONES), dist.Poisson(20 * ONES), "short"),
        (dist.Binomial(5, 0.7 * ONES), dist.Poisson(1000 * ONES), "short"),
        (dist.VonMises(0 * ONES, 1.0), dist.Normal(0 * ONES, 1.0), "short"),
        (dist.Uniform(-3.0 * ONES, 3.0), dist.VonMises(0 * ONES, 1.0), "short"),
        (dist.Normal(0 * ONES, 0.1), dist.VonMises(0 * ONES, 1.0), "beyond"),
        (dist.Normal(5 * ONES, 0.1), dist.Gamma(ONES, 1.0), "beyond"),
        (dist.Normal(0 * ONES, 1.0), dist.HalfNormal(ONES), "beyond"),
        (dist.NegativeBinomial(3 * ONES, 0.5), dist.Binomial(9, 0.5 * ONES), "beyond"),
    ],
)  # fmt: skip
def test_supports_that_differ(guide, prior, what, seed) -> None:
    torch.manual_seed(seed)
    guide_site, prior_site = one(guide), one(prior)
    prior_site["value"] = guide_site["value"]
    with refused("z", remedy="prior's support") as error:
        check_support("z", guide_site, prior_site)
    assert {"short": "does not cover", "beyond": "exceeds"}[what] in str(error.value)


@pytest.mark.parametrize(
    ("guide", "prior"),
    [
        (dist.Normal(0 * ONES, 9.0), dist.Normal(0 * ONES, 1.0)),
        (dist.Uniform(0 * ONES, 1.0), Truncated(0 * ONES, 1.0)),
        (Truncated(0 * ONES, 1.0), dist.Beta(ONES, 2.0)),
        (dist.Uniform(0 * ONES, 2.0), transformed(dist.Beta(ONES, 2.0), T.AffineTransform(0.0, 2.0))),
        (transformed(dist.Beta(ONES, 2.0), T.AffineTransform(2.0, -2.0)), dist.Uniform(0 * ONES, 2.0)),
        (transformed(dist.Normal(0 * ONES, 2.0), T.SigmoidTransform()), dist.Uniform(0 * ONES, 1.0)),
        (transformed(dist.Normal(0 * ONES, 2.0), T.SoftplusTransform()), dist.InverseGamma(ONES, 1.0)),
        (dist.Uniform(-40 * ONES, 40.0), dist.Normal(0 * ONES, 1.0)),
        (dist.LogNormal(0 * ONES, 1.0), dist.HalfNormal(ONES)),
        (dist.HalfCauchy(ONES), dist.Gamma(ONES, 1.0)),
        (dist.Kumaraswamy(ONES, 1.0), dist.Beta(ONES, 1.0)),
        (dist.Gumbel(0 * ONES, 1.0), dist.Normal(0 * ONES, 1.0)),
        (dist.StudentT(3 * ONES), dist.Gumbel(0 * ONES, 1.0)),
        (mixed(dist.Normal(torch.zeros(3, 3), 1.0)), dist.Laplace(0 * ONES, 1.0)),
        (mixed(dist.Uniform(torch.tensor([0.0, 1.0, 2.0]).expand(3, 3), 3.0)), dist.Uniform(0 * ONES, 3.0)),
        (dist.NegativeBinomial(3 * ONES, 0.5), dist.Poisson(3 * ONES)),
        (dist.Binomial(1000, 0.05 * ONES), dist.Poisson(20 * ONES)),
        (dist.Poisson(3 * ONES), dist.Geometric(0.5 * ONES)),
        (dist.Normal(0 * ONES, 1.0).to_event(1), dist.MultivariateNormal(0 * ONES, torch.eye(3))),
        (autoregressive(), dist.Normal(0 * ONES, 1.0).to_event(1)),
        (dist.Dirichlet(ONES), dist.Dirichlet(2 * ONES)),
        (dist.LogisticNormal(0 * ONES[:2], 1.0), dist.Dirichlet(2 * ONES)),
        (dist.Uniform(-math.pi * ONES, math.pi), dist.VonMises(0 * ONES, 1.0)),
        (dist.VonMises(ONES, 9.0).to_event(1), dist.Uniform(-math.pi * ONES, math.pi).to_event(1)),
    ],
)  # fmt: skip
def test_supports_that_are_one_however_they_are_put(guide, prior) -> None:
    for seed in range(4):
        torch.manual_seed(seed)
        guide_site, prior_site = one(guide), one(prior)
        prior_site["value"] = guide_site["value"]
        check_support("z", guide_site, prior_site)


def test_what_annealing_can_move_over() -> None:
    check_known({"z": one(dist.Gumbel(0 * ONES, 1.0)), "y": one(dist.HalfNormal(ONES))})
    with refused("z", remedy="codomain"):
        check_known(
            {"z": one(transformed(dist.Uniform(0 * ONES, 1.0), T.AffineTransform(0.0, 2.0)))}
        )


# --- angles -------------------------------------------------------------------------------------

X = torch.tensor([2.0, 3.0, -1.0])


def angle_model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.VonMises(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def angle_guide(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.VonMises(0.7 * x, 1.5))


def angle_evidence(x: Tensor) -> Tensor:
    """By quadrature: the likelihood does not close at plus and minus pi."""
    z = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000 * 2 * math.pi - math.pi
    unit = torch.ones((), dtype=torch.float64)
    joint = dist.VonMises(0 * unit, unit).log_prob(z) + dist.Normal(z, unit).log_prob(
        x.unsqueeze(-1)
    )
    return joint.logsumexp(-1) + math.log(2 * math.pi / len(z))


@pytest.mark.parametrize(
    "method",
    [
        Importance(),
        Importance(0.2),
        Annealed(20, num_leapfrog=4),
        Annealed(20, "prior", num_leapfrog=4),
    ],
)
def test_an_angle_goes_once_round(method) -> None:
    for program in ((angle_model, angle_guide), wider((angle_model, angle_guide), 2.0)):
        evidence = log_evidence(program, args=(X,), method=method, num_particles=1000, seed=0)
        off = (evidence.log_evidence - angle_evidence(X)) / evidence.standard_error
        assert off.abs().max() < 4
