"""Every likelihood and distribution in float32 at extreme parameters: its density and slopes as in float64.

A result counts as right if it is that of parameters and a value which differ from the given ones by no more
than rounding does, and by some roundings of its own.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from controls import GRAPHS
from parts.parts import LIKELIHOODS, small
from torch import Tensor

from pyro_vae import distributions, fit, log_evidence
from pyro_vae.likelihoods import ContinuousBernoulli, NegativeBinomial, ZeroInflatedNegativeBinomial
from pyro_vae.links import LEAST, RATE, SCALE, log_link
from pyro_vae.models import VAE
from pyro_vae.program.log_prob import log_prob

ROUNDINGS = 100 * torch.finfo(torch.float32).eps
Make = Callable[..., Any]


def score(
    make: Make, parameters: Sequence[Tensor], x: Tensor, dtype: torch.dtype
) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """Return parameters and value, the log-density (N), and its slope for each of them."""
    given = [p.to(dtype).requires_grad_() for p in parameters]
    value = x.to(dtype).requires_grad_()
    log_p = log_prob(make(*given), value)
    slopes = torch.autograd.grad(
        log_p.sum(), [*given, value], create_graph=True, allow_unused=True, materialize_grads=True
    )
    return [*given, value], log_p, [*slopes]


def change(y: Tensor, slopes: Sequence[Tensor], given: Sequence[Tensor]) -> Tensor:
    """Return the change of ``y``, relative to a rounding of what is ``given`` and of a 1."""
    terms = [(s * g).abs().nan_to_num() for s, g in zip(slopes, given, strict=True)]
    rows = [term.flatten(1).sum(1) if term.dim() > 1 else term for term in terms]
    return (1 + y.abs() + sum(row.reshape(-1, *[1] * (y.dim() - 1)) for row in rows)).detach()


def check(make: Make, parameters: Sequence[Tensor], x: Tensor) -> None:
    """Check rows of parameters and values."""
    _, log_p, slopes = score(make, parameters, x, torch.float32)
    given, exact, exact_slopes = score(make, parameters, x, torch.float64)
    largest = torch.finfo(torch.float32).max
    fits = exact.abs() < largest
    error = (log_p - exact).abs()[fits]
    assert (error <= ROUNDINGS * change(exact, exact_slopes, given)[fits]).all()
    assert (log_p[~fits] == -math.inf).all()
    for slope, wanted in zip(slopes[:-1], exact_slopes[:-1], strict=True):
        if not wanted.requires_grad:  # the same everywhere
            assert torch.equal(slope.double(), wanted)
            continue
        turns = torch.autograd.grad(
            wanted.sum(), given, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        fits = wanted.abs() < largest  # the slope of a scale of 1e-20 can be 1e40
        error = (slope - wanted).abs()[fits]
        assert (error <= ROUNDINGS * change(wanted, turns, given)[fits]).all()


@pytest.fixture(autouse=True)
def _unvalidated() -> Iterator[None]:
    """Score values as in training; a float32 value would also fail the check of a float64 sphere."""
    with pyro.validation_enabled(False):
        yield


OUTPUTS = (0.0, 1e-3, -1e-3, 1.0, -1.0, 20.0, -20.0, 60.0, -60.0, 300.0, -300.0)
COUNTS, LEVELS = (0.0, 1.0, 7.0, 1e3, 1e6), (0.0, 3 / 16, 0.5, 15 / 16, 1.0)
VALUES = {
    "Bernoulli": (0.0, 1.0),
    "Beta": (1e-6, 0.3, 1 - 1e-6),
    "Categorical": LEVELS,
    "ContinuousBernoulli": (0.0, 1e-3, 0.5, 0.75, 1.0),
    "DiscretizedLogistic": LEVELS,
    "DiscretizedLogisticMixture": LEVELS,
    "LogNormal": (1e-6, 1.0, 1e4),
    "NegativeBinomial": COUNTS,
    "Poisson": COUNTS,
    "Tokens": (0.0, 2.0, 4.0),
    "ZeroInflatedNegativeBinomial": COUNTS,
    "ZeroInflatedPoisson": COUNTS,
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_likelihood_of_extreme_outputs(name: str) -> None:
    part = LIKELIHOODS[name](2, (), small)
    several, values = part.parameters_per_value, VALUES.get(name, (0.0, -1.0, 300.0, 1e4))
    if several <= 2:
        rows = torch.tensor([*product(OUTPUTS, repeat=several)])
    else:
        rows = torch.tensor(OUTPUTS)[torch.randint(len(OUTPUTS), (300, several))]
    outputs = rows.repeat_interleave(len(values), 0)

    def make(outputs: Tensor) -> Any:
        return part.to(outputs.dtype).from_parameters(outputs)

    check(make, [outputs], torch.tensor(values).repeat(len(rows)))


SCALES, SIZES = (1e-20, 1e-3, 1.0, 1e6), (1e-6, 1e-3, 1.0, 300.0, 1e6)
LOGITS = (*OUTPUTS, 17.0, 0.19, 0.21, 1e4, -1e4)
logistic = partial(distributions.DiscretizedLogistic, levels=17)
CASES: dict[str, tuple[Make, Sequence[Sequence[float]], Sequence[float]]] = {
    "Bernoulli": (lambda logits: dist.Bernoulli(logits=logits), [LOGITS], (0, 1)),
    "Beta": (distributions.Beta, [SIZES, SIZES], (1e-6, 0.5, 1 - 1e-6)),
    "ContinuousBernoulli": (distributions.ContinuousBernoulli, [LOGITS], (0, 1e-6, 0.3, 0.9, 1)),
    "DiscretizedLogistic": (logistic, [(-1e3, 0.3, 1.0, 50.0), (1e-4, 0.1, 1e6)], LEVELS),
    "LogNormal": (dist.LogNormal, [(-20.0, 0.0, 20.0), (1e-3, 1.0, 1e6)], (1e-20, 1.0, 1e20)),
    "NegativeBinomial": (
        lambda r, logits: distributions.NegativeBinomial(r, logits=logits),
        [(1e-20, *SIZES, 1e9), OUTPUTS],
        COUNTS,
    ),
    "Normal": (dist.Normal, [(-1e6, 0.0, 1e-20), SCALES], (0.0, 1e-20, 1e4)),
    "Poisson": (distributions.Poisson, [(-300.0, -60.0, 0.0, 13.8, 15.0, 40.0)], COUNTS),
    "StudentT": (distributions.StudentT, [SIZES, (-1e6, 0.0), SCALES], (0.0, 1.0, 1e4)),
    "ZeroInflated": (
        lambda gate: distributions.ZeroInflated(distributions.Poisson(torch.ones_like(gate)), gate),
        [OUTPUTS],
        COUNTS,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_distribution_of_extreme_parameters(name: str) -> None:
    make, columns, values = CASES[name]
    rows = torch.tensor([*product(*columns, values)], dtype=torch.float32)
    check(make, rows[:, :-1].unbind(1), rows[:, -1])


@pytest.mark.parametrize("batch", [(), (5,)])
def test_mixtures_of_narrow_and_wide_normals(batch: tuple[int, ...]) -> None:
    logits, loc = torch.tensor([0.0, -300.0, 20.0]), torch.tensor([[0.0], [1.0], [-1e3]])
    scale = torch.tensor([[1e-20], [1.0], [1e6]])
    x = torch.tensor([[0.0], [1e-20], [1.0], [1.5], [1e4]])
    parameters = [p.expand(*batch, *p.shape) for p in (logits, loc, scale)]
    ours = distributions.NormalMixture(*parameters).log_prob(x)
    exact = distributions.NormalMixture(*(p.double() for p in parameters)).log_prob(x.double())
    parts = dist.Normal(loc.double(), scale.double()).to_event(1)
    weights = dist.Categorical(logits=logits.double())
    torch.testing.assert_close(exact, dist.MixtureSameFamily(weights, parts).log_prob(x.double()))
    assert ((ours - exact).abs() <= ROUNDINGS * (1 + exact.abs())).all()


@pytest.mark.parametrize("dim", [2, 3, 20])
@pytest.mark.parametrize("concentration", SIZES)
def test_densities_on_spheres(dim: int, concentration: float) -> None:
    loc, near = torch.eye(dim)[0], torch.eye(dim)[:2].sum(0) / math.sqrt(2)
    z = torch.stack([loc, near, -loc])
    k = torch.full((3,), concentration)
    _, log_p, (slope, _) = score(lambda k: sphere(loc, k), [k], z, torch.float32)
    given, exact, (wanted, _) = score(lambda k: sphere(loc, k), [k], z, torch.float64)
    assert (
        (log_p - exact).abs() <= ROUNDINGS * (1 + exact.abs() + (wanted * given[0]).abs())
    ).all()
    assert ((slope - wanted).abs() <= ROUNDINGS * (1 + wanted.abs())).all()


def sphere(loc: Tensor, concentration: Tensor) -> distributions.VonMisesFisher:
    return distributions.VonMisesFisher(loc.to(concentration).expand(3, -1), concentration)


@pytest.mark.parametrize("location", [0.0, 1e-3, -20.0, 60.0, 300.0])
def test_an_ordered_logistic_distribution(location: float) -> None:
    at, cutpoints = torch.tensor([location]), torch.tensor([-60.0, -1.0, 1e-3, 20.0])
    ours = distributions.OrderedLogistic(at, cutpoints).logits[0]
    exact = distributions.OrderedLogistic(at.double(), cutpoints.double()).logits[0]
    torch.testing.assert_close(exact.exp().sum(), torch.ones(()).double())
    assert ((ours - exact).abs() <= ROUNDINGS * (1 + exact.abs())).all()


# --- the continuous Bernoulli -----------------------------------------------------------------


@pytest.mark.parametrize("logit", [0.0, 1e-3, 0.19, 0.21, 5.0, 17.0, 60.0, -60.0, 1e4, -1e4])
def test_a_continuous_bernoulli_is_a_density(logit: float) -> None:
    p = distributions.ContinuousBernoulli(torch.tensor(logit))
    nodes = torch.cat([torch.zeros(1), torch.logspace(-9, 0, 2000)]).double()
    x = 1 - nodes if logit > 0 else nodes  # dense where the mass is
    masses = p.log_prob(x.float()).double().exp()  # float32 only
    wide = distributions.ContinuousBernoulli(torch.tensor(logit).double())
    error = torch.trapezoid(wide.log_prob(x).exp(), nodes) - 1  # the grid's
    rounded = 1e-6 + abs(logit) * torch.finfo(torch.float32).eps  # x is rounded
    assert abs(error) < 1e-3
    assert (torch.trapezoid(masses, nodes) - 1 - error).abs() < rounded
    assert (torch.trapezoid(wide.log_prob(x).exp() * x, nodes) - wide.mean).abs() < 2e-3
    torch.testing.assert_close(p.mean.double(), wide.mean, rtol=0, atol=1e-6)


def test_slopes_of_a_continuous_bernoulli_are_right_near_0() -> None:
    """The slope of log p is x less the mean, 1/2 + l/12 - l^3/720 + ..."""
    size = torch.cat([torch.zeros(1), torch.logspace(-30, -1, 200)])
    logits = torch.cat([-size, size]).requires_grad_()
    p = distributions.ContinuousBernoulli(logits)
    (slope,) = torch.autograd.grad(p.log_prob(torch.tensor(0.3)).sum(), logits)
    mean = 0.5 + logits / 12 - logits**3 / 720
    torch.testing.assert_close(slope, 0.3 - mean, rtol=0, atol=3e-7)
    torch.testing.assert_close(p.mean, mean, rtol=0, atol=3e-7)


@pytest.mark.parametrize("logit", [0.0, 1e-12, 1e-3, -5.0, 20.0, 1e4, -1e4])
def test_draws_of_a_continuous_bernoulli_follow_it(logit: float) -> None:
    p = distributions.ContinuousBernoulli(torch.tensor(logit))
    mass = torch.linspace(0, 1, 9)
    x = p.icdf(mass)
    below = (
        x if abs(logit) < 1e-6 else torch.expm1(logit * x.double()) / math.expm1(min(logit, 700))
    )
    if logit < 1e3:  # exp(1e4) is none of float64's numbers
        torch.testing.assert_close(below.float(), mass, rtol=0, atol=3e-6)
    draws = p.sample((20_000,))
    assert p.support.check(draws).all()
    assert (draws.mean() - p.mean).abs() < 5 * draws.std() / len(draws) ** 0.5 + 1e-7


def test_its_step_is_a_graph() -> None:
    """...also where logits are so large that torch's slopes are noise, which differs from run to run."""
    model, x = VAE((400,), 2, likelihood=ContinuousBernoulli), torch.rand(64, 400).round(decimals=1)
    with torch.no_grad():
        [*model.likelihood.parameters()][-2].mul_(50)
    notes = fit(model, x, epochs=2, batch_size=64, progress=False, control=GRAPHS).notes
    assert any("run as a graph" in note for note in notes)


