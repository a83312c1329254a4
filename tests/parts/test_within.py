"""Draws of a made guide are numbers, inside of their support, however far its parameters have gone."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae import InputError, fit
from pyro_vae.guides import AutoAmortized
from pyro_vae.guides.latent import LatentCoordinates
from pyro_vae.guides.model_facts import latent_of
from pyro_vae.guides.own_family import beta
from pyro_vae.guides.within import Within
from pyro_vae.links import slowed

PRIORS = {
    "LogNormal": dist.LogNormal(0.0, 5.0),
    "far LogNormal": dist.LogNormal(50.0, 1.0),
    "Gamma": dist.Gamma(0.1, 0.3),
    "narrow Gamma": dist.Gamma(0.01, 1.0),
    "Gamma, own family": dist.Gamma(2.0, 1.0),
    "Beta": dist.Beta(0.05, 0.05),
    "Beta, own family": dist.Beta(2.0, 2.0),
    "Pareto": dist.Pareto(1.0, 1.5),
    "Uniform": dist.Uniform(100.0, 101.0),
    "Dirichlet": dist.Dirichlet(torch.full((3,), 0.05)),
}


def coordinates_of(prior) -> LatentCoordinates:
    torch.manual_seed(0)
    model = poutine.trace(lambda: pyro.sample("z", prior))
    return latent_of("z", [model.get_trace() for _ in range(64)]).coordinates


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
@pytest.mark.parametrize("astray", [-1e5, -100.0, 0.0, 100.0, 1e5])
def test_draws_have_a_finite_density_wherever_the_parameters_are(prior, astray: float) -> None:
    coordinates = coordinates_of(prior)
    loc = torch.full((500, coordinates.size), astray).requires_grad_()
    q = coordinates.distribution(loc, torch.full_like(loc, 300.0), None)
    z = q.rsample()
    assert prior.support.check(z).all()
    difference = prior.log_prob(z) - q.log_prob(z)
    assert difference.isfinite().all()
    assert torch.autograd.grad(difference.sum(), loc)[0].isfinite().all()


def test_the_density_beyond_the_bounds_integrates_to_1() -> None:
    """The mean of prior / q is 1, if q's density is that of its draws: here one in five lies beyond 30."""
    coordinates = coordinates_of(dist.LogNormal(0.0, 1.0))
    q = coordinates.distribution(torch.zeros(200_000, 1), torch.full((200_000, 1), 25.0), None)
    z = q.sample()
    assert ((z.log().abs() > 30).float().mean() - math.erfc(1.2 / 2**0.5)).abs() < 0.005
    prior = dist.LogNormal(0.0, 40.0)
    ratio = (prior.log_prob(z) - q.log_prob(z)).exp()
    inside = z.log().abs() < 33
    exact = math.erf(33 / 40 / 2**0.5)
    error = float((ratio * inside).std()) / 200_000**0.5
    assert abs(float((ratio * inside).mean()) - exact) < 4 * error


def test_a_prior_lies_within_its_bounds() -> None:
    for location, scale in ((50.0, 1.0), (-40.0, 2.0), (0.0, 1.0)):
        bounds = Within.around(torch.tensor([location]), torch.tensor([scale]))
        x = torch.linspace(location - 3 * scale, location + 3 * scale, 13)
        assert torch.equal(bounds(x), x)


