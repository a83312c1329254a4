"""Annealed importance sampling against closed forms, within its own standard error."""

import math
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoDelta, AutoNormal
from stories import Conjugate, GlobalMean, PyroStyleVAE
from torch import Tensor, nn
from torch.distributions import constraints

from pyro_vae import InputError, log_evidence
from pyro_vae.inference import annealed, tiles
from pyro_vae.inference.annealed import annealed_evidence
from pyro_vae.inference.evidence import Evidence
from pyro_vae.inference.hmc import Sampler, Steps
from pyro_vae.inference.paths import Call, FromGuide, FromPrior
from pyro_vae.inference.schedules import linear, sigmoid
from pyro_vae.inference.walks import walk
from pyro_vae.isolation import rng_state
from pyro_vae.models import FactorAnalysis
from pyro_vae.program import as_program, examine

Oracle = tuple[Any, tuple[Tensor, ...], Tensor]


def agrees(evidence: Evidence, exact: Tensor) -> bool:
    """Within 4 of its own standard errors, unit by unit and on the whole."""
    exact = exact.detach().double()
    off = (evidence.log_evidence - exact).abs() / evidence.standard_error.clamp(min=1e-5)
    mean_off = abs(evidence.mean - exact.mean()) / max(evidence.mean_standard_error, 1e-5)
    return bool((off < 4).all()) and bool(mean_off < 4)


def gamma_poisson() -> Oracle:
    """rate ~ Gamma(3, 2), three counts of it; the guide is a LogNormal."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            rate = pyro.sample("rate", dist.Gamma(3.0, 2.0))
            pyro.sample("x", dist.Poisson(rate.unsqueeze(-1)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("rate", dist.LogNormal(torch.zeros(len(x)), 1.0))

    x = torch.randint(0, 6, (12, 3)).float()
    total = x.sum(-1)
    exact = (
        3 * math.log(2.0)
        - math.lgamma(3.0)
        + torch.lgamma(3 + total)
        - (3 + total) * math.log(5.0)
        - torch.lgamma(x + 1).sum(-1)
    )
    return (model, guide), (x,), exact


def beta_bernoulli() -> Oracle:
    """A coin for each unit, five tosses in an inner plate on the left; a bad guide."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            p = pyro.sample("p", dist.Beta(2.0, 0.8))
            with pyro.plate("tosses", 5, dim=-2):
                pyro.sample("x", dist.Bernoulli(p), obs=x.T)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("p", dist.Beta(1.0, 4.0))

    x = (torch.rand(12, 5) < 0.6).float()
    a, b = 2 + x.sum(-1), 0.8 + 5 - x.sum(-1)
    log_beta = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
    prior = math.lgamma(2.0) + math.lgamma(0.8) - math.lgamma(2.8)
    return (model, guide), (x,), log_beta - prior


def chain_of_two() -> Oracle:
    """z1 -> z2 -> x, Gaussian; the guide's second site depends on its first, in a vector."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            z2 = pyro.sample("z2", dist.Normal(z1.sum(-1), 0.5))
            pyro.sample("x", dist.Normal(z2, 0.5), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(x.unsqueeze(-1) / 4, 1.0).expand_by([]).to_event(1))
            pyro.sample("z2", dist.Normal(z1.mean(-1), 1.0))

    def wide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc = (x / 4).unsqueeze(-1).expand(-1, 2)
            z1 = pyro.sample("z1", dist.Normal(loc, 1.0).to_event(1))
            pyro.sample("z2", dist.Normal(z1.mean(-1), 1.0))

    x = 2 * torch.randn(12)
    return (model, wide), (x,), dist.Normal(0.0, 2.5**0.5).log_prob(x)


def plates_within_the_unit() -> Oracle:
    """A mean for each unit, and for each of its three groups an effect, seen once."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            mean = pyro.sample("mean", dist.Normal(0.0, 1.0))  # (B, 1)
            with pyro.plate("groups", 3, dim=-1):
                effect = pyro.sample("effect", dist.Normal(mean, 0.7))  # (B, 3)
                pyro.sample("x", dist.Normal(effect, 0.5), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("mean", dist.Normal(x.mean(-1, keepdim=True) / 2, 0.8))
            with pyro.plate("groups", 3, dim=-1):
                pyro.sample("effect", dist.Normal(0.3 * x, 0.8))

    x = torch.randn(10, 3)
    covariance = torch.ones(3, 3) + (0.49 + 0.25) * torch.eye(3)
    return (model, guide), (x,), dist.MultivariateNormal(torch.zeros(3), covariance).log_prob(x)


def enumerated_component() -> Oracle:
    """The component of a mixture is summed out, the location within it annealed; scales do not count."""
    locs, weights = torch.tensor([-2.0, 0.0, 3.0]), torch.tensor([0.2, 0.5, 0.3])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)), pyro.poutine.scale(scale=0.1):
            which = pyro.sample("which", dist.Categorical(weights), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(locs[which], 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.5 * x, 1.0))

    x = 2 * torch.randn(12)
    exact = (dist.Normal(locs, 1.25**0.5).log_prob(x[:, None]) + weights.log()).logsumexp(-1)
    return (model, guide), (x,), exact