# --- starts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", [NegativeBinomial, ZeroInflatedNegativeBinomial])
def test_raw_counts_are_fitted_from_the_start(likelihood: Any) -> None:
    """An encoder of inputs of hundreds gives outputs of hundreds, whose exp would be infinite."""
    rates = 1000 * torch.rand(20).square()
    x = torch.poisson(rates.expand(200, 20))
    model = VAE((20,), 2, likelihood=likelihood)
    start = log_evidence(model, x, num_particles=10).mean
    fit(model, x, epochs=150, progress=False, compile="off")
    # every r starts at 1: a geometric distribution of the right mean is to be reached first
    goal = torch.distributions.Geometric(1 / (1 + rates)).log_prob(x).sum(-1).mean()
    assert -1e5 < start < 2 * goal
    assert log_evidence(model, x, num_particles=10).mean > (start + goal) / 2


@pytest.mark.parametrize("raw", [0.0, -1.0, -15.0, -15.5, -300.0, 1.0, 14.0, 15.5, 300.0])
@pytest.mark.parametrize("bend", [SCALE, RATE])
def test_links(raw: float, bend: float) -> None:
    at = torch.tensor(raw).requires_grad_()
    log_f = log_link(at, bend)
    (slope,) = torch.autograd.grad(log_f, at)
    inner = min(max(raw, LEAST), bend)
    over, under = max(raw - bend, 0), max(LEAST - raw, 0)
    assert log_f.item() == pytest.approx(inner + math.log1p(over) - math.log1p(under), rel=1e-6)
    assert slope.item() == pytest.approx(1 / (1 + over + under), rel=1e-6)  # no jump at the bends
