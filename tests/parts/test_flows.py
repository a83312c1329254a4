"""Flows: inverses invert, log-determinants are those of the Jacobian."""

import pytest
import torch
from parts.parts import FLOWS
from refused import refused
from torch.distributions import Transform

from pyro_vae.flows import Autoregressive, InverseAutoregressive


@pytest.mark.parametrize("context_dim", [0, 3])
@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_is_a_bijection_with_its_jacobian(name: str, dim: int, context_dim: int) -> None:
    flow = FLOWS[name](dim, context_dim).double()
    contexts = torch.randn(4, context_dim).double() if context_dim else [None] * 4
    for x, context in zip(torch.randn(4, dim).double(), contexts, strict=True):
        bijection: Transform = flow(context)
        y = bijection(x)
        torch.testing.assert_close(flow(context).inv(y), x)
        jacobian = torch.autograd.functional.jacobian(flow(context), x)
        log_det = torch.linalg.slogdet(jacobian).logabsdet
        inverse = flow(context)
        found = inverse.inv(y)
        for of, point in ((bijection, x), (flow(context), x.clone()), (inverse, found)):
            torch.testing.assert_close(of.log_abs_det_jacobian(point, y), log_det)


@pytest.mark.parametrize("name", FLOWS)
def test_contexts_and_vectors_broadcast(name: str) -> None:
    flow, context, x = FLOWS[name](2, 3), torch.randn(4, 3), torch.randn(6, 1, 2)
    y = flow(context)(x)
    assert y.shape == (6, 4, 2)
    torch.testing.assert_close(y[5, 2], flow(context[2])(x[5, 0]))


def test_what_takes_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    x, passes = torch.randn(5, 4), []
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, *_: passes.append(1) if type(module).__name__ == "MaskedMLP" else None
    )
    try:
        for flow, once in ((Autoregressive, "inv"), (InverseAutoregressive, "__call__")):
            passes.clear()
            bijection = flow(4, num_layers=1)()
            y = getattr(bijection, once)(x)
            y = y(x) if isinstance(y, Transform) else y
            pair = (y, x) if once == "inv" else (x, y)
            bijection.log_abs_det_jacobian(*pair)
            assert len(passes) <= 1 + (once == "inv")
    finally:
        hook.remove()


def test_a_flow_of_no_numbers_is_refused() -> None:
    with refused("dim", expected="at least 1"):
        Autoregressive(0)
