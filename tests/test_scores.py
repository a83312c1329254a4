"""Sums in fewer passes say what `log_prob` says, of any shape, and where they do not apply, too."""

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from pyro_vae.scores import log_prob

PARAMETER = torch.randn(5, 1, 3, 2)
WIDE = 10 * torch.randn(5, 1, 1, 801)  # no multiple of anything
BINARY, REAL = torch.randn(4, 3, 2).sign().relu(), torch.randn(4, 3, 2)
CASES = {
    "Bernoulli by logits": (dist.Bernoulli(logits=PARAMETER).to_event(2), BINARY),
    "Bernoulli by probabilities": (dist.Bernoulli(PARAMETER.sigmoid()).to_event(2), BINARY),
    "twice independent": (dist.Bernoulli(logits=PARAMETER).to_event(1).to_event(1), BINARY),
    "one dimension of two": (dist.Bernoulli(logits=PARAMETER).to_event(1), BINARY),
    "no event": (dist.Bernoulli(logits=PARAMETER), BINARY),
    "large logits": (dist.Bernoulli(logits=100 * PARAMETER).to_event(2), BINARY),
    "wide": (dist.Bernoulli(logits=WIDE).to_event(2), torch.rand(4, 1, 801).round()),
    "very large logits": (dist.Bernoulli(logits=1e30 * WIDE).to_event(1), torch.ones(4, 1, 801)),
    "Normal": (dist.Normal(PARAMETER, PARAMETER.exp()).to_event(2), REAL),
    "one scale": (dist.Normal(PARAMETER, 0.3).to_event(2), REAL),
    "expanded": (dist.Normal(torch.zeros(3, 2), 0.3).to_event(2).expand([7, 4]), REAL),
    "expanded events": (dist.Normal(0.5, 0.3).expand([4, 3, 2]).to_event(2), REAL),
    "expanded logits": (dist.Bernoulli(logits=torch.ones(3, 2)).to_event(2).expand([7, 4]), BINARY),
    "masked": (dist.Normal(PARAMETER, 1.0).mask(BINARY > 0).to_event(2), REAL),
    "another": (dist.Laplace(PARAMETER, 1.0).to_event(2), REAL),
    "float64 data": (dist.Bernoulli(logits=PARAMETER).to_event(2), BINARY.double()),
}


@pytest.mark.parametrize("name", CASES)
def test_they_agree(name: str) -> None:
    fn, value = CASES[name]
    for validate, with_gradient in ((True, True), (False, True), (False, False)):
        _set_validation(fn, validate)
        expected = fn.log_prob(value)
        with torch.set_grad_enabled(with_gradient):
            actual = log_prob(fn, value)
        assert actual.shape == expected.shape
        torch.testing.assert_close(actual, expected, check_dtype=False, rtol=1e-5, atol=1e-4)


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
    torch.testing.assert_close(log_prob(fn, x).double(), exact, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize(
    "make", [lambda p: dist.Bernoulli(logits=p), lambda p: dist.Normal(p, p.exp())]
)
def test_they_have_the_same_gradient(make) -> None:
    def gradients(score) -> tuple[Tensor, Tensor]:
        parameter, value = PARAMETER.clone().requires_grad_(), BINARY.clone().requires_grad_()
        fn = make(parameter).to_event(2)
        _set_validation(fn, False)
        score(fn, value).square().sum().backward()
        return parameter.grad, value.grad

    ours = gradients(log_prob)
    torch.testing.assert_close(ours, gradients(lambda fn, value: fn.log_prob(value)))