def dirichlet_categorical() -> Oracle:
    """A simplex of three: two unconstrained coordinates."""
    prior = torch.tensor([1.0, 2.0, 0.7])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            p = pyro.sample("p", dist.Dirichlet(prior))
            pyro.sample("x", dist.Multinomial(8, p, validate_args=False), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("p", dist.Dirichlet(torch.ones(3)))

    x = dist.Multinomial(8, torch.tensor([0.2, 0.3, 0.5])).sample((10,))
    return (model, guide), (x,), dist.DirichletMultinomial(prior, 8).log_prob(x)


def support_that_depends() -> Oracle:
    """low ~ Uniform(0, 1), high ~ Uniform(low, 2), x ~ Exponential(high), by quadrature."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            low = pyro.sample("low", dist.Uniform(0.0, 1.0))
            high = pyro.sample("high", dist.Uniform(low, 2.0))
            pyro.sample("x", dist.Exponential(high), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            low = pyro.sample("low", dist.Beta(1.5, torch.ones(len(x))))
            pyro.sample("high", dist.Uniform(low, 2.0))

    x = torch.tensor([0.1, 0.7, 3.0, 6.0])
    low = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    high = low.unsqueeze(-1) + (2 - low.unsqueeze(-1)) * low  # a midpoint rule in both
    density = torch.stack([(high * (-high * v).exp()).mean() for v in x.double()])
    return (model, guide), (x,), density.log()


def ragged_sequences() -> Oracle:
    """A latent for each step, masked beyond the sequence's length."""

    def sites(x: Tensor, lengths: Tensor, of_model: bool) -> None:
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                with pyro.poutine.mask(mask=t < lengths):
                    loc = torch.zeros(len(x)) if of_model else 0.2 * x[:, t]
                    z = pyro.sample(f"z_{t}", dist.LogNormal(loc, 1.0))
                    if of_model:
                        pyro.sample(f"x_{t}", dist.Normal(z.log(), 1.0), obs=x[:, t])

    x, lengths = torch.randn(6, 4), torch.tensor([4, 1, 2, 3, 4, 1])
    each = dist.Normal(0.0, 2**0.5).log_prob(x) * (torch.arange(4) < lengths[:, None])
    program = (lambda x, n: sites(x, n, True), lambda x, n: sites(x, n, False))
    return program, (x, lengths), each.sum(-1)


def one_chain_at_a_time() -> Oracle:
    """A model that will not take another dimension."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            assert z.dim() == 1
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    x = torch.randn(5)
    return (model, Conjugate.guide), (x,), Conjugate.log_evidence(x)


def joint() -> Oracle:
    x = torch.randn(10) + 0.5
    return GlobalMean, (x,), GlobalMean.log_evidence(x).reshape(1)


def masked_distribution() -> Oracle:
    """`.mask` on the distributions themselves."""
    seen = torch.tensor([True, False, True, True])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Exponential(torch.ones(len(x))).mask(seen))
            pyro.sample("x", dist.Poisson(z).mask(seen), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Gamma(torch.ones(len(x)), 0.5).mask(seen))

    x = torch.tensor([0.0, 3.0, 2.0, 5.0])
    return (model, guide), (x,), -(x + 1) * math.log(2) * seen


ORACLES = [
    gamma_poisson,
    beta_bernoulli,
    chain_of_two,
    plates_within_the_unit,
    enumerated_component,
    dirichlet_categorical,
    support_that_depends,
    ragged_sequences,
    one_chain_at_a_time,
    joint,
    masked_distribution,
]


@pytest.mark.parametrize("start", ["guide", "prior"])
@pytest.mark.parametrize("oracle", ORACLES)
def test_oracles(oracle: Callable[[], Oracle], start: str) -> None:
    program, data, exact = oracle()
    slow = oracle is one_chain_at_a_time
    evidence = annealed_evidence(
        program, data, num_particles=16 if slow else 200, num_temperatures=20, start=start, seed=1
    )
    assert agrees(evidence, exact)
    if exact.unique().numel() > 1:  # it is the annealing that does it
        assert (evidence.ess > 0.4 * evidence.num_particles).all()
