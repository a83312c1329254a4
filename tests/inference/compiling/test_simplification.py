"""A simplified graph does less, and the same to the last bit."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pyro_vae.inference.compiling.fx_capture import capture_once
from pyro_vae.inference.compiling.simplification import simplify


def repeated(x: Tensor) -> tuple[Tensor, ...]:
    return ((x.sin() + x.sin().detach().view(x.shape)).sum(),)


def results_alike(x: Tensor) -> tuple[Tensor, ...]:
    return x.cos(), x.cos(), x.cos().view(-1)


def written_in_between(x: Tensor) -> tuple[Tensor, ...]:
    y = x.sin()
    before = y.cos()
    y.view(-1)[1:3].add_(1)
    return (before.sum(), y.cos().sum(), x.sin().cos().sum())


def read_through_views(x: Tensor) -> tuple[Tensor, ...]:
    y = x + 0
    before = y[0].exp().sum()
    y.mul_(2)
    return (before, y[0].exp().sum())


def written_through_a_view_that_does_not_say_so(x: Tensor) -> tuple[Tensor, ...]:
    weights = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    first = (x.expand(4, 3, 2) @ weights).relu_()
    second = torch.unsafe_chunk(x.sin(), 2, -1)[0].mul_(2)
    flat = x.t().flatten().mul_(2)
    after = (x.expand(4, 3, 2) @ weights).sum(), x.sin().sum(), x.t().flatten().sum()
    return (first.sum(), second.sum(), flat.sum(), *after)


def results_by_copies(x: Tensor) -> tuple[Tensor, ...]:
    return x.t().flatten(), x.t().flatten()


def drawn_twice(x: Tensor) -> tuple[Tensor, ...]:
    return (
        (torch.randn_like(x) - torch.randn_like(x)).sum(),
        torch.zeros(3).add_(1),
        torch.zeros(3),
    )


def signed_zeros(x: Tensor) -> tuple[Tensor, ...]:
    return (1 / (x * 0.0), 1 / (x * -0.0), torch.full((2,), 1), torch.full((2,), True))


@pytest.mark.parametrize(
    ("function", "is_shorter"),
    [
        (repeated, True),
        (results_alike, False),
        (written_in_between, False),
        (read_through_views, False),
        (written_through_a_view_that_does_not_say_so, True),
        (results_by_copies, True),
        (drawn_twice, False),
        (signed_zeros, False),
    ],
)
def test_the_same_by_fewer_operations(
    function: Callable[..., tuple[Tensor, ...]], is_shorter: bool
) -> None:
    x = torch.rand(3, 2) + 0.5
    graph = capture_once(function, x)
    operations = len(graph.module.graph.nodes)
    simplify(graph.module)
    assert (len(graph.module.graph.nodes) < operations) == is_shorter
    results = []
    for run in (function, lambda x: graph.module(*graph.tensors, x)):
        torch.manual_seed(0)
        results.append(run(x.clone()))
    for one, other in zip(*results, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    memory = [result.untyped_storage().data_ptr() for result in results[1]]
    assert len({*memory}) == len(memory)  # whoever gets them may write to them
