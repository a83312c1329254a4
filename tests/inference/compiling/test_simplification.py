"""A simplified graph does less, and the same to the last bit."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pyro_vae.inference.compiling.fx_capture import capture_once
from pyro_vae.inference.compiling.simplification import simplified


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


def changed_by_nothing(x: Tensor) -> tuple[Tensor, ...]:
    same = torch.cat([((x.exp() * 1) ** 1.0 / 1).neg().neg()])
    return (same.sum(), (x.int() / 1).sum(), x.exp().mul(1), torch.cat([x]))


def views_of_views(x: Tensor) -> tuple[Tensor, ...]:
    there_and_back = x.t().unsqueeze(0).squeeze(0).t()
    long = x.view(-1).unsqueeze(0).unsqueeze(2).view(3, 2, 1)
    first, second = x.split(1, 1)
    return (
        there_and_back.exp(),
        long.sin(),
        first.squeeze(1).unsqueeze(1).cos(),
        second.view(-1) * 2,
    )


def the_same_in_each_run(x: Tensor) -> tuple[Tensor, ...]:
    four = torch.tensor(2.0).square()
    ones = torch.zeros_like(x).add_(1)
    return (x * four.log() + torch.full((2,), 3.0).sqrt(), ones, torch.zeros(3), x.new_ones(2))


def read_after_a_view_is_written(x: Tensor) -> tuple[Tensor, ...]:
    y = x * 3
    y.view(-1).unsqueeze(0).view(6)[2:].mul_(2)
    return (y.t().t().sum(), y.view(-1).view(3, 2).exp())


def copied_before_it_changes(x: Tensor) -> tuple[Tensor, ...]:
    y = x.sin()
    copy = y * 1
    y[0].mul_(2)
    other = x.cos() * 1
    other.add_(1)
    return (copy.sum(), other.sum())


def number_filled_in(x: Tensor) -> tuple[Tensor, ...]:
    return (torch.full_like(x, 2.0) * x, x.new_full((1,), float("-inf")).exp() + x)


def reshaped_in_place(x: Tensor) -> tuple[Tensor, ...]:
    y = x.exp()
    view = y.view(3, 2)
    view.unsqueeze_(0)
    return (y + 1, view + 2)


def times_one_complex(x: Tensor) -> tuple[Tensor, ...]:
    return ((torch.complex(x, x / 0) * 1).real,)


@pytest.mark.parametrize(
    ("function", "is_shorter"),
    [
        (changed_by_nothing, True),
        (copied_before_it_changes, False),
        (views_of_views, True),
        (the_same_in_each_run, True),
        (read_after_a_view_is_written, True),
        (number_filled_in, True),
        (reshaped_in_place, False),
        (times_one_complex, False),
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
    graph = simplified(graph)
    assert (len(graph.module.graph.nodes) < operations) == is_shorter
    results = []
    for run in (function, lambda x: graph.module(*graph.tensors, x)):
        torch.manual_seed(0)
        results.append(run(x.clone()))
    for one, other in zip(*results, strict=True):
        assert one.dtype == other.dtype
        assert torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    memory = [result.untyped_storage().data_ptr() for result in results[1]]
    assert len({*memory}) == len(memory)  # whoever gets them may write to them


def test_others_memory_and_parameters_are_read_anew() -> None:
    array, weight = np.ones(2, np.float32), torch.ones(2, requires_grad=True)
    held = torch.zeros(3)

    def function(x: Tensor) -> tuple[Tensor, ...]:
        before = held.sin().sum()
        held[:1].add_(1)
        return (x * torch.as_tensor(array) * weight.detach().exp() + held.sin().sum() - before,)

    graph = simplified(capture_once(function, torch.ones(2)))
    array += 2
    weight.data += 1
    held.zero_()
    (result,) = graph.module(*graph.tensors, torch.ones(2))
    torch.testing.assert_close(result, torch.full((2,), 3 * math.e**2 + math.sin(1)))


def test_memory_that_two_tensors_share() -> None:
    buffer = torch.zeros(3)
    part = buffer[:1]

    def function(x: Tensor) -> tuple[Tensor, ...]:
        before = buffer.cos().sum()
        part.add_(x[0, 0])
        return (before, buffer.cos().sum())

    for all_fixed in (False, True):
        graph = simplified(capture_once(function, torch.ones(1, 1)), all_fixed)
        buffer.zero_()
        before, after = graph.module(*graph.tensors, torch.ones(1, 1))
        assert before == 3
        assert after < 3


def test_layers_in_training_update_their_statistics() -> None:
    layer = torch.nn.BatchNorm1d(2)

    def function(x: Tensor) -> tuple[Tensor, ...]:
        before = layer.running_mean * 1
        return (layer(x), layer(x) * 2, before)

    x = torch.rand(3, 2) + 1
    graph = simplified(capture_once(function, x))
    layer.running_mean.zero_()
    *_, before = graph.module(*graph.tensors, x)
    assert not before.any()
    torch.testing.assert_close(layer.running_mean, 0.19 * x.mean(0))
