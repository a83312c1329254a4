"""Guides that give another density than that of their draws."""

import math
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoIAFNormal, AutoMultivariateNormal, AutoNormal, AutoStructured
from refused import refused
from torch import Tensor
from torch.distributions import StickBreakingTransform

from pyro_vae import log_evidence
from pyro_vae.inference.evidence.ais import Annealed

X = torch.tensor([7.0, 2.0, 10.0, 4.0])
METHODS = ["importance", "auto", "sandwich", Annealed(5)]


def coins(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        p = pyro.sample("p", dist.Beta(2.0, 2.0))
        pyro.sample("x", dist.Binomial(10, p), obs=x)


def of_a_normal(x: Tensor, log_density: Any) -> None:
    with pyro.plate("data", len(x)):
        loc = 0.8 * ((x + 1) / (11 - x)).log()
        u = pyro.sample("u", dist.Normal(loc, 0.8), infer={"is_auxiliary": True})
        pyro.sample("p", dist.Delta(u.sigmoid(), log_density=log_density(u)))


def no_density(u: Tensor) -> Tensor:
    return torch.zeros(())


def right_density(u: Tensor) -> Tensor:
    return u.abs() + 2 * torch.nn.functional.softplus(-u.abs())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "wrong", [no_density, lambda u: -right_density(u), lambda u: right_density(u) + 0.7]
)
def test_a_point_with_the_density_of_another_map(method, wrong) -> None:
    with refused("p", remedy="log |det|"):
        log_evidence((coins, partial(of_a_normal, log_density=wrong)), X, method=method)


@pytest.mark.parametrize("method", ["importance", Annealed(5)])
def test_a_point_with_its_density(method) -> None:
    guide = partial(of_a_normal, log_density=right_density)
    evidence = log_evidence((coins, guide), X, method=method, num_particles=2000, seed=0)
    log_beta = torch.lgamma(2 + X) + torch.lgamma(12 - X) - math.lgamma(14)
    log_choose = math.lgamma(11) - torch.lgamma(X + 1) - torch.lgamma(11 - X)
    exact = log_choose + log_beta + math.log(6)
    known = ~evidence.without_error
    assert known.sum() >= 3
    assert ((evidence.log_evidence - exact).abs() < 4 * evidence.standard_error)[known].all()


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_map_of_several_numbers(forgotten) -> None:
    """Onto a simplex, whose density is that of its first numbers; all data share it."""
    onto, loc = StickBreakingTransform(), torch.tensor([0.3, -0.2])

    def model(x: Tensor) -> None:
        shares = pyro.sample("shares", dist.Dirichlet(torch.ones(3)))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Categorical(shares), obs=x)

    def guide(x: Tensor) -> None:
        u = pyro.sample("u", dist.Normal(loc, 1.0).to_event(1), infer={"is_auxiliary": True})
        shares = onto(u)
        log_density = torch.zeros(()) if forgotten else -onto.log_abs_det_jacobian(u, shares)
        pyro.sample("shares", dist.Delta(shares, log_density=log_density, event_dim=1))

    x = torch.tensor([0, 0, 1, 2])
    for method in ("importance", Annealed(5)):
        if forgotten:
            with refused("shares", remedy="log |det|"):
                log_evidence((model, guide), args=(x,), method=method)
        else:
            evidence = log_evidence(
                (model, guide), args=(x,), method=method, num_particles=2000, seed=0
            )
            exact = math.lgamma(3) - math.lgamma(7) + math.log(2)
            assert abs(evidence.total - exact) < 4 * evidence.mean_standard_error


def of_every_kind(y: Tensor) -> None:
    shares = pyro.sample("shares", dist.Dirichlet(torch.ones(3)))
    scale = pyro.sample("scale", dist.Gamma(2.0, 1.0))
    factor = pyro.sample("factor", dist.LKJCholesky(3, 1.0))
    offset = pyro.sample("offset", dist.Uniform(-1.0, 2.0))
    loc = (shares * torch.arange(3.0)).sum(-1) + offset + factor[..., 2, 1]
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(loc, scale), obs=y)


@pytest.mark.parametrize(
    "kind",
    [AutoStructured, AutoIAFNormal]
    + [partial(a, init_scale=s) for a in (AutoNormal, AutoMultivariateNormal) for s in (0.1, 3.0)],
)
def test_an_autoguide_is_believed_wherever_it_is(kind) -> None:
    torch.manual_seed(0)
    guide = kind(of_every_kind)
    guide(X)
    for seed in range(3):
        assert (
            log_evidence((of_every_kind, guide), args=(X,), num_particles=10, seed=seed).num_units
            == 1
        )


@pytest.mark.parametrize("method", METHODS)
def test_an_autoguide_that_leaves_the_circle(method) -> None:
    def angles(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.VonMises(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    guide = AutoNormal(angles)
    guide(X)
    with refused("z", remedy="prior's support") as error:
        log_evidence((angles, guide), args=(X,), method=method)
    assert "'z_unconstrained'" in str(error.value)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("of_model", [False, True])
def test_noise_that_is_no_sample(method, of_model) -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(of_model * torch.randn(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2 + (not of_model) * torch.randn(len(x)), 0.8))

    with refused("program", remedy="`pyro.sample`"):
        log_evidence((model, guide), args=(X / 5,), method=method)
