"""Sums in fewer passes say what `log_prob` says, of any shape, and where they do not apply, too."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from pyro_vae import log_evidence
from pyro_vae.program.log_prob import log_prob

EPS = torch.finfo(torch.float32).eps


def parameter() -> Tensor:
    return torch.randn(5, 1, 3, 2).double()


def wide() -> Tensor:
    return 10 * torch.randn(5, 1, 1, 801).double()  # no multiple of anything


def binary(*shape: int) -> Tensor:
    return torch.rand(4, *shape).double().round()


def real() -> Tensor:
    return torch.randn(4, 3, 2).double()


def cases() -> dict[str, tuple[dist.TorchDistribution, Tensor]]:
    """In float64, where rounding is nothing to what a wrong formula would make."""
    p, w, x, b = parameter(), wide(), real(), binary(3, 2)
    ones, half = torch.ones(3, 2).double(), torch.tensor(0.5).double()
    return {
        "Bernoulli by logits": (dist.Bernoulli(logits=p).to_event(2), b),
        "Bernoulli by probabilities": (dist.Bernoulli(p.sigmoid()).to_event(2), b),
        "twice independent": (dist.Bernoulli(logits=p).to_event(1).to_event(1), b),
        "one dimension of two": (dist.Bernoulli(logits=p).to_event(1), b),
        "no event": (dist.Bernoulli(logits=p), b),
        "large logits": (dist.Bernoulli(logits=100 * p).to_event(2), b),
        "wide": (dist.Bernoulli(logits=w).to_event(2), binary(1, 801)),
        "very large logits": (
            dist.Bernoulli(logits=1e300 * w).to_event(1),
            torch.ones(4, 1, 801).double(),
        ),
        "Normal": (dist.Normal(p, p.exp()).to_event(2), x),
        "one scale": (dist.Normal(p, 0.3).to_event(2), x),
        "expanded": (dist.Normal(0 * ones, 0.3).to_event(2).expand([7, 4]), x),
        "expanded events": (dist.Normal(half, half).expand([4, 3, 2]).to_event(2), x),
        "expanded logits": (dist.Bernoulli(logits=ones).to_event(2).expand([7, 4]), b),
        "masked": (dist.Normal(p, 1.0).mask(b > 0).to_event(2), x),
        "another": (dist.Laplace(p, 1.0).to_event(2), x),
        "float32 data": (dist.Bernoulli(logits=p).to_event(2), b.float()),
        "float32 parameters": (dist.Bernoulli(logits=p.float()).to_event(2), b),
    }


@pytest.mark.parametrize("name", cases())
def test_they_agree(name: str) -> None:
    fn, value = cases()[name]
    # sums of six terms of some nats, a few roundings each
    rounding = {"rtol": 10 * EPS, "atol": 10 * EPS} if name == "float32 parameters" else {}
    for validate, with_gradient in ((True, True), (False, True), (False, False)):
        _set_validation(fn, validate)
        expected = fn.log_prob(value)
        with torch.set_grad_enabled(with_gradient):
            actual = log_prob(fn, value)
        assert actual.shape == expected.shape
        torch.testing.assert_close(actual, expected, check_dtype=False, **rounding)


def _set_validation(fn: dist.TorchDistribution, validate: bool) -> None:
    fn._validate_args = validate
    if hasattr(fn, "base_dist"):
        _set_validation(fn.base_dist, validate)


@pytest.mark.parametrize("size", [10.0, 100.0, 1000.0])
@torch.no_grad()
def test_nothing_cancels_where_logits_are_large_and_right(size: float) -> None:
    x = torch.rand(64, 784).round()
    logits = size * torch.rand(64, 784) * (2 * x - 1)
    logits[:, :5] *= -0.1  # nearly
    fn = dist.Bernoulli(logits=logits).to_event(1)
    _set_validation(fn, False)
    exact = dist.Bernoulli(logits=logits.double()).to_event(1).log_prob(x.double())
    # each of the 784 sigmoids is rounded next to 1; the rest is the rounding of sums and products
    torch.testing.assert_close(log_prob(fn, x).double(), exact, rtol=8 * EPS, atol=784 * EPS)


@pytest.mark.parametrize(
    "make", [lambda p: dist.Bernoulli(logits=p), lambda p: dist.Normal(p, p.exp())]
)
def test_they_have_the_same_gradient(make) -> None:
    at = parameter(), binary(3, 2)

    def gradients(score) -> tuple[Tensor, ...]:
        p, x = (tensor.clone().requires_grad_() for tensor in at)
        fn = make(p).to_event(2)
        _set_validation(fn, False)
        return torch.autograd.grad(score(fn, x).square().sum(), (p, x))

    ours = gradients(log_prob)
    torch.testing.assert_close(ours, gradients(lambda fn, value: fn.log_prob(value)))


def test_a_draw_at_infinity_weighs_nothing() -> None:
    """...though what follows from it is no number; the others give the evidence."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.Normal(0.0, 1.0))
            z = pyro.sample("z", dist.Normal(y, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        shares, scales = torch.tensor([0.8, 0.2]), torch.tensor([1.5, 3e38])
        with pyro.plate("data", len(x)):
            one_in_twenty_overflows = dist.MixtureSameFamily(
                dist.Categorical(shares), dist.Normal(0.0, scales)
            )
            y = pyro.sample("y", one_in_twenty_overflows)
            pyro.sample("z", dist.Normal((y + x) / 2, 1.5))

    x = torch.linspace(-2, 2, 6)
    found = log_evidence((model, guide), x, num_particles=20_000, seed=0)
    exact = dist.Normal(0.0, 3**0.5).log_prob(x)
    assert ((found.log_evidence - exact).abs() < 5 * found.standard_error).all()


@pytest.mark.parametrize("events", [0, 1])
def test_a_normal_whose_variance_is_0_in_float32_has_a_density(events: int) -> None:
    scale, loc = torch.tensor([1e-30, 1e-10]), torch.tensor([3.0, 4.0])
    found = log_prob(dist.Normal(loc, scale, validate_args=False).to_event(events), loc)
    exact = dist.Normal(loc.double(), scale.double()).to_event(events).log_prob(loc.double())
    torch.testing.assert_close(found.double(), exact, rtol=4 * EPS, atol=0)
    none = dist.Normal(loc, torch.zeros(2), validate_args=False).to_event(events)
    assert (log_prob(none, loc) > 80).all()
