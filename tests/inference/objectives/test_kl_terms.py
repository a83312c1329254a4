"""KL terms with a weight, a floor or a size: schedules, free bits, capacity."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from refused import refused
from torch import Tensor

from pyro_vae.inference.objectives import Capacity, Cyclical, FreeBits, Linear, Tempered
from pyro_vae.inference.objectives.free_bits import rates
from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.objective import Objective
from pyro_vae.models import FactorAnalysis

X = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
LOC, SCALE = torch.tensor([1.5, 0.1, -0.4]), torch.tensor([0.4, 1.1, 0.8])


def model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


def guide(x: Tensor) -> None:
    loc, scale = pyro.param("loc", LOC), pyro.param("scale", SCALE)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc * x, scale).to_event(1))


def terms(count: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Draws that come next, the likelihood of each datum, and log q - log p of each number."""
    loc, scale = (pyro.param(n, v) for n, v in (("loc", LOC), ("scale", SCALE)))
    shape = (count,) * (count > 1) + X.shape
    z = loc * X + scale * torch.randn(shape)
    likelihood = dist.Normal(z, 1.0).log_prob(X).sum(-1)
    return (
        z,
        likelihood,
        dist.Normal(loc * X, scale).log_prob(z) - dist.Normal(0.0, 1.0).log_prob(z),
    )


def value_and_gradient(elbo: Objective, program=(model, guide)) -> tuple[Tensor, ...]:
    pyro.clear_param_store()
    guide(X)
    elbo = elbo.planned(program, X)
    parameters = [pyro.get_param_store()._params[name] for name in ("loc", "scale")]
    pyro.set_rng_seed(3)
    loss = elbo.differentiable_loss(*program, X)
    return (-loss.detach(), *torch.autograd.grad(-loss, parameters))


def expect(elbo: Objective, formula, count: int = 1) -> None:
    found = value_and_gradient(elbo)
    parameters = [pyro.get_param_store()._params[name] for name in ("loc", "scale")]
    pyro.set_rng_seed(3)
    expected = formula(*terms(count)[1:])
    torch.testing.assert_close(found[0], expected.detach())
    for one, other in zip(found[1:], torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("nats", [0.0, 0.3, 50.0])
def test_free_bits_floor_each_number_of_the_vector(nats: float, count: int) -> None:
    def formula(likelihood: Tensor, kl: Tensor) -> Tensor:
        of_numbers = kl.reshape(-1, 3).mean(0)
        assert nats != 0.3 or (of_numbers.min() < 0.3 < of_numbers.max())
        return 8 * (likelihood.mean() - torch.clamp(of_numbers, min=nats).sum())

    expect(FreeBits(nats, count), formula, count)


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("nats", [0.0, 40.0])
def test_capacity_holds_the_kl_of_the_batch(nats: float, count: int) -> None:
    def formula(likelihood: Tensor, kl: Tensor) -> Tensor:
        return 8 * (likelihood.mean() - 7.0 * (kl.sum(-1).mean() - nats).abs())

    expect(Capacity(7.0, Linear(0, 50), count).at(torch.tensor(nats)), formula, count)


def draws_of(program) -> GuideDraws:
    pyro.set_rng_seed(1)
    return FreeBits().planned(program, X).draw(*program, (X,), {})


def test_a_site_whose_numbers_depend_on_each_other_is_one_group() -> None:
    def full(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.MultivariateNormal(x, torch.eye(3)))

    draws = draws_of((model, full))
    assert len(rates(draws)) == 1
    torch.testing.assert_close(rates(draws)[0], draws.log_probs.rate.mean())
    assert len(rates(draws_of((model, guide)))) == 3


def test_groups_are_masked_and_weighted_as_the_sites_are() -> None:
    keep = torch.arange(8) < 3
    pair = tuple(Tempered(2.0)(poutine.mask(part, mask=keep)) for part in (model, guide))
    draws = draws_of(pair)
    torch.testing.assert_close(rates(draws).sum(), draws.log_probs.rate.mean())
    plain = draws_of((model, guide)).log_probs.rate
    torch.testing.assert_close(draws.log_probs.rate[0, :3], 2 * plain[0, :3])
    assert (draws.log_probs.rate[0, 3:] == 0).all()


def test_free_bits_never_exceed_the_elbo() -> None:
    fa = FactorAnalysis((3,), 2)
    for nats in (0.0, 0.5):
        elbo = FreeBits(nats, 200).planned(fa, X)
        assert -elbo.loss(fa.model, fa.guide, X) < fa.log_evidence(X).sum()


# --- schedules ------------------------------------------------------------------------------------


def test_schedules_are_what_the_papers_say() -> None:
    grows, cycles = Linear(0.5, 2.5, epochs=4), Cyclical(2.0, epochs=10, rising=0.5)
    assert [grows(e) for e in (0, 1, 4, 100)] == [0.5, 1.0, 2.5, 2.5]
    for epochs in (0.5, 3.0, 5.0, 7.5, 10.0, 12.5, 20.0, 21.0):
        place = epochs % 10 / 10  # Fu et al.: tau = mod(t, T/M) / (T/M), beta = tau / R up to R
        expected = 2.0 * min(1.0, place / 0.5) if place else 2.0
        assert cycles(epochs) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("make", "subject", "expected"),
    [
        (lambda: Linear(-1, 1), "start", "at least 0"),
        (lambda: Linear(0, 1, epochs=0), "epochs", "positive"),
        (lambda: Cyclical(-2), "end", "at least 0"),
        (lambda: Cyclical(rising=0), "rising", "(0, 1]"),
        (lambda: Capacity(gamma=-1), "gamma", "at least 0"),
        (lambda: FreeBits(nats="many"), "nats", "a finite number"),
    ],
)
def test_numbers_that_make_no_sense(make, subject: str, expected: str) -> None:
    with refused(subject, expected=expected):
        make()
