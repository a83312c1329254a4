"""Layers by oneDNN say what torch's own say, and only where they may take its place."""

import pytest
import torch
from torch import Tensor, nn

from pyro_vae.inference.compiling import onednn
from pyro_vae.inference.compiling.onednn import linear_by_onednn

LAYER, ROWS = nn.Linear(200, 300), torch.randn(100, 200)


@pytest.fixture(autouse=True)
def with_avx512_not_by_intel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "is_intel", lambda: False)
    monkeypatch.setattr(onednn, "has_avx512", lambda: True)


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The inputs of the products that oneDNN was given."""
    seen: list[Tensor] = []
    usual = onednn.product

    def product(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        seen.append(input)
        return usual(input, weight, bias)

    monkeypatch.setattr(onednn, "product", product)
    return seen


@pytest.mark.parametrize(
    "rows",
    [ROWS, ROWS.expand(3, 1, 100, 200), torch.randn(200, 100).t(), ROWS.view(4, 25, 200)],
    ids=["contiguous", "expanded", "transposed", "more dimensions"],
)
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_same_product(rows: Tensor, bias: bool, products: list[Tensor]) -> None:
    layer = nn.Linear(200, 300, bias=bias)
    with torch.no_grad():
        expected = layer(rows)
        with linear_by_onednn():
            torch.testing.assert_close(layer(rows), expected, rtol=1e-5, atol=1e-5)
    assert len(products) == 1


@torch.no_grad()
def test_what_it_does_not_take(products: list[Tensor]) -> None:
    with linear_by_onednn():
        LAYER(ROWS[:3])
        nn.Linear(200, 300).double()(ROWS.double())
        torch.vmap(LAYER)(ROWS.view(2, 50, 200))
        with torch.autocast("cpu"):
            LAYER(ROWS)
        with torch.enable_grad():
            assert LAYER(ROWS).requires_grad
        with pytest.raises(RuntimeError, match="shapes"):
            LAYER(torch.randn(200, 100))
    LAYER(ROWS)
    assert not products


@pytest.mark.parametrize(
    ("name", "answer"),
    [("is_intel", True), ("has_avx512", False)],
    ids=["of Intel's", "without AVX-512"],
)
def test_some_processors_have_the_faster_mkl(
    name: str, answer: bool, monkeypatch: pytest.MonkeyPatch, products: list[Tensor]
) -> None:
    monkeypatch.setattr(onednn, name, lambda: answer)
    with torch.no_grad(), linear_by_onednn():
        LAYER(ROWS)
    assert bool(products) != torch.backends.mkl.is_available()
