"""Softplus and the Bernoulli's cross-entropy for a compiler have torch's values, without a logarithm."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from pyro_vae.inference.compiling.softplus import use_fast_softplus

EVERYWHERE = torch.cat(
    [
        torch.linspace(-30, 30, 20_001),
        torch.logspace(-37, 37, 75),
        -torch.logspace(-37, 37, 75),
        torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan]),
    ]
)
ULPS = 4 * torch.finfo(torch.float32).eps
TORCHS = ("aten.softplus.default", "aten.binary_cross_entropy")

Function = Callable[[Tensor], Tensor]


def replaced(function: Function, x: Tensor) -> tuple[Tensor, bool]:
    """The value of a function as it is compiled, and whether torch's own operations are gone."""
    module = make_fx(lambda x: function(x))(x)
    use_fast_softplus(module)
    return module(x), not any(name in module.code for name in TORCHS)


def cross_entropy(logits: Tensor, target: float | None = None, **options: object) -> Tensor:
    """By default the targets run from 0 to 1."""
    targets = torch.linspace(0, 1, len(logits), dtype=logits.dtype)
    if target is not None:
        targets = torch.full_like(logits, target)
    options = {"reduction": "none"} | options
    return binary_cross_entropy_with_logits(logits, targets, **options)  # type: ignore[arg-type]


def with_gradient(function: Function, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    value = function(x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    return torch.stack([value.detach(), gradient])


def test_softplus_is_right_to_the_last_places() -> None:
    value, is_replaced = replaced(softplus, EVERYWHERE)
    exact = softplus(EVERYWHERE.double(), threshold=60)  # beyond it torch returns the argument
    torch.testing.assert_close(
        value.double(), exact, rtol=ULPS, atol=torch.finfo(torch.float32).tiny, equal_nan=True
    )
    assert is_replaced


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_cross_entropy_is_right_everywhere(target: float) -> None:
    function = partial(cross_entropy, target=target)
    value, is_replaced = replaced(function, EVERYWHERE)
    # torch's own, too, is a difference that has the rounding of the logits
    error = ULPS * EVERYWHERE.abs().nan_to_num(0, 0, 0).double()
    exact = function(EVERYWHERE.double())
    near = (value.double() - exact).abs() <= error + ULPS
    assert (near | (value == exact) | (value.isnan() & exact.isnan())).all()
    assert is_replaced


@pytest.mark.parametrize("function", [softplus, cross_entropy])
def test_the_gradient_stays_that_of_torch(function: Function) -> None:
    logits = torch.linspace(-30, 30, 20_001)
    value, is_replaced = replaced(partial(with_gradient, function), logits)
    exact = with_gradient(function, logits.double())
    torch.testing.assert_close(value.double(), exact, rtol=ULPS, atol=30 * ULPS)
    assert is_replaced


OTHERS: dict[str, tuple[Function, torch.dtype]] = {
    "another beta": (partial(softplus, beta=2), torch.float32),
    "a low threshold": (partial(softplus, threshold=3), torch.float32),
    "softplus in float64": (softplus, torch.float64),
    "softplus in bfloat16": (softplus, torch.bfloat16),
    "a sum": (partial(cross_entropy, reduction="sum"), torch.float32),
    "weights": (partial(cross_entropy, weight=torch.tensor(3.0)), torch.float32),
    "positive weights": (partial(cross_entropy, pos_weight=torch.tensor(3.0)), torch.float32),
    "cross-entropy in float64": (cross_entropy, torch.float64),
}


@pytest.mark.parametrize(("function", "dtype"), OTHERS.values(), ids=OTHERS)
def test_all_else_stays_as_it_is(function: Function, dtype: torch.dtype) -> None:
    x = torch.linspace(-30, 30, 1_001, dtype=dtype)
    value, is_replaced = replaced(function, x)
    assert torch.equal(value, function(x))
    assert not is_replaced