def test_the_map_has_an_inverse() -> None:
    bounds = Within(-3.0, 4.0)
    x = torch.linspace(-200.0, 300.0, 101, dtype=torch.float64).requires_grad_()
    y = bounds(x)
    torch.testing.assert_close(bounds.inv(y), x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(bounds.log_abs_det_jacobian(x, y), slope.log())


def test_no_draw_of_a_beta_factor_rounds_to_a_bound() -> None:
    torch.manual_seed(0)
    q = beta(torch.tensor([-25.0, 14.0]), torch.tensor([1.0, 1.0]))
    z = q.rsample(torch.Size((20_000,)))
    assert ((z > 0) & (z < 1)).all()
    assert q.log_prob(z).isfinite().all()


def counts(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        rate = pyro.sample("rate", dist.Gamma(0.1, 0.1))
        pyro.sample("x", dist.Poisson(rate), obs=x)


def trained(model, x: Tensor, rate: float, steps: int):
    pyro.set_rng_seed(0)
    guide = AutoAmortized(model, x)
    optimizer = torch.optim.Adam(guide.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        (-elbo(model, guide, x)).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        draws = torch.stack([elbo(model, guide, x) for _ in range(300)])
    return draws.mean(), draws.std() / 300**0.5


def elbo(model, guide, x: Tensor) -> Tensor:
    drawn = poutine.trace(guide).get_trace(x)
    replayed = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(x)
    return replayed.log_prob_sum() - drawn.log_prob_sum()


def test_large_steps_with_a_pole_and_extreme_counts_stay_finite() -> None:
    """Gamma-Poisson counts have a negative binomial evidence, which no ELBO exceeds."""
    x = torch.tensor([0.0, 1.0, 3.0, 40.0, 1e3, 1e5] * 5)
    evidence = dist.GammaPoisson(0.1, 0.1).log_prob(x.double()).sum()
    mean, error = trained(counts, x, 1e-2, 100)
    assert mean.isfinite()
    assert mean < evidence + 4 * error


def spread(x: Tensor) -> None:
    scale = pyro.sample("scale", dist.LogNormal(-5.0, 5.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(0.0, scale), obs=x)


def test_a_guide_starts_where_the_data_are_probable() -> None:
    """At the prior's location, exp(-5), the data have -220,000 nats, and Adam remembers their gradient."""
    x = torch.tensor([-1.5, -1.0, -0.7, -0.4, -0.1, 0.2, 0.5, 0.8, 1.1, 1.6] * 2)
    u = torch.linspace(-5.0, 5.0, 20_001, dtype=torch.float64)
    density = dist.Normal(-5.0, 5.0).log_prob(u)
    density += dist.Normal(0.0, u.exp().unsqueeze(-1)).log_prob(x.double()).sum(-1)
    evidence = (density.logsumexp(0) + math.log(u[1] - u[0])).item()
    mean, error = trained(spread, x, 1e-2, 500)
    assert evidence - 0.05 - 4 * error < mean < evidence + 4 * error


def two_states(x: Tensor) -> None:
    """Paths of two states, which are summed out."""
    with pyro.plate("states", 2):
        stay = pyro.sample("stay", dist.Beta(4.0, 1.0))
        loc = pyro.sample("loc", dist.Normal(torch.tensor([-1.0, 1.0]), 3.0))
    with pyro.plate("paths", len(x)):
        state: Any = None
        for t in pyro.markov(range(x.shape[1])):
            first = torch.full(x.shape[:1], 0.5) if state is None else 1 - stay[state]
            first = first if state is None else torch.where(state == 0, stay[state], first)
            probs = torch.stack([first, 1 - first], -1)
            fn = dist.Categorical(probs)
            state = pyro.sample(f"state_{t}", fn, infer={"enumerate": "parallel"})
            pyro.sample(f"x_{t}", dist.Normal(loc[state], 0.5), obs=x[:, t])


@pytest.mark.parametrize("seed", range(3))
def test_a_guide_starts_where_all_paths_together_are_probable(seed: int) -> None:
    """One drawn path of states says nothing of the states' locations, which are -4 and 4."""
    x = 4.0 * torch.tensor([[-1.0, -1, 1, 1, 1, -1]]) + 0.5 * torch.randn(8, 6)
    pyro.set_rng_seed(seed)
    guide = AutoAmortized(two_states, x)
    loc = poutine.trace(guide).get_trace(x).nodes["loc"]["value"]
    assert loc[0] < -2
    assert loc[1] > 2


def crossing(x: Tensor) -> None:
    """Discrete latents in plates that cross, which cannot be summed out together."""
    loc = pyro.sample("loc", dist.Normal(0.0, 3.0))
    enumerated = {"enumerate": "parallel"}
    rows, columns = pyro.plate("rows", 2, dim=-2), pyro.plate("columns", 3, dim=-1)
    with columns:
        u = pyro.sample("u", dist.Categorical(torch.ones(2)), infer=enumerated)
    with rows:
        v = pyro.sample("v", dist.Categorical(torch.ones(2)), infer=enumerated)
    with rows, columns:
        pyro.sample("x", dist.Normal(loc + u + v, 1.0), obs=x)


def test_what_cannot_be_summed_out_is_refused_by_the_fit() -> None:
    x = torch.randn(2, 3)
    AutoAmortized(crossing, x)
    with pytest.raises(InputError):
        fit(crossing, args=(x,), epochs=1, progress=False)


@pytest.mark.parametrize("below", [0.0, 3.0, -100.0])
def test_density_of_narrow_draws_far_from_0_is_that_of_their_noise(below: float) -> None:
    """Rounding moves a draw by a part of its scale; dependences multiply it in the noise found from it."""
    coordinates = coordinates_of(dist.Normal(torch.zeros(5), 1.0).to_event(1))
    loc, scale = torch.full((20_000, 5), 1e4), torch.full((20_000, 5), 1e-4)
    torch.manual_seed(0)
    q = coordinates.distribution(loc, scale, torch.full((20_000, 10), below))
    off = q.log_prob(q.sample()) + q.entropy()  # of which 5/2 is the variance
    assert abs(float(off.mean())) < 4 * (2.5 / 20_000) ** 0.5 + 0.05
    assert float(off.std()) < 1.1 * 2.5**0.5


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of torch's own forward mode
def test_slowed_numbers_have_all_derivatives() -> None:
    """Backward and forward mode, twice, and under vmap, against finite differences and each other."""
    x = torch.tensor([-40.0, -3.0, 0.5, 4.0, 50.0], dtype=torch.float64, requires_grad=True)

    def slow(x: Tensor) -> Tensor:
        return slowed(x, -2.0, 3.0)

    assert torch.autograd.gradcheck(slow, x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(slow, x)

    def total(x: Tensor) -> Tensor:
        return slow(x).exp().sum()

    forward_over_backward = torch.func.hessian(total)(x.detach())
    twice_backward = torch.autograd.functional.hessian(total, x.detach())
    torch.testing.assert_close(forward_over_backward, twice_backward)
    rows = x.detach().repeat(2, 1)
    torch.testing.assert_close(torch.func.vmap(slow)(rows), slow(rows))
